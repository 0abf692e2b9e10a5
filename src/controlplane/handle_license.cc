// The sentinel's other calls: giving a seat back, asking for a nonce, and waiting for a hint.
#include <charconv>

#include "api/authorize.h"
#include "base/crypto.h"
#include "controlplane/caller.h"
#include "controlplane/handlers.h"
#include "controlplane/policy.h"
#include "controlplane/sentinel_credential.h"

namespace tb::controlplane {
namespace {

constexpr std::int64_t kNonceLifetimeMs = 300000;
constexpr std::int64_t kMaxOutstandingNonces = 16;

store::Event sentinel_event(const store::ContractRow& row, std::string type) {
  return {
      .type = std::move(type), .tenant = row.contract.tenant, .actor = "sentinel", .subject = row.contract.contract_id};
}

}  // namespace

http::Response handle_release(const http::Request& request, Deps& deps) {
  const auto asked = api::ReleaseRequest::parse(request.body);
  const auto sentinel = proven_sentinel(request, asked.contract_id, deps);
  if (!sentinel) return denied("authentication_required", deps);
  const auto& contract = sentinel->row.contract;
  if (sentinel->proof.sentinel_key.empty() && proof_required(contract.terms)) return denied("client_too_old", deps);
  store::Event event = sentinel_event(sentinel->row, "lease_released");
  event.detail.set("lease_id", asked.lease_id);
  switch (deps.store.release_lease(contract.tenant, contract.contract_id, asked.lease_id, sentinel->proof, deps.clock(),
                                   event)) {
    case store::ReleaseOutcome::kReleased:
      break;
    case store::ReleaseOutcome::kGone:
      throw Error("lease_not_found", "this sentinel has no active lease of this id");
    case store::ReleaseOutcome::kProofReplayed:
      throw Error("proof_replayed", "the proof has served before");
  }
  Json body = Json::object();
  body.set("status", "released");
  return http::json(200, body);
}

http::Response handle_challenge(const http::Request& request, Deps& deps) {
  const auto asked = api::ChallengeRequest::parse(request.body);
  const auto row = verified_contract(request, asked.contract_id, deps);
  if (!row) return denied("authentication_required", deps);
  const UnixMs now = deps.clock();
  api::ChallengeAnswer answer{.nonce = random_token(32), .expires_at = now + kNonceLifetimeMs, .pcr_selection = {}};
  if (row->contract.terms.attestation == "tpm") {
    answer.pcr_selection = api::TpmPolicy::from_json(row->contract.terms.attestation_policy).selection();
  }
  if (!deps.store.add_nonce(row->contract.tenant, row->contract.contract_id, token_hash(answer.nonce), now,
                            answer.expires_at, kMaxOutstandingNonces)) {
    throw Error("challenge_limit", "the contract has too many unused challenges");
  }
  return http::json(200, answer.to_json());
}

/// Waits for a change of the contract on behalf of a lease's holder. The proof is not used up: nothing changes here.
http::Response handle_wait_for_hint(const http::Request& request, Deps& deps) {
  request.query.only({"contract_id", "lease_id", "policy_version"});
  const auto parameter = [&](std::string_view name) {
    auto value = request.query.one(name);
    if (!value) throw Error("field_missing", std::string(name) + " is missing from the query");
    return std::move(*value);
  };
  const std::string lease_id = parameter("lease_id");
  const std::string version_text = parameter("policy_version");
  std::int64_t known_version = 0;
  const auto [end, fault] =
      std::from_chars(version_text.data(), version_text.data() + version_text.size(), known_version);
  if (fault != std::errc() || end != version_text.data() + version_text.size() || known_version < 0) {
    throw Error("field_invalid", "policy_version must be a number");
  }
  const auto sentinel = proven_sentinel(request, parameter("contract_id"), deps);
  if (!sentinel) return denied("authentication_required", deps);
  const std::string& key = sentinel->proof.sentinel_key;
  if (key.empty()) return denied("client_too_old", deps);
  const auto& contract = sentinel->row.contract;
  // A lease that is over is a change, too; and only holders wait, so that there are no more of them than seats.
  const bool holds = deps.store.holds_lease(contract.tenant, contract.contract_id, lease_id, key, deps.clock());
  if (!holds || contract.policy_version != known_version) return HintBoard::hint(true);
  http::Response response;
  response.late = deps.hints.wait({.tenant = contract.tenant, .contract_id = contract.contract_id}, key, known_version);
  return response;
}

}  // namespace tb::controlplane
