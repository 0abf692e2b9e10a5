#include "sentinel/token_check.h"

#include <algorithm>
#include <cstring>

namespace tb::sentinel {

std::size_t TokenCheck::DigestHash::operator()(const Digest& digest) const {
  std::size_t out = 0;
  std::memcpy(&out, digest.data(), sizeof out);
  return out;
}

TokenCheck::TokenCheck(TokenRules rules, Keys keys, Bounds bounds)
    : rules_(std::move(rules)), keys_(std::move(keys)), bounds_(bounds), failures_left_(bounds.failures_per_second) {}

void TokenCheck::refill(std::int64_t boot_ms) {
  const auto elapsed_ms = static_cast<double>(std::max<std::int64_t>(0, boot_ms - refilled_at_ms_));
  refilled_at_ms_ = std::max(refilled_at_ms_, boot_ms);
  failures_left_ =
      std::min(bounds_.failures_per_second, failures_left_ + bounds_.failures_per_second * elapsed_ms / 1000);
}

std::expected<std::shared_ptr<const TokenUser>, TokenFault> TokenCheck::check(std::string_view compact, UnixMs now,
                                                                              std::int64_t boot_ms) {
  if (compact.size() > kMaxUserTokenBytes) return std::unexpected(TokenFault::kMalformed);
  auto set = keys_();
  if (set != set_) {
    by_digest_.clear();
    recent_.clear();
    set_ = std::move(set);
  }
  if (!set_) return std::unexpected(TokenFault::kBusy);
  const Digest digest = sha256(compact);
  if (const auto known = by_digest_.find(digest); known != by_digest_.end()) {
    const auto entry = known->second;
    if (entry->user->expires > now) {
      recent_.splice(recent_.begin(), recent_, entry);
      return entry->user;
    }
    recent_.erase(entry);
    by_digest_.erase(known);
    return std::unexpected(TokenFault::kTime);
  }
  refill(boot_ms);
  const auto may_verify = [this] {
    if (failures_left_ < 1) return false;
    ++signatures_checked_;
    return true;
  };
  auto user = check_user_token(compact, rules_, *set_, now, may_verify);
  if (!user) {
    if (user.error() == TokenFault::kSignature) failures_left_ -= 1;
    return std::unexpected(user.error());
  }
  if (by_digest_.size() >= bounds_.remembered) {
    by_digest_.erase(recent_.back().digest);
    recent_.pop_back();
  }
  recent_.push_front({digest, std::make_shared<const TokenUser>(std::move(*user))});
  by_digest_.emplace(digest, recent_.begin());
  return recent_.front().user;
}

}  // namespace tb::sentinel
