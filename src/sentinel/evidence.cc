#include "sentinel/evidence.h"

#include <fmt/format.h>

#include "attest/crypto_keys.h"
#include "base/crypto.h"
#include "jose/p256.h"
#include "sentinel/authorizer.h"

namespace tb::sentinel {
namespace {

/// The body of a 200; else the denial or fault that it is.
std::string body_of(http::ClientResponse&& answer) {
  if (answer.status == 200) return std::move(answer.body);
  if (http::is_retryable_status(answer.status)) {
    throw Error("control_plane_unavailable", fmt::format("the control plane answered {}", answer.status));
  }
  if (answer.status == 401 || answer.status == 403) {
    if (const auto denial = api::parse_denial(answer.body)) throw licence_error(*denial);
  }
  throw Error("control_plane_refused", fmt::format("the control plane answered {} to the evidence", answer.status));
}

attest::Public public_of(const Bytes& bytes) {
  return value_or_throw(attest::parse_public(bytes));
}

}  // namespace

EvidenceMaker::EvidenceMaker(tpm::Options options, std::string keys_directory, std::string config_sha256)
    : options_(std::move(options)),
      keys_directory_(std::move(keys_directory)),
      config_sha256_(std::move(config_sha256)) {}

void EvidenceMaker::enrol(const std::string& contract_id, const Post& post, std::stop_token stop) {
  const api::EnrolRequest shown{.contract_id = contract_id,
                                .ek_public = keys_.ek_public,
                                .ek_certificate = keys_.ek_certificate,
                                .ek_intermediates = {},
                                .ak_public = keys_.ak_public};
  const auto answer = api::EnrolAnswer::parse(body_of(post("/api/v1/license/enroll", shown.to_json())));
  if (answer.enrolled) return;
  api::ActivateRequest activated;
  activated.contract_id = contract_id;
  activated.ak_name = to_hex(attest::name_of(public_of(keys_.ak_public)));
  activated.secret = tpm_->activate(answer.credential, answer.encrypted_secret, stop);
  body_of(post("/api/v1/license/activate", activated.to_json()));
}

void EvidenceMaker::add_to(api::AuthorizeRequest& request, bool enrol_first, const Post& post, std::stop_token stop) {
  try {
    if (!tpm_) {
      tpm_ = std::make_unique<tpm::Tpm>(options_);
      keys_ = tpm_->open_keys(keys_directory_, stop);
    }
    if (enrol_first) enrol(request.contract_id, post, stop);
    const api::ChallengeRequest asked{request.contract_id};
    const auto challenge = api::ChallengeAnswer::parse(body_of(post("/api/v1/license/challenge", asked.to_json())));
    if (challenge.pcr_selection.empty()) {
      throw Error("control_plane_refused", "the contract asks for no TPM").with_hint("set TB_ATTESTATION=none");
    }
    request.nonce = challenge.nonce;
    const api::EvidenceQuestion question{
        .nonce = challenge.nonce,
        .thumbprint = request.key_release_jwk ? jose::PublicKey::from_jwk(*request.key_release_jwk).thumbprint() : "",
        .contract_id = request.contract_id,
        .asset_id = request.asset_id,
        .lease_id = request.lease_id.value_or(""),
        .config_sha256 = config_sha256_};
    auto signed_quote = tpm_->quote(challenge.pcr_selection, question.qualifier(), stop);
    const api::TpmEvidence evidence{.ak_name = to_hex(attest::name_of(public_of(keys_.ak_public))),
                                    .quote = std::move(signed_quote.quote),
                                    .signature = std::move(signed_quote.signature),
                                    .pcrs = std::move(signed_quote.pcrs),
                                    .config_sha256 = config_sha256_};
    request.attestation = evidence.to_json();
  } catch (const Error& error) {
    if (error.reason.starts_with("tpm_") || error.reason == "cancelled") tpm_.reset();
    throw;
  }
}

Json evidence_report(const tpm::Options& options, const std::string& config_sha256) {
  tpm::Tpm tpm(options);
  const auto keys = tpm.endorsement_key();
  const auto pcrs = tpm.read_pcrs({{"sha256", {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14}}});
  Json json = Json::object();
  json.set("ek_sha256", value_or_throw(attest::key_sha256(public_of(keys.ek_public))));
  json.set("ek_certificate", keys.ek_certificate.empty() ? "none" : to_base64(keys.ek_certificate));
  json.set("pcrs", api::to_json(pcrs));
  json.set("config_sha256", config_sha256);
  return json;
}

}  // namespace tb::sentinel
