// Evidence for an authorize request: the machine's TPM keys are enrolled if they are not, and a quote is made over a
// fresh nonce that binds the request's one-time key. TPM calls are bounded in time (tpm/tpm.h).
#pragma once

#include <functional>
#include <stop_token>
#include <string>

#include "api/authorize.h"
#include "http/client.h"
#include "tpm/tpm.h"

namespace tb::sentinel {

class EvidenceMaker {
 public:
  using Post = std::function<http::ClientResponse(std::string_view path, const Json& body)>;

  /// Keys lie in `keys_directory`; `config_sha256` is config_digest() of this process.
  EvidenceMaker(tpm::Options options, std::string keys_directory, std::string config_sha256);

  /// Fills `nonce` and `attestation` of `request`, whose other fields are final. With `enrol` the keys are shown first,
  /// which changes nothing where they are known. Throws what Tpm throws; a denial under its own reason; for anything
  /// else "control_plane_unavailable" or "control_plane_refused".
  void add_to(api::AuthorizeRequest& request, bool enrol, const Post& post, std::stop_token stop);

 private:
  void enrol(const std::string& contract_id, const Post& post, std::stop_token stop);

  tpm::Options options_;
  std::string keys_directory_, config_sha256_;
  std::unique_ptr<tpm::Tpm> tpm_;  ///< anew after a fault: a TPM that hung may be back
  tpm::Keys keys_;
};

/// What a provider puts into a contract: EK hash, PCR values, hash of the settings. For `--print-evidence`.
Json evidence_report(const tpm::Options& options, const std::string& config_sha256);

}  // namespace tb::sentinel
