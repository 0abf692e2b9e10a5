// The sentinel's other calls: giving a seat back, and asking for a nonce.
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
  const api::ChallengeAnswer answer{.nonce = random_token(32), .expires_at = now + kNonceLifetimeMs};
  if (!deps.store.add_nonce(row->contract.tenant, row->contract.contract_id, token_hash(answer.nonce), now,
                            answer.expires_at, kMaxOutstandingNonces)) {
    throw Error("challenge_limit", "the contract has too many unused challenges");
  }
  return http::json(200, answer.to_json());
}

}  // namespace tb::controlplane
