// Keeps the key set of the issuer of users' tokens fresh, on a thread of its own: nothing that serves requests waits
// for it. A set that cannot be had again is kept for a day, so that an issuer's outage locks nobody out, and no longer,
// so that withdrawn keys go.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "jose/verify_key.h"
#include "obs/log.h"

namespace tb::sentinel {

class TokenKeys {
 public:
  /// The text of the JWK set; throws where it cannot be had.
  using Fetch = std::function<std::string()>;
  struct Times {
    std::int64_t refresh_ms = 300'000;    ///< after a fetch that went well
    std::int64_t retry_first_ms = 2'000;  ///< after one that did not; doubles
    std::int64_t retry_most_ms = 60'000;
    std::int64_t between_unknown_ms = 30'000;  ///< so long an unknown `kid` causes no second fetch
    std::int64_t keep_ms = 86'400'000;         ///< since the last fetch that went well
  };

  TokenKeys(Fetch fetch, Times times, obs::Log log);
  ~TokenKeys();
  TokenKeys(const TokenKeys&) = delete;
  TokenKeys& operator=(const TokenKeys&) = delete;

  /// Null while there is none. The pointer changes only where the set does.
  std::shared_ptr<const jose::VerifyKeySet> current() const;
  /// A token named a key that is not in the set: issuers rotate keys. Returns at once.
  void ask_for_unknown();

 private:
  void run(const std::stop_token& stop);
  void fetch_once();

  Fetch fetch_;
  Times times_;
  obs::Log log_;
  std::string text_;                ///< of the set in force
  std::int64_t fetched_at_ms_ = 0;  ///< boot clock
  int failures_ = 0;                ///< in a row
  mutable std::mutex mutex_;
  std::condition_variable_any wake_;
  bool unknown_seen_ = false;
  std::shared_ptr<const jose::VerifyKeySet> keys_;
  std::jthread thread_;  ///< last: it uses all of the above
};

/// Reads a file, or asks an https URL (http only for loopback), with bounds on size and time.
TokenKeys::Fetch fetch_keys_from(const std::string& place, const std::string& ca_path);
/// Times for it: a file is cheap to look at.
TokenKeys::Times times_for(const std::string& place);

}  // namespace tb::sentinel
