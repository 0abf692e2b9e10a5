// Evidence of this machine's TPM: its keys are enrolled if they are not, and a quote is made over the digest of the
// request. TPM calls are bounded in time (tpm/tpm.h).
#pragma once

#include <memory>
#include <string>

#include "sentinel/evidence.h"
#include "tpm/tpm.h"

namespace tb::sentinel {

/// Throws what Tpm throws; "control_plane_refused" where the contract asks for no TPM.
class TpmProver : public Prover {
 public:
  /// The keys lie wrapped in `keys_directory`.
  TpmProver(tpm::Options options, std::string keys_directory);

  void enrol(const std::string& contract_id, const EvidencePost& post, std::stop_token stop) override;
  Json prove(const EvidenceTask& task, std::stop_token stop) override;
  Json report() override;

 private:
  void open(const std::stop_token& stop);
  std::string ak_name() const;

  tpm::Options options_;
  std::string keys_directory_;
  std::unique_ptr<tpm::Tpm> tpm_;  ///< anew after a fault: a TPM that hung may be back
  tpm::Keys keys_;
};

}  // namespace tb::sentinel
