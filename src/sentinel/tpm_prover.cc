#include "sentinel/tpm_prover.h"

#include "attest/crypto_keys.h"

namespace tb::sentinel {
namespace {

attest::Public public_of(const Bytes& bytes) {
  return value_or_throw(attest::parse_public(bytes));
}

/// Lets go of the TPM where a call to it failed.
template <typename F>
auto with(std::unique_ptr<tpm::Tpm>& tpm, F&& calls) {
  try {
    return calls();
  } catch (const Error& error) {
    if (error.reason.starts_with("tpm_") || error.reason == "cancelled") tpm.reset();
    throw;
  }
}

}  // namespace

TpmProver::TpmProver(tpm::Options options, std::string keys_directory)
    : options_(std::move(options)), keys_directory_(std::move(keys_directory)) {}

void TpmProver::open(const std::stop_token& stop) {
  if (tpm_) return;
  tpm_ = std::make_unique<tpm::Tpm>(options_);
  keys_ = tpm_->open_keys(keys_directory_, stop);
}

std::string TpmProver::ak_name() const {
  return to_hex(attest::name_of(public_of(keys_.ak_public)));
}

void TpmProver::enrol(const std::string& contract_id, const EvidencePost& post, std::stop_token stop) {
  with(tpm_, [&] {
    open(stop);
    const api::EnrolRequest shown{.contract_id = contract_id,
                                  .ek_public = keys_.ek_public,
                                  .ek_certificate = keys_.ek_certificate,
                                  .ek_intermediates = {},
                                  .ak_public = keys_.ak_public};
    const auto answer = api::EnrolAnswer::parse(answered_body(post("/api/v1/license/enroll", shown.to_json())));
    if (answer.enrolled) return;
    api::ActivateRequest activated;
    activated.contract_id = contract_id;
    activated.ak_name = ak_name();
    activated.secret = tpm_->activate(answer.credential, answer.encrypted_secret, stop);
    answered_body(post("/api/v1/license/activate", activated.to_json()));
  });
}

Json TpmProver::prove(const EvidenceTask& task, std::stop_token stop) {
  if (task.pcr_selection.empty()) {
    throw Error("control_plane_refused", "the contract asks for no TPM")
        .with_hint("set TB_ATTESTATION to what the provider asks for");
  }
  return with(tpm_, [&] {
    open(stop);
    auto signed_quote = tpm_->quote(task.pcr_selection, task.digest, stop);
    const api::TpmEvidence evidence{.ak_name = ak_name(),
                                    .quote = std::move(signed_quote.quote),
                                    .signature = std::move(signed_quote.signature),
                                    .pcrs = std::move(signed_quote.pcrs),
                                    .config_sha256 = task.config_sha256};
    return evidence.to_json();
  });
}

Json TpmProver::report() {
  tpm::Tpm tpm(options_);
  const auto keys = tpm.endorsement_key();
  const auto pcrs = tpm.read_pcrs({{"sha256", {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14}}});
  Json json = Json::object();
  json.set("ek_sha256", value_or_throw(attest::key_sha256(public_of(keys.ek_public))));
  json.set("ek_certificate", keys.ek_certificate.empty() ? "none" : to_base64(keys.ek_certificate));
  json.set("pcrs", api::to_json(pcrs));
  return json;
}

}  // namespace tb::sentinel
