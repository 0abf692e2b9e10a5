// POST /api/v1/license/authorize: from a credential to a seat, signed URLs and the key in the form that the contract
// allows. The order matters: nothing about a contract is told before its credential has verified, and a seat is taken
// last, once everything else that can fail has not.
#include <algorithm>

#include "api/authorize.h"
#include "api/usage.h"
#include "base/crypto.h"
#include "controlplane/authorize_answer.h"
#include "controlplane/caller.h"
#include "controlplane/handlers.h"
#include "controlplane/logged_request.h"
#include "controlplane/policy.h"
#include "controlplane/sentinel_credential.h"

namespace tb::controlplane {
namespace {

store::Event event_of(const AuthorizeCase& c, std::string type) {
  store::Event event{.type = std::move(type),
                     .tenant = c.row.contract.tenant,
                     .actor = "sentinel",
                     .subject = c.row.contract.contract_id};
  event.detail.set("asset_id", c.request.asset_id);
  event.detail.set("hw_id", c.request.hw_id);
  event.detail.set("client_version", c.request.client_version);
  if (!c.proof.sentinel_key.empty()) event.detail.set("sentinel_key", c.proof.sentinel_key);
  c.evidence.write_to(event.detail);
  event.detail.set("facts", facts_to_json(c.facts, c.shown, c.row.contract));
  return event;
}

store::Event denial_of(const AuthorizeCase& c, std::string_view reason) {
  store::Event event = event_of(c, "license_denied");
  event.detail.set("reason", reason);
  if (c.request.lease_id) event.detail.set("lease_id", *c.request.lease_id);
  return event;
}

std::map<std::string, std::int64_t> used_of(const api::Contract& contract, UnixMs now, Deps& deps) {
  std::map<std::string, std::int64_t> used;
  for (const auto& [dimension, quota] : api::parse_quotas(contract.terms.quotas)) {
    used[dimension] = deps.store.usage_since(contract.tenant, contract.contract_id, dimension, quota.since(now));
  }
  return used;
}

Facts facts_of(const AuthorizeCase& c, Deps& deps) {
  Facts facts;
  facts.now = deps.clock();
  facts.authenticated = true;
  facts.asset_id = c.request.asset_id;
  facts.asset_registered = c.asset.has_value();
  facts.hw_id = c.request.hw_id;
  facts.client_version = c.request.client_version;
  facts.proven = !c.proof.sentinel_key.empty();
  facts.has_one_time_key = c.one_time_key.has_value();
  facts.is_renewal = c.request.lease_id.has_value();
  facts.evidence_came = c.request.attestation.has_value();
  facts.pin = c.row.pin;
  facts.url_seconds = deps.url_seconds;
  facts.used = used_of(c.row.contract, facts.now, deps);
  if (c.request.nonce) {
    facts.nonce_valid = deps.store.use_nonce(c.row.contract.tenant, c.row.contract.contract_id,
                                             token_hash(*c.request.nonce), facts.now);
  }
  return facts;
}

/// Every time that the contract was read: what it asks for may be what has changed.
void weigh_evidence_of(AuthorizeCase& c, Deps& deps) {
  const std::string thumbprint = c.one_time_key ? c.one_time_key->thumbprint() : std::string();
  c.evidence =
      weigh_evidence(c.request, thumbprint, c.facts.nonce_valid, c.row.contract, c.facts.now, c.evidence, deps);
  c.facts.evidence_needed = c.evidence.needed;
  c.facts.attested = c.evidence.attested;
  c.facts.machine_approved = c.evidence.machine_approved;
}

http::Response deny(const AuthorizeCase& c, std::string_view reason, Deps& deps) {
  deps.store.append_event(denial_of(c, reason));
  const bool is_told = reason == "attestation_failed" && c.evidence.failed;
  return denied(reason, deps, {.detail = is_told ? c.evidence.failed->detail() : "", .retry_after_seconds = {}});
}

/// With when to ask again: a lease that is not renewed ends then, and one that is moves that time on.
http::Response deny_seat(const AuthorizeCase& c, Deps& deps) {
  deps.store.append_event(denial_of(c, "seat_limit"));
  const auto& contract = c.row.contract;
  const auto end = deps.store.next_seat_end(contract.tenant, contract.contract_id, c.facts.now);
  if (!end || c.facts.is_renewal) return denied("seat_limit", deps);
  constexpr std::int64_t kLongestWaitSeconds = 3600;
  const auto wait = std::clamp<std::int64_t>((*end - c.facts.now + 999) / 1000, 1, kLongestWaitSeconds);
  return denied("seat_limit", deps, {.detail = "", .retry_after_seconds = wait});
}

/// The first machine of a pin_first contract is remembered here, pending; the decision itself stays pure.
void pin_if_first(AuthorizeCase& c, Deps& deps) {
  const auto& contract = c.row.contract;
  if (contract.terms.hardware.mode != api::Hardware::Mode::kPinFirst || c.facts.pin) return;
  if (contract.effective_state(c.facts.now) != "active") return;
  c.facts.pin = deps.store.pin_hardware(contract.tenant, contract.contract_id, c.request.hw_id,
                                        event_of(c, "hardware_seen_first"));
}

std::string_view key_form_name(KeyForm form) {
  return form == KeyForm::kWrapped ? "wrapped" : form == KeyForm::kPlain ? "plain" : "none";
}

/// The lease to renew, or "" where a new seat is to be taken. A sentinel of the first implementation knows no leases:
/// its machine gets its own seat again.
std::string held_lease(const AuthorizeCase& c, Deps& deps) {
  if (c.request.lease_id) return *c.request.lease_id;
  const auto& contract = c.row.contract;
  if (contract.terms.authentication != "none" || c.facts.proven) return "";
  return deps.store.find_seat(contract.tenant, contract.contract_id, c.request.asset_id, c.request.hw_id, c.facts.now);
}

store::SeatOutcome seat_for(const AuthorizeCase& c, const Grant& grant, const std::string& lease_id, bool renew,
                            const std::string& renewal_token, Deps& deps) {
  const auto& contract = c.row.contract;
  const store::SeatRequest seat{
      .tenant = contract.tenant,
      .contract_id = contract.contract_id,
      .policy_version = contract.policy_version,
      .lease_id = lease_id,
      .asset_id = c.request.asset_id,
      .hw_id = c.request.hw_id,
      .client_version = c.request.client_version,
      .max_seats = contract.terms.max_seats,
      .expires_at = grant.lease_expires_at,
      .seat_until = grant.seat_until,
      .jwk_thumbprint = c.one_time_key ? c.one_time_key->thumbprint() : std::string(),
      .proof = c.proof,
      .renewal_hash = token_hash(renewal_token),
      .shown_renewal_hash = c.request.renewal_token ? token_hash(c.request.renewal_token->reveal()) : Bytes(),
      .request_digest = c.digest,
  };
  store::Event event = event_of(c, c.facts.is_renewal ? "lease_renewed" : "license_released");
  event.detail.set("lease_id", lease_id);
  event.detail.set("key", key_form_name(grant.key));
  event.detail.set("authentication", contract.terms.authentication);
  event.detail.set("lease_expires_at", to_rfc3339(grant.lease_expires_at, true));
  return renew ? deps.store.renew_lease(seat, c.facts.now, event) : deps.store.take_seat(seat, c.facts.now, event);
}

/// One decision; nothing if the contract changed between reading it and taking the seat.
std::optional<http::Response> decide_once(AuthorizeCase& c, Deps& deps) {
  pin_if_first(c, deps);
  const Decision decision = decide(c.row.contract, c.facts);
  if (!decision.grant) return deny(c, decision.reason, deps);
  const Grant& grant = *decision.grant;
  const auto& view = c.asset->view;
  // A renewal without a key asks nothing of the KEK: it goes on while a KMS does not answer.
  FileKey key;
  if (grant.key != KeyForm::kNone) {
    key = deps.keyring.unwrap(view.tenant, view.asset_id, view.metadata.sha256_ciphertext, c.asset->key);
  }
  const std::string held = held_lease(c, deps);
  const std::string lease_id = held.empty() ? random_token(18) : held;
  const std::string renewal_token = random_token(32);
  SignedUrls urls = signed_urls(c, grant, lease_id, deps);
  switch (seat_for(c, grant, lease_id, !held.empty(), renewal_token, deps)) {
    case store::SeatOutcome::kGranted:
      break;
    case store::SeatOutcome::kFull:
    case store::SeatOutcome::kGone:
      return deny_seat(c, deps);
    case store::SeatOutcome::kCloned:
      return deny(c, "lease_cloned", deps);
    case store::SeatOutcome::kProofReplayed:
      throw Error("proof_replayed", "the proof has served before");
    case store::SeatOutcome::kJwkReused:
      throw Error("jwk_refused", "the key_release_jwk has served before");
    case store::SeatOutcome::kChanged:
      return std::nullopt;
  }
  deps.metrics
      .counter("tb_cp_releases_total", "authorize requests that were granted, by what they gave",
               {{"key", std::string(key_form_name(grant.key))}})
      .add();
  api::AuthorizeAnswer answer = authorize_answer(c, grant, lease_id, std::move(key), std::move(urls), deps);
  answer.renewal_token = SecretString(renewal_token);
  return http::json(200, answer.to_json());
}

}  // namespace

http::Response handle_authorize(const http::Request& request, Deps& deps) {
  AuthorizeCase c;
  c.request = api::AuthorizeRequest::parse(request.body);
  c.digest = token_hash(repeatable_form(request.body));
  constexpr int kAttempts = 3;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    auto row = verified_contract(request, c.request.contract_id, deps);
    if (!row) return denied("authentication_required", deps);
    c.row = std::move(*row);
    if (attempt == 0) {
      c.shown = {.token = !request.bearer_token().empty(), .certificate_sha256 = request.client_cert_sha256};
      c.proof = verified_proof(request, deps);
      if (!c.proof.sentinel_key.empty() && c.request.lease_id && !c.request.renewal_token) {
        throw Error("field_missing", "renewal_token is missing from the authorize request");
      }
      if (c.request.key_release_jwk) c.one_time_key = jose::PublicKey::from_jwk(*c.request.key_release_jwk);
    }
    c.asset = deps.store.find_asset(c.row.contract.tenant, c.request.asset_id);
    if (attempt == 0) {
      c.facts = facts_of(c, deps);
    } else {
      c.facts.pin = c.row.pin;
      c.facts.used = used_of(c.row.contract, c.facts.now, deps);
    }
    weigh_evidence_of(c, deps);
    if (auto response = decide_once(c, deps)) return std::move(*response);
  }
  throw Error("database_busy", "the contract kept changing while it was decided on");
}

}  // namespace tb::controlplane
