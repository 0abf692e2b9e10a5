// Looking for the contract that a credential proves.
#include "controlplane/sentinel_credential.h"

#include <algorithm>

#include "api/authorize.h"
#include "base/crypto.h"
#include "controlplane/caller.h"
#include "controlplane/policy.h"
#include "jose/proof.h"

namespace tb::controlplane {
namespace {

bool token_fits(const store::ContractRow& row, ByteView hash, UnixMs now) {
  const bool same = equal_constant_time(row.activation_hash, hash);
  const bool current = !row.activation_expires_at || now < *row.activation_expires_at;
  return same && current && !row.activation_hash.empty();
}

/// Every credential that came must be the contract's own: ones that disagree are refused.
bool credential_fits(const store::ContractRow& row, const http::Request& request, ByteView hash, const Deps& deps) {
  const bool has_token = !request.bearer_token().empty();
  const bool token = token_fits(row, hash, deps.clock());
  if (has_token && !token) return false;
  const auto& terms = row.contract.terms;
  if (terms.authentication == "none" && !deps.allow_unauthenticated_sentinels) return false;
  return credential_is_enough(terms, {.token = has_token, .certificate_sha256 = request.client_cert_sha256});
}

}  // namespace

bool credential_is_enough(const api::ContractTerms& terms, const ShownCredential& shown) {
  const auto& listed = terms.client_certificates;
  const bool certificate =
      !shown.certificate_sha256.empty() && std::ranges::find(listed, shown.certificate_sha256) != listed.end();
  if (!shown.certificate_sha256.empty() && !listed.empty() && !certificate) return false;
  if (terms.authentication == "token") return shown.token;
  if (terms.authentication == "mtls") return certificate;
  return terms.authentication == "none";
}

std::optional<store::ContractRow> verified_contract(const http::Request& request, const std::string& contract_id,
                                                    Deps& deps) {
  const Bytes hash = token_hash(request.bearer_token());
  std::optional<store::ContractRow> found;
  bool ambiguous = false;
  for (auto& row : deps.store.find_contracts(contract_id)) {
    if (!credential_fits(row, request, hash, deps)) continue;
    ambiguous = found.has_value();
    found = std::move(row);
  }
  if (ambiguous) return std::nullopt;
  return found;
}

store::ProofOnce verified_proof(const http::Request& request, const Deps& deps) {
  const std::size_t proofs = request.headers.count("DPoP");
  if (proofs == 0) return {};
  if (proofs > 1) throw Error("proof_refused", "the request carries two proofs");
  const std::string base = deps.public_url.get();
  if (base.empty()) throw Error("server_busy", "the service is still starting");
  const jose::Proof proof = jose::verify_proof(request.headers.get("DPoP"), {.method = request.method,
                                                                             .url = base + request.path,
                                                                             .now_seconds = deps.clock() / 1000,
                                                                             .bearer_token = request.bearer_token()});
  return {.sentinel_key = proof.key.thumbprint(),
          .jti = proof.jti,
          .expires_at = (proof.issued_at_seconds + jose::kProofWindowSeconds + 1) * 1000};
}

std::optional<ProvenSentinel> proven_sentinel(const http::Request& request, const std::string& contract_id,
                                              Deps& deps) {
  // The credential first: without it, a proof must make no difference that can be seen.
  auto row = verified_contract(request, contract_id, deps);
  if (!row) return std::nullopt;
  return ProvenSentinel{.row = std::move(*row), .proof = verified_proof(request, deps)};
}

std::optional<http::Response> refusal_unless_holder(const ProvenSentinel& sentinel, const std::string& lease_id,
                                                    Deps& deps) {
  const auto& contract = sentinel.row.contract;
  const std::string& key = sentinel.proof.sentinel_key;
  if (key.empty() && proof_required(contract.terms)) return denied("client_too_old", deps);
  if (!deps.store.owns_lease(contract.tenant, contract.contract_id, lease_id, key)) {
    throw Error("lease_not_found", "this sentinel has no lease of this id");
  }
  if (!deps.store.take_proof(sentinel.proof)) throw Error("proof_replayed", "the proof has served before");
  return std::nullopt;
}

http::Response denied(std::string_view reason, Deps& deps, DenialWords words) {
  deps.metrics
      .counter("tb_cp_denials_total", "authorize requests that were denied, by reason",
               {{"reason", std::string(reason)}})
      .add();
  if (words.detail.empty()) words.detail = denial_detail(reason);
  const api::Denial denial{.reason = std::string(reason),
                           .detail = std::move(words.detail),
                           .known = true,
                           .retry_after_seconds = words.retry_after_seconds};
  http::Response response = http::json(403, denial.to_json());
  if (words.retry_after_seconds) response.headers.set("Retry-After", std::to_string(*words.retry_after_seconds));
  return response;
}

}  // namespace tb::controlplane
