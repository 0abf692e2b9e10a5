// Evidence for an authorize request, over a fresh nonce and bound to the request's one-time key. What kind of evidence
// it is is a prover's business: tpm_prover.h, snp_prover.h, token_prover.h.
#pragma once

#include <functional>
#include <memory>
#include <stop_token>
#include <string>

#include "api/authorize.h"
#include "api/evidence.h"
#include "http/client.h"
#include "sentinel/config.h"

namespace tb::sentinel {

/// Sends to the control plane as this sentinel.
using EvidencePost = std::function<http::ClientResponse(std::string_view path, const Json& body)>;

/// The body of a 200. Throws a denial under its own reason; for anything else "control_plane_unavailable" or
/// "control_plane_refused".
std::string answered_body(http::ClientResponse&& answer);

/// What one piece of evidence is about.
struct EvidenceTask {
  Digest digest;                         ///< api::EvidenceQuestion::qualifier()
  const api::PcrIndices& pcr_selection;  ///< what a TPM is to quote; empty where the contract asks for no TPM
  const std::string& config_sha256;      ///< config_digest() of this process
};

/// One way to prove something of this machine.
class Prover {
 public:
  virtual ~Prover() = default;

  /// Makes this machine known before its first evidence; changes nothing where it is.
  virtual void enrol(const std::string& contract_id, const EvidencePost& post, std::stop_token stop);
  /// The `attestation` object of wire 1.1. Throws "evidence_unavailable" or what its header says.
  virtual Json prove(const EvidenceTask& task, std::stop_token stop) = 0;
  /// What a provider puts into a contract, for `--print-evidence`.
  virtual Json report() = 0;
};

/// Of TB_ATTESTATION; nothing for `none`. The device or command is not touched before it is needed.
std::unique_ptr<Prover> make_prover(const Config& config);

class EvidenceMaker {
 public:
  EvidenceMaker(std::unique_ptr<Prover> prover, std::string config_sha256);

  /// Fills `nonce` and `attestation` of `request`, whose other fields are final. With `enrol` the machine is made known
  /// first. Throws what the prover throws, and as answered_body.
  void add_to(api::AuthorizeRequest& request, bool enrol, const EvidencePost& post, std::stop_token stop);

 private:
  std::unique_ptr<Prover> prover_;
  std::string config_sha256_;
};

/// For `--print-evidence`: what the prover reports (of a TPM where TB_ATTESTATION is none), and the hash of the settings.
Json evidence_report(const Config& config);

}  // namespace tb::sentinel
