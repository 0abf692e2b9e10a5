#include "sentinel/evidence.h"

#include <fmt/format.h>

#include "jose/p256.h"
#include "sentinel/authorizer.h"
#include "sentinel/config_digest.h"
#include "sentinel/snp_prover.h"
#include "sentinel/token_prover.h"
#include "sentinel/tpm_prover.h"

namespace tb::sentinel {
namespace {

std::unique_ptr<Prover> tpm_prover(const Config& config) {
  return std::make_unique<TpmProver>(tpm::Options{.tcti = config.tpm_tcti}, config.state_dir + "/tpm");
}

}  // namespace

std::string answered_body(http::ClientResponse&& answer) {
  if (answer.status == 200) return std::move(answer.body);
  if (http::is_retryable_status(answer.status)) {
    throw Error("control_plane_unavailable", fmt::format("the control plane answered {}", answer.status));
  }
  if (answer.status == 401 || answer.status == 403) {
    if (const auto denial = api::parse_denial(answer.body)) throw licence_error(*denial);
  }
  throw Error("control_plane_refused", fmt::format("the control plane answered {} to the evidence", answer.status));
}

void Prover::enrol(const std::string&, const EvidencePost&, std::stop_token) {}

std::unique_ptr<Prover> make_prover(const Config& config) {
  switch (config.attestation) {
    case AttestationChoice::kTpm:
      return tpm_prover(config);
    case AttestationChoice::kSnp:
      return std::make_unique<SnpProver>(sev_guest_device(), config.snp_certificates_path);
    case AttestationChoice::kToken:
      return std::make_unique<TokenProver>(config.attestation_token_command);
    case AttestationChoice::kNone:
      break;
  }
  return nullptr;
}

EvidenceMaker::EvidenceMaker(std::unique_ptr<Prover> prover, std::string config_sha256)
    : prover_(std::move(prover)), config_sha256_(std::move(config_sha256)) {}

void EvidenceMaker::add_to(api::AuthorizeRequest& request, bool enrol, const EvidencePost& post, std::stop_token stop) {
  if (enrol) prover_->enrol(request.contract_id, post, stop);
  const api::ChallengeRequest asked{request.contract_id};
  const auto challenge = api::ChallengeAnswer::parse(answered_body(post("/api/v1/license/challenge", asked.to_json())));
  request.nonce = challenge.nonce;
  const api::EvidenceQuestion question{
      .nonce = challenge.nonce,
      .thumbprint = request.key_release_jwk ? jose::PublicKey::from_jwk(*request.key_release_jwk).thumbprint() : "",
      .contract_id = request.contract_id,
      .asset_id = request.asset_id,
      .lease_id = request.lease_id.value_or(""),
      .config_sha256 = config_sha256_};
  Json evidence = prover_->prove(
      {.digest = question.qualifier(), .pcr_selection = challenge.pcr_selection, .config_sha256 = config_sha256_},
      stop);
  evidence.set("config_sha256", config_sha256_);
  request.attestation = std::move(evidence);
}

Json evidence_report(const Config& config) {
  auto prover = make_prover(config);
  // A provider asks for the values before there is a contract to set TB_ATTESTATION for; most machines have a TPM.
  if (!prover) prover = tpm_prover(config);
  Json json = prover->report();
  json.set("config_sha256", config_digest(config));
  return json;
}

}  // namespace tb::sentinel
