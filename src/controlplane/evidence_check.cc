// The nonce serves once and is in the digest that evidence is bound to: so does the evidence, a token's `jti` included.
#include "controlplane/evidence_check.h"

#include "base/crypto.h"

namespace tb::controlplane {
namespace {

/// docs/spec/wire.md 1.1, Evidence.
Digest request_digest(const api::AuthorizeRequest& request, const std::string& thumbprint) {
  const Json* config = request.attestation->find("config_sha256");
  const std::string config_sha256 = config != nullptr && config->is_string() ? config->as_string() : "";
  Sha256 sha;
  sha.update(as_bytes("trustbridge/evidence/v1"));
  const std::string nonce = request.nonce.value_or("");
  const std::string lease_id = request.lease_id.value_or("");
  for (const std::string* text :
       {&nonce, &thumbprint, &request.contract_id, &request.asset_id, &lease_id, &config_sha256}) {
    std::uint8_t length[4];
    store_be32(length, static_cast<std::uint32_t>(text->size()));
    sha.update(length);
    sha.update(as_bytes(*text));
  }
  return sha.finish();
}

}  // namespace

std::string EvidenceVerdict::detail() const {
  if (!failed) return "";
  std::string text = std::string(failed->id) + ": " + failed->mend;
  if (failed->seen_is_own_fact && !failed->seen.empty()) text += " (it showed " + failed->seen + ")";
  return text;
}

void EvidenceVerdict::write_to(Json& event_detail) const {
  if (facts) event_detail.set("attestation", *facts);
  if (!failed) return;
  event_detail.set("check", failed->id);
  event_detail.set("expected", failed->expected);
  event_detail.set("seen", failed->seen);
}

EvidenceVerdict check_evidence(const api::ContractTerms& terms, const api::AuthorizeRequest& request,
                               const std::string& thumbprint, bool nonce_valid, const attest::Trust& trust,
                               UnixMs now) {
  if (!attest::is_verified_kind(terms.attestation) || !request.attestation) return {};
  if (!nonce_valid) {
    return {.failed =
                attest::Check{.id = "evidence_fresh", .mend = "ask for a challenge and make evidence over its nonce"}};
  }
  auto verdict = attest::verify_evidence(terms.attestation, *request.attestation, terms.attestation_policy,
                                         request_digest(request, thumbprint), trust, now);
  if (!verdict) return {.failed = std::move(verdict.error())};
  return {.facts = std::move(verdict->facts)};
}

}  // namespace tb::controlplane
