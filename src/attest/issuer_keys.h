// The keys of one token issuer: a set that the operator pinned, or one fetched from the address that the operator
// configured for that issuer. A token never says where keys are to be had.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "jose/rs256.h"

namespace tb::attest {

class IssuerKeys {
 public:
  /// The text of the JWK set; throws what the HTTP client throws. Called under this object's lock: one call at a time.
  using Fetch = std::function<std::string()>;
  struct Times {
    std::int64_t between_fetches_ms = 300'000;  ///< so long an unknown `kid` causes no second fetch
    std::int64_t keep_ms = 86'400'000;          ///< after this a set is fetched anew, so that withdrawn keys go
  };

  explicit IssuerKeys(jose::RsaKeySet pinned) : keys_(std::move(pinned)) {}
  explicit IssuerKeys(Fetch fetch) : IssuerKeys(std::move(fetch), Times()) {}
  IssuerKeys(Fetch fetch, Times times) : fetch_(std::move(fetch)), times_(times) {}
  IssuerKeys(const IssuerKeys&) = delete;
  IssuerKeys& operator=(const IssuerKeys&) = delete;

  /// Nothing: the issuer has no such key. Throws "attestation_unavailable", which a client retries, while it cannot be
  /// known.
  std::optional<jose::RsaPublicKey> find(std::string_view kid, UnixMs now);

 private:
  void fetch(UnixMs now);

  std::mutex mutex_;
  std::optional<jose::RsaKeySet> keys_;
  Fetch fetch_;
  Times times_;
  UnixMs fetched_at_ = 0;
  std::optional<UnixMs> tried_at_;
  bool failed_ = false;
};

}  // namespace tb::attest
