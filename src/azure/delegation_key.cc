// Asking, keeping, asking anew.
#include "azure/delegation_key.h"

#include <fmt/format.h>

#include <pugixml.hpp>

#include "base/bytes.h"

namespace tb::azure {
namespace {

constexpr std::size_t kMaxAnswerBytes = 16384;
/// Of 7 days that are possible: so long a key that was copied from this process's memory may serve.
constexpr std::int64_t kLifeMs = 4 * 3600 * 1000;
/// The service's clock may be behind this machine's by so much.
constexpr std::int64_t kSkewMs = 15 * 60 * 1000;
/// After a failure, while the key that is here still serves, and where none is here.
constexpr std::int64_t kWaitMs = 60 * 1000;
constexpr std::int64_t kWaitWithoutKeyMs = 1000;

std::string text_of(const pugi::xml_node& root, const char* name) {
  const pugi::xml_node node = root.child(name);
  // Two of one name, or structure where text belongs, is nothing that the service writes.
  if (!node || node.next_sibling(name) || (node.first_child() && node.first_child().next_sibling())) return "";
  const std::string text = node.text().get();
  const bool plain = text.size() <= 256 && std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f; });
  return plain ? text : "";
}

}  // namespace

std::optional<DelegationKey> parse_delegation_key(std::string_view xml) {
  if (xml.size() > kMaxAnswerBytes) return std::nullopt;
  pugi::xml_document document;
  if (!document.load_buffer(xml.data(), xml.size(), pugi::parse_default, pugi::encoding_utf8)) return std::nullopt;
  const pugi::xml_node root = document.child("UserDelegationKey");
  DelegationKey key{.oid = text_of(root, "SignedOid"),
                    .tid = text_of(root, "SignedTid"),
                    .start = text_of(root, "SignedStart"),
                    .expiry = text_of(root, "SignedExpiry"),
                    .service = text_of(root, "SignedService"),
                    .version = text_of(root, "SignedVersion")};
  const auto expiry = from_rfc3339(key.expiry);
  auto value = from_base64(text_of(root, "Value"));
  if (key.oid.empty() || key.tid.empty() || !from_rfc3339(key.start) || !expiry || key.service != "b" ||
      key.version.empty() || !value || value->size() < 32) {
    return std::nullopt;
  }
  key.expires_at = *expiry;
  key.value = SecretString(std::string(as_text(*value)));
  wipe(value->data(), value->size());
  return key;
}

DelegationKeys::DelegationKeys(std::string service_url, TokenSource& tokens, const std::string& ca_path, Clock clock)
    : service_url_(std::move(service_url)),
      tokens_(tokens),
      client_({.ca_path = ca_path, .connect_timeout_ms = 3000}),
      clock_(std::move(clock)) {}

std::shared_ptr<const DelegationKey> DelegationKeys::usable(UnixMs until) const {
  const std::lock_guard lock(mutex_);
  return key_ && key_->expires_at >= until ? key_ : nullptr;
}

bool DelegationKeys::due() const {
  const std::lock_guard lock(mutex_);
  return clock_() >= ask_at_;
}

std::shared_ptr<const DelegationKey> DelegationKeys::key_for(UnixMs until) {
  auto key = usable(until);
  if (key && !due()) return key;
  std::unique_lock renewing(renewing_, std::defer_lock);
  if (!key) {
    renewing.lock();
  } else if (!renewing.try_lock()) {
    return key;
  }
  key = usable(until);
  if (!due()) {
    if (key) return key;
    const std::lock_guard lock(mutex_);
    if (last_failure_) throw Error(*last_failure_);
  }
  try {
    auto fresh = fetch();
    if (fresh->expires_at < until)
      throw Error("store_unavailable", "the store gave a delegation key that ends too early");
    const std::lock_guard lock(mutex_);
    const UnixMs now = clock_();
    key_ = fresh;
    ask_at_ = now + (fresh->expires_at - now) / 2;
    last_failure_.reset();
    return fresh;
  } catch (const Error& error) {
    const std::lock_guard lock(mutex_);
    ask_at_ = clock_() + (key ? kWaitMs : kWaitWithoutKeyMs);
    last_failure_ = error;
    if (key) return key;
    throw;
  }
}

std::shared_ptr<const DelegationKey> DelegationKeys::fetch() {
  const UnixMs now = clock_();
  http::ClientRequest request;
  request.method = "POST";
  request.url = SecretUrl(service_url_ + "/?restype=service&comp=userdelegationkey");
  request.headers.set("x-ms-version", kServiceVersion);
  request.headers.set("Content-Type", "application/xml");
  request.bearer = tokens_.fetch();
  request.body =
      fmt::format(R"(<?xml version="1.0" encoding="utf-8"?><KeyInfo><Start>{}</Start><Expiry>{}</Expiry></KeyInfo>)",
                  to_rfc3339(now - kSkewMs), to_rfc3339(now + kLifeMs));
  request.max_answer_bytes = kMaxAnswerBytes;
  request.total_timeout_ms = 10'000;
  try {
    http::ClientResponse answer = client_.send(request);
    const SecretString body(std::move(answer.body));
    if (answer.status != 200) {
      throw Error("store_unavailable",
                  fmt::format("the store answered {} to a request for a delegation key", answer.status));
    }
    auto key = parse_delegation_key(body.reveal());
    if (!key) throw Error("store_unavailable", "the store gave no delegation key");
    return std::make_shared<const DelegationKey>(std::move(*key));
  } catch (const Error& error) {
    throw Error("store_unavailable", "no delegation key can be had", error);
  }
}

}  // namespace tb::azure
