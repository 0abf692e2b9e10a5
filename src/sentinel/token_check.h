// Verified tokens, remembered: a signature is checked once for each token, not for each request, and the checks that
// fail are bounded, so that garbage cannot keep the proxy's loop busy. docs/decisions/0033-tokens-on-the-loop.md says
// why this runs on the loop. One thread.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string_view>
#include <unordered_map>

#include "base/crypto.h"
#include "sentinel/user_token.h"

namespace tb::sentinel {

class TokenCheck {
 public:
  struct Bounds {
    std::size_t remembered = 8192;     ///< verified tokens; the one that was not used for longest goes
    double failures_per_second = 200;  ///< signatures that did not verify; as many at once
  };
  using Keys = std::function<std::shared_ptr<const jose::VerifyKeySet>()>;

  /// `keys` gives the set in force, or null; a new one makes all that was verified by the old one forgotten.
  TokenCheck(TokenRules rules, Keys keys, Bounds bounds);
  TokenCheck(TokenRules rules, Keys keys) : TokenCheck(std::move(rules), std::move(keys), Bounds()) {}

  /// `boot_ms` never goes back; `now` is the wall clock's. kBusy: neither let in nor refused for what it is, as without
  /// a key set.
  std::expected<std::shared_ptr<const TokenUser>, TokenFault> check(std::string_view compact, UnixMs now,
                                                                    std::int64_t boot_ms);
  std::size_t remembered() const { return by_digest_.size(); }
  std::uint64_t signatures_checked() const { return signatures_checked_; }

 private:
  struct Entry {
    Digest digest;
    std::shared_ptr<const TokenUser> user;
  };
  struct DigestHash {
    std::size_t operator()(const Digest& digest) const;
  };
  void refill(std::int64_t boot_ms);

  TokenRules rules_;
  Keys keys_;
  Bounds bounds_;
  std::shared_ptr<const jose::VerifyKeySet> set_;
  std::list<Entry> recent_;  ///< the last used one first
  std::unordered_map<Digest, std::list<Entry>::iterator, DigestHash> by_digest_;
  double failures_left_;
  std::int64_t refilled_at_ms_ = 0;
  std::uint64_t signatures_checked_ = 0;
};

}  // namespace tb::sentinel
