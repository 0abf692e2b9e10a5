// Shows the audit log's newest checkpoint to the control plane, which countersigns it (C2SP tlog-witness): from then on
// neither side can rewrite what it covers. A thread of its own: nothing that serves requests waits for it, and what the
// control plane says can only be stored if its pinned key has signed it.
//
// The outbox is the log itself: the newest checkpoint says all that earlier ones would have said, and a proof to it is
// made from wherever the control plane is.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "http/client.h"
#include "sentinel/audit.h"

namespace tb::sentinel {

struct WitnessOptions {
  std::string contract_id;
  std::int64_t every_ms = 60'000;
  std::int64_t max_retry_ms = 600'000;
  std::int64_t refused_ms = 3'600'000;  ///< after an answer that the same question would have again
};

struct WitnessState {
  std::string fault;  ///< reason of the last attempt's failure; empty: it went well, or there was none
  std::uint64_t answers = 0;
};

class AuditWitness {
 public:
  /// Reports as the holder of the last lease: Authorizer::post_as_holder.
  using Post = std::function<http::ClientResponse(const std::string& target, std::string body,
                                                  const std::string& content_type, std::stop_token stop)>;
  struct Sources {
    Post post;
    std::function<std::string()> lease_id;                               ///< empty: there is none to report as
    std::function<std::optional<Ed25519PublicKey>()> control_plane_key;  ///< nothing: nobody's signature counts
  };

  /// `audit` outlives it.
  AuditWitness(AuditLog& audit, WitnessOptions options, Sources sources, obs::Log log);
  ~AuditWitness();
  AuditWitness(const AuditWitness&) = delete;
  AuditWitness& operator=(const AuditWitness&) = delete;

  /// Ends the thread after one last attempt, which may take `ms`.
  void finish(std::int64_t ms);
  WitnessState state() const;

 private:
  void run(const std::stop_token& stop);
  std::int64_t attempt(const std::stop_token& stop);
  std::int64_t attempt_once(const std::string& lease_id, bool& again, const std::stop_token& stop);
  void take_signature(const std::string& body, const Ed25519PublicKey& key, const tlog::Note& shown);
  std::int64_t take_size(const std::string& body, bool& again);
  std::int64_t failed(const Error& error, bool worth_a_retry);

  AuditLog& audit_;
  const WitnessOptions options_;
  const Sources sources_;
  const obs::Log log_;
  mutable std::mutex mutex_;
  WitnessState state_;
  std::int64_t retry_ms_ = 0;
  std::optional<std::int64_t> anew_boot_ms_;  ///< when a new origin was begun
  std::condition_variable_any wake_;
  std::stop_source exchange_stop_;
  std::jthread thread_;
};

class Authorizer;
/// To the control plane that `authorizer` asks, as the holder of its last lease.
AuditWitness::Sources sources_of(const Authorizer& authorizer);

}  // namespace tb::sentinel
