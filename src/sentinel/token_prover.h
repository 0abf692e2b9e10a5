// Evidence by a service that has looked at this machine: an agent of the platform is run, is given the digest of the
// request, and prints the service's token. Which service that is, and how it is asked, is the agent's business.
#pragma once

#include <string>
#include <vector>

#include "sentinel/evidence.h"

namespace tb::sentinel {

/// What `run_token_command` allows of time.
inline constexpr std::int64_t kTokenCommandMs = 60'000;

/// The compact JWS that `command` (no shell) prints on its standard output. It reads the digest in lower hex and a line
/// feed, has no variables of ours nor any that looks like a credential, and is killed with all it has started when it
/// ends, at `timeout_ms`, at more than 32 KiB of output, or when stopped. Throws "evidence_unavailable", never with
/// what it printed; "cancelled".
std::string run_token_command(const std::vector<std::string>& command, const Digest& digest, std::int64_t timeout_ms,
                              const std::stop_token& stop);

class TokenProver : public Prover {
 public:
  explicit TokenProver(std::vector<std::string> command);

  Json prove(const EvidenceTask& task, std::stop_token stop) override;
  /// A token says what its service says: nothing that a provider could not read there.
  Json report() override;

 private:
  std::vector<std::string> command_;
};

}  // namespace tb::sentinel
