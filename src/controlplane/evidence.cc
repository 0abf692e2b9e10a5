#include "controlplane/evidence.h"

#include <algorithm>

#include "attest/crypto_keys.h"
#include "attest/quote.h"

namespace tb::controlplane {
namespace {

attest::Failure failure_of(std::string_view check, std::string fact) {
  return attest::failed(check, std::move(fact)).error();
}

bool approved(const store::Machine& machine, const api::TpmPolicy& policy) {
  return machine.approved || std::ranges::find(policy.ek_sha256, machine.ek_sha256) != policy.ek_sha256.end();
}

Digest qualifier_of(const api::AuthorizeRequest& request, const std::string& thumbprint,
                    const std::string& config_sha256) {
  return api::EvidenceQuestion{.nonce = request.nonce.value_or(""),
                               .thumbprint = thumbprint,
                               .contract_id = request.contract_id,
                               .asset_id = request.asset_id,
                               .lease_id = request.lease_id.value_or(""),
                               .config_sha256 = config_sha256}
      .qualifier();
}

}  // namespace

bool evidence_needed(bool is_renewal, bool has_one_time_key, const api::ContractTerms& terms) {
  if (terms.attestation != "tpm") return terms.attestation != "none";
  const bool renews_only = is_renewal && !has_one_time_key;
  return !renews_only || api::TpmPolicy::from_json(terms.attestation_policy).fresh_at_renewal;
}

std::optional<EvidenceOutcome> look_at_evidence(const api::AuthorizeRequest& request, const std::string& thumbprint,
                                                const api::Contract& contract, UnixMs now, Deps& deps) {
  if (contract.terms.attestation != "tpm" || !request.attestation) return std::nullopt;
  EvidenceOutcome out;
  const auto policy = api::TpmPolicy::from_json(contract.terms.attestation_policy);
  api::TpmEvidence evidence;
  try {
    evidence = api::TpmEvidence::from_json(*request.attestation);
  } catch (const Error& error) {
    out.failure = failure_of("evidence_form", error.message);
    return out;
  }
  const auto machine = deps.store.find_machine(contract.tenant, contract.contract_id, evidence.ak_name);
  if (!machine) {
    out.failure = failure_of("ak_enrolled", "");
    return out;
  }
  out.ek_sha256 = machine->ek_sha256;
  out.machine_approved = approved(*machine, policy);
  // Evidence without a nonce of ours could be of any time.
  if (!request.nonce) {
    out.failure = failure_of("nonce", "the request has no nonce");
    return out;
  }
  attest::QuoteQuestion question{.ek = value_or_throw(attest::parse_public(machine->ek_public)),
                                 .ak = value_or_throw(attest::parse_public(machine->ak_public)),
                                 .qualifier = qualifier_of(request, thumbprint, evidence.config_sha256),
                                 .last = {}};
  if (machine->seen_at) question.last = machine->clock;
  const auto checked = attest::check_quote(evidence, question, policy);
  if (!checked) {
    out.failure = checked.error();
    return out;
  }
  if (!deps.store.advance_clock(contract.tenant, contract.contract_id, evidence.ak_name, checked->clock, now)) {
    out.failure = failure_of("clock_monotonic", "");
    return out;
  }
  out.attested = true;
  return out;
}

std::string repeatable_form(const std::string& body) {
  Json json = value_or_throw(Json::parse(body, {.bytes = api::kMaxAuthorizeRequestBytes}));
  if (json.find("attestation") == nullptr) return body;
  json.erase("attestation");
  json.erase("nonce");
  return json.dump();
}

void describe(const attest::Failure& failure, Json& detail) {
  detail.set("check", failure.check);
  if (!failure.expected.is_null()) detail.set("expected", failure.expected);
  if (!failure.seen.is_null()) detail.set("seen", failure.seen);
}

}  // namespace tb::controlplane
