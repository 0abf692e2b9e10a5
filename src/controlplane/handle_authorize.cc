// POST /api/v1/license/authorize: from a credential to a seat, signed URLs and the key in the form that the contract
// allows. The order matters: nothing about a contract is told before its credential has verified, and a seat is taken
// last, once everything else that can fail has not.
#include <algorithm>

#include "api/authorize.h"
#include "api/grant.h"
#include "api/usage.h"
#include "base/crypto.h"
#include "controlplane/caller.h"
#include "controlplane/evidence.h"
#include "controlplane/evidence_check.h"
#include "controlplane/handlers.h"
#include "controlplane/logged_request.h"
#include "controlplane/policy.h"
#include "controlplane/sentinel_credential.h"
#include "controlplane/url_signature.h"
#include "jose/sealed_key.h"
#include "jose/statement.h"

namespace tb::controlplane {
namespace {

/// Everything that one request is decided on.
struct Case {
  api::AuthorizeRequest request;
  store::ContractRow row;
  std::optional<store::AssetRow> asset;
  std::optional<jose::PublicKey> one_time_key;
  store::ProofOnce proof;
  ShownCredential shown;
  Bytes digest;  ///< of the request: what tells its repetition from another
  Facts facts;
  EvidenceVerdict evidence;
  std::optional<EvidenceOutcome> tpm;  ///< of `attestation: tpm`
};

store::Event event_of(const Case& c, std::string type) {
  store::Event event{.type = std::move(type),
                     .tenant = c.row.contract.tenant,
                     .actor = "sentinel",
                     .subject = c.row.contract.contract_id};
  event.detail.set("asset_id", c.request.asset_id);
  event.detail.set("hw_id", c.request.hw_id);
  event.detail.set("client_version", c.request.client_version);
  if (!c.proof.sentinel_key.empty()) event.detail.set("sentinel_key", c.proof.sentinel_key);
  c.evidence.write_to(event.detail);
  if (c.tpm && !c.tpm->ek_sha256.empty()) event.detail.set("ek_sha256", c.tpm->ek_sha256);
  event.detail.set("facts", facts_to_json(c.facts, c.shown, c.row.contract));
  return event;
}

store::Event denial_of(const Case& c, std::string_view reason) {
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

Facts facts_of(const Case& c, Deps& deps) {
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

/// Only for a nonce that was ours and unused: then the evidence cannot have served before.
void check_evidence_of(Case& c, Deps& deps) {
  const std::string thumbprint = c.one_time_key ? c.one_time_key->thumbprint() : std::string();
  c.evidence = check_evidence(c.row.contract.terms, c.request, thumbprint, c.facts.nonce_valid.value_or(false),
                              deps.attestation_trust, c.facts.now);
  c.facts.attested = c.evidence.facts.has_value();
  if (c.row.contract.terms.attestation != "tpm") return;
  c.facts.evidence_needed = evidence_needed(c.facts.is_renewal, c.facts.has_one_time_key, c.row.contract.terms);
  if (c.facts.nonce_valid == false) return;
  c.tpm = look_at_evidence(c.request, thumbprint, c.row.contract, c.facts.now, deps);
  c.facts.attested = c.tpm && c.tpm->attested;
  c.facts.machine_approved = c.tpm && c.tpm->machine_approved;
}

http::Response deny(const Case& c, std::string_view reason, Deps& deps) {
  store::Event event = denial_of(c, reason);
  if (reason == "attestation_failed" && c.tpm && c.tpm->failure) describe(*c.tpm->failure, event.detail);
  deps.store.append_event(event);
  const std::string words = c.tpm && c.tpm->failure ? c.tpm->failure->detail() : c.evidence.detail();
  return denied(reason, deps, {.detail = reason == "attestation_failed" ? words : "", .retry_after_seconds = {}});
}

/// With when to ask again: a lease that is not renewed ends then, and one that is moves that time on.
http::Response deny_seat(const Case& c, Deps& deps) {
  deps.store.append_event(denial_of(c, "seat_limit"));
  const auto& contract = c.row.contract;
  const auto end = deps.store.next_seat_end(contract.tenant, contract.contract_id, c.facts.now);
  if (!end || c.facts.is_renewal) return denied("seat_limit", deps);
  constexpr std::int64_t kLongestWaitSeconds = 3600;
  const auto wait = std::clamp<std::int64_t>((*end - c.facts.now + 999) / 1000, 1, kLongestWaitSeconds);
  return denied("seat_limit", deps, {.detail = "", .retry_after_seconds = wait});
}

/// The first machine of a pin_first contract is remembered here, pending; the decision itself stays pure.
void pin_if_first(Case& c, Deps& deps) {
  const auto& contract = c.row.contract;
  if (contract.terms.hardware.mode != api::Hardware::Mode::kPinFirst || c.facts.pin) return;
  if (contract.effective_state(c.facts.now) != "active") return;
  c.facts.pin = deps.store.pin_hardware(contract.tenant, contract.contract_id, c.request.hw_id,
                                        event_of(c, "hardware_seen_first"));
}

SecretUrl url_of(const Case& c, std::string_view name, const std::string& stored, const std::string& digest,
                 const std::string& lease_id, const Grant& grant, Deps& deps) {
  if (!stored.starts_with("store:")) {
    // Signed is the path made of tenant, asset and name, and only where that is what was registered.
    const blob::StoredObject object{
        .tenant = c.row.contract.tenant, .asset_id = c.request.asset_id, .name = std::string(name)};
    const bool ours = deps.signing_store != nullptr && deps.signing_store->url(object) == stored;
    return ours ? deps.signing_store->sign_read(object, grant.urls_expire_at) : SecretUrl(stored);
  }
  const BlobClaim claim{.tenant = c.row.contract.tenant,
                        .asset_id = c.request.asset_id,
                        .name = std::string(name),
                        .object_digest = digest,
                        .lease_id = lease_id,
                        .expires_at_seconds = grant.urls_expire_at / 1000};
  const std::string base = deps.public_url.get();
  if (base.empty()) throw Error("server_busy", "the service is still starting");
  return SecretUrl(base + signed_path(deps.keyring.url_key(), deps.keyring.url_kid(), claim));
}

api::ReleasePolicy policy_of(const api::ContractTerms& terms) {
  return {.allow_finetune = terms.allow_finetune,
          .quotas = terms.quotas,
          .metering = terms.metering,
          .allowed_paths = terms.allowed_paths,
          .runtime_isolation = terms.runtime_isolation};
}

/// The signed word on an answer that is whole but for it.
std::string grant_of(const Case& c, const api::AuthorizeAnswer& answer, Deps& deps) {
  api::LeaseGrant grant;
  grant.contract_id = c.row.contract.contract_id;
  grant.asset_id = c.request.asset_id;
  grant.lease_id = *answer.lease_id;
  grant.policy = policy_of(c.row.contract.terms);
  grant.policy_version = c.row.contract.policy_version;
  grant.manifest_sha256 = answer.manifest_sha256.value_or("");
  for (const auto& url : {std::cref(answer.sas_url), std::cref(answer.manifest_url)}) {
    std::string origin = api::origin_of(url.get().printable());
    if (std::ranges::find(grant.url_origins, origin) == grant.url_origins.end()) {
      grant.url_origins.push_back(std::move(origin));
    }
  }
  if (c.one_time_key) grant.key_thumbprint = c.one_time_key->thumbprint();
  grant.nonce = c.request.nonce.value_or("");
  grant.proof_jti = c.proof.jti;
  grant.issued_at = *answer.issued_at;
  grant.expires_at = *answer.lease_expires_at;
  grant.offline_grace_seconds = answer.offline_grace_seconds;
  return jose::sign(deps.keyring.identity(), api::kGrantType, grant.to_json().dump());
}

struct Urls {
  SecretUrl ciphertext, manifest;
};

Urls urls_of(const Case& c, const Grant& grant, const std::string& lease_id, Deps& deps) {
  const auto& [ciphertext, manifest] = c.asset->view.blob_urls;
  const std::string& digest = c.asset->view.metadata.sha256_ciphertext;
  return {.ciphertext = url_of(c, kCiphertextName, ciphertext, digest, lease_id, grant, deps),
          .manifest = url_of(c, kManifestName, manifest, digest, lease_id, grant, deps)};
}

api::AuthorizeAnswer answer_of(const Case& c, const Grant& grant, const std::string& lease_id, FileKey key, Urls urls,
                               Deps& deps) {
  const auto& contract = c.row.contract;
  const auto& view = c.asset->view;
  api::AuthorizeAnswer answer;
  answer.sas_url = std::move(urls.ciphertext);
  answer.manifest_url = std::move(urls.manifest);
  answer.expires_at = grant.urls_expire_at;
  answer.lease_id = lease_id;
  answer.lease_expires_at = grant.lease_expires_at;
  answer.renew_after_seconds = grant.renew_after_seconds;
  answer.offline_grace_seconds = contract.terms.offline_grace_seconds;
  answer.manifest_sha256 = view.manifest_sha256;
  answer.metadata = view.metadata;
  answer.issued_at = c.facts.now;
  answer.policy_version = contract.policy_version;
  answer.policy = policy_of(contract.terms);
  if (grant.key == KeyForm::kPlain) {
    answer.key = std::move(key);
  } else if (grant.key == KeyForm::kWrapped) {
    answer.wrapped_key = jose::seal_key(*c.one_time_key,
                                        {{"contract_id", contract.contract_id},
                                         {"asset_id", c.request.asset_id},
                                         {"lease_id", lease_id},
                                         {"policy_version", contract.policy_version}},
                                        key);
  }
  answer.grant = grant_of(c, answer, deps);
  return answer;
}

std::string_view key_form_name(KeyForm form) {
  return form == KeyForm::kWrapped ? "wrapped" : form == KeyForm::kPlain ? "plain" : "none";
}

/// The lease to renew, or "" where a new seat is to be taken. A sentinel of the first implementation knows no leases:
/// its machine gets its own seat again.
std::string held_lease(const Case& c, Deps& deps) {
  if (c.request.lease_id) return *c.request.lease_id;
  const auto& contract = c.row.contract;
  if (contract.terms.authentication != "none" || c.facts.proven) return "";
  return deps.store.find_seat(contract.tenant, contract.contract_id, c.request.asset_id, c.request.hw_id, c.facts.now);
}

store::SeatOutcome seat_for(const Case& c, const Grant& grant, const std::string& lease_id, bool renew,
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
std::optional<http::Response> decide_once(Case& c, Deps& deps) {
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
  Urls urls = urls_of(c, grant, lease_id, deps);
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
  api::AuthorizeAnswer answer = answer_of(c, grant, lease_id, std::move(key), std::move(urls), deps);
  answer.renewal_token = SecretString(renewal_token);
  return http::json(200, answer.to_json());
}

}  // namespace

http::Response handle_authorize(const http::Request& request, Deps& deps) {
  Case c;
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
    // Every time: what the contract asks for may be what has changed.
    check_evidence_of(c, deps);
    if (auto response = decide_once(c, deps)) return std::move(*response);
  }
  throw Error("database_busy", "the contract kept changing while it was decided on");
}

}  // namespace tb::controlplane
