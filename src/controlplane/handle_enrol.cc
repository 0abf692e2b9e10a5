// How a machine's TPM keys become known: it shows both, gets a credential that only its TPM can open, and gives back
// what was in it. From then on a quote by the attestation key is that TPM's word.
#include "api/evidence.h"
#include "attest/crypto_keys.h"
#include "attest/enrolment.h"
#include "base/crypto.h"
#include "controlplane/caller.h"
#include "controlplane/handlers.h"
#include "controlplane/sentinel_credential.h"

namespace tb::controlplane {
namespace {

constexpr std::int64_t kCredentialLifetimeMs = 300000;
constexpr std::int64_t kMaxOpenEnrolments = 16;
constexpr std::int64_t kMaxMachines = 4096;

store::Event machine_event(const api::Contract& contract, std::string type, const std::string& ek_sha256,
                           const std::string& ak_name) {
  store::Event event{
      .type = std::move(type), .tenant = contract.tenant, .actor = "sentinel", .subject = contract.contract_id};
  if (!ek_sha256.empty()) event.detail.set("ek_sha256", ek_sha256);
  if (!ak_name.empty()) event.detail.set("ak_name", ak_name);
  return event;
}

http::Response refuse(const api::Contract& contract, const attest::FailedCheck& failure, const std::string& ak_name,
                      Deps& deps) {
  store::Event event = machine_event(contract, "machine_refused", "", ak_name);
  failure.write_to(event.detail);
  deps.store.append_event(event);
  return denied("attestation_failed", deps, {.detail = failure.detail(), .retry_after_seconds = {}});
}

bool listed(const api::TpmPolicy& policy, const store::Machine& machine) {
  return machine.approved || std::ranges::find(policy.ek_sha256, machine.ek_sha256) != policy.ek_sha256.end();
}

http::Response enrolled(const store::Machine& machine, const api::TpmPolicy& policy) {
  const api::EnrolAnswer answer{.enrolled = true, .approved = listed(policy, machine), .ek_sha256 = machine.ek_sha256};
  return http::json(200, answer.to_json());
}

/// The reason why the contract takes no machine now, or "".
std::string_view closed(const api::Contract& contract, UnixMs now) {
  const std::string_view state = contract.effective_state(now);
  if (state == "revoked") return "contract_revoked";
  if (state == "suspended") return "contract_suspended";
  if (state == "expired") return "contract_expired";
  return "";
}

void require_tpm_contract(const api::Contract& contract) {
  if (contract.terms.attestation != "tpm") {
    throw Error("field_invalid", "the contract asks for no TPM").with_hint("set TB_ATTESTATION=none");
  }
}

}  // namespace

http::Response handle_enroll(const http::Request& request, Deps& deps) {
  const auto asked = api::EnrolRequest::parse(request.body);
  const auto row = verified_contract(request, asked.contract_id, deps);
  if (!row) return denied("authentication_required", deps);
  const api::Contract& contract = row->contract;
  require_tpm_contract(contract);
  const UnixMs now = deps.clock();
  if (const auto reason = closed(contract, now); !reason.empty()) return denied(reason, deps);
  const auto policy = api::TpmPolicy::from_json(contract.terms.attestation_policy);
  const auto keys = attest::check_enrolment(asked, policy, now);
  if (!keys) return refuse(contract, keys.error(), "", deps);
  if (const auto machine = deps.store.find_machine(contract.tenant, contract.contract_id, keys->ak_name)) {
    return enrolled(*machine, policy);
  }
  Secret<32> secret;
  random_bytes(secret.reveal_mutable());
  const auto credential =
      value_or_throw(attest::make_credential(keys->ek, value_or_throw(from_hex(keys->ak_name)), secret));
  const Digest hash = sha256(secret.reveal());
  const store::Enrolment enrolment{.ak_name = keys->ak_name,
                                   .ek_sha256 = keys->ek_sha256,
                                   .ek_public = asked.ek_public,
                                   .ak_public = asked.ak_public,
                                   .secret_hash = Bytes(hash.begin(), hash.end()),
                                   .expires_at = now + kCredentialLifetimeMs};
  if (!deps.store.begin_enrolment(contract.tenant, contract.contract_id, enrolment, now, kMaxOpenEnrolments,
                                  machine_event(contract, "machine_enrolment_begun", keys->ek_sha256, keys->ak_name))) {
    throw Error("challenge_limit", "the contract has too many open enrolments");
  }
  const api::EnrolAnswer answer{.ek_sha256 = keys->ek_sha256,
                                .credential = credential.id_object,
                                .encrypted_secret = credential.encrypted_secret,
                                .expires_at = enrolment.expires_at};
  return http::json(200, answer.to_json());
}

http::Response handle_activate(const http::Request& request, Deps& deps) {
  const auto asked = api::ActivateRequest::parse(request.body);
  const auto row = verified_contract(request, asked.contract_id, deps);
  if (!row) return denied("authentication_required", deps);
  const api::Contract& contract = row->contract;
  require_tpm_contract(contract);
  const UnixMs now = deps.clock();
  if (const auto reason = closed(contract, now); !reason.empty()) return denied(reason, deps);
  Bytes secret = from_base64url(asked.secret.reveal()).value_or(Bytes());
  const Digest hash = sha256(secret);
  wipe(secret.data(), secret.size());
  switch (deps.store.finish_enrolment(contract.tenant, contract.contract_id, asked.ak_name, hash, now, kMaxMachines,
                                      machine_event(contract, "machine_enrolled", "", asked.ak_name))) {
    case store::EnrolOutcome::kUnknown:
      return refuse(contract, attest::failed("credential", "").error(), asked.ak_name, deps);
    case store::EnrolOutcome::kFull:
      throw Error("enrolment_limit", "the contract has as many machines as it may have");
    case store::EnrolOutcome::kEnrolled:
      break;
  }
  const auto machine = deps.store.find_machine(contract.tenant, contract.contract_id, asked.ak_name);
  if (!machine) throw Error("database_busy", "the machine was reset at the same time");
  return enrolled(*machine, api::TpmPolicy::from_json(contract.terms.attestation_policy));
}

}  // namespace tb::controlplane
