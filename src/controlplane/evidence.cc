// The nonce serves once and is in the digest that evidence is bound to: so does the evidence, a token's `jti` included.
#include "controlplane/evidence.h"

#include <algorithm>

#include "attest/crypto_keys.h"
#include "attest/quote.h"

namespace tb::controlplane {
namespace {

api::EvidenceQuestion question_of(const api::AuthorizeRequest& request, const std::string& thumbprint) {
  const Json* config = request.attestation->find("config_sha256");
  return {.nonce = request.nonce.value_or(""),
          .thumbprint = thumbprint,
          .contract_id = request.contract_id,
          .asset_id = request.asset_id,
          .lease_id = request.lease_id.value_or(""),
          .config_sha256 = config != nullptr && config->is_string() ? config->as_string() : ""};
}

bool is_approved(const store::Machine& machine, const api::TpmPolicy& policy) {
  return machine.approved || std::ranges::find(policy.ek_sha256, machine.ek_sha256) != policy.ek_sha256.end();
}

attest::Verified<api::TpmEvidence> parsed(const Json& attestation) {
  try {
    return api::TpmEvidence::from_json(attestation);
  } catch (const Error& error) {
    return attest::failed("evidence_form", error.message);
  }
}

/// Of the enrolled machine that the evidence is of.
attest::Verified<> weigh_quote(const api::TpmEvidence& evidence, const Digest& qualifier, const api::Contract& contract,
                               UnixMs now, EvidenceOutcome& out, Deps& deps) {
  const auto machine = deps.store.find_machine(contract.tenant, contract.contract_id, evidence.ak_name);
  if (!machine) return attest::failed("ak_enrolled", "");
  const auto policy = api::TpmPolicy::from_json(contract.terms.attestation_policy);
  out.ek_sha256 = machine->ek_sha256;
  out.machine_approved = is_approved(*machine, policy);
  attest::QuoteQuestion question{.ek = value_or_throw(attest::parse_public(machine->ek_public)),
                                 .ak = value_or_throw(attest::parse_public(machine->ak_public)),
                                 .qualifier = qualifier,
                                 .last = {}};
  // Another request of this machine may have moved its clock past a quote that was in time when it came.
  if (machine->seen_at && !out.clock_kept) question.last = machine->clock;
  const auto facts = TRY(attest::check_quote(evidence, question, policy));
  if (!deps.store.advance_clock(contract.tenant, contract.contract_id, evidence.ak_name, facts.clock, now) &&
      !out.clock_kept) {
    return attest::failed("clock_monotonic", "");
  }
  out.clock_kept = true;
  return {};
}

attest::Verified<> weigh(const api::AuthorizeRequest& request, const Digest& qualifier, const api::Contract& contract,
                         UnixMs now, EvidenceOutcome& out, Deps& deps) {
  const std::string& kind = contract.terms.attestation;
  if (kind == "tpm") {
    return weigh_quote(TRY(parsed(*request.attestation)), qualifier, contract, now, out, deps);
  }
  out.facts = TRY(attest::verify_evidence(kind, *request.attestation, contract.terms.attestation_policy, qualifier,
                                          deps.attestation_trust, now))
                  .facts;
  return {};
}

}  // namespace

bool evidence_needed(bool is_renewal, bool has_one_time_key, const api::ContractTerms& terms) {
  if (terms.attestation != "tpm") return terms.attestation != "none";
  const bool renews_only = is_renewal && !has_one_time_key;
  return !renews_only || api::TpmPolicy::from_json(terms.attestation_policy).fresh_at_renewal;
}

void EvidenceOutcome::write_to(Json& event_detail) const {
  if (!facts.is_null()) event_detail.set("attestation", facts);
  if (!ek_sha256.empty()) event_detail.set("ek_sha256", ek_sha256);
  if (failed) failed->write_to(event_detail);
}

EvidenceOutcome weigh_evidence(const api::AuthorizeRequest& request, const std::string& thumbprint,
                               std::optional<bool> nonce_valid, const api::Contract& contract, UnixMs now,
                               const EvidenceOutcome& before, Deps& deps) {
  EvidenceOutcome out;
  out.needed = evidence_needed(request.lease_id.has_value(), request.key_release_jwk.has_value(), contract.terms);
  out.clock_kept = before.clock_kept;
  const bool refused_anyway = nonce_valid == false;
  if (contract.terms.attestation == "none" || !request.attestation || refused_anyway) return out;
  if (!nonce_valid) {
    out.failed = attest::refuse("evidence_fresh", "ask for a challenge and make evidence over its nonce").error();
    return out;
  }
  auto weighed = weigh(request, question_of(request, thumbprint).qualifier(), contract, now, out, deps);
  if (!weighed) out.failed = std::move(weighed.error());
  out.attested = weighed.has_value();
  return out;
}

std::string repeatable_form(const std::string& body) {
  Json json = value_or_throw(Json::parse(body, {.bytes = api::kMaxAuthorizeRequestBytes}));
  if (json.find("attestation") == nullptr) return body;
  json.erase("attestation");
  json.erase("nonce");
  return json.dump();
}

}  // namespace tb::controlplane
