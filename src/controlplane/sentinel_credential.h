// Which contract a sentinel speaks for: found by its credential, never by its word alone. Contract ids are one tenant's
// own, so a request may match several rows; only the one whose credential verifies exists for the caller.
#pragma once

#include <optional>
#include <string>

#include "controlplane/deps.h"
#include "http/message.h"
#include "store/store.h"

namespace tb::controlplane {

/// What a request showed, once it was found not to contradict the contract: its token, if it sent one, is the
/// contract's.
struct ShownCredential {
  bool token = false;
  std::string certificate_sha256;  ///< empty: none
};
/// Pure: whether the terms are content with that. `none` is content with everything; whether the operator allows it is
/// not asked here.
bool credential_is_enough(const api::ContractTerms& terms, const ShownCredential& shown);

/// The contract whose credential the request carries, or nothing. The work done is the same whether the id is unknown,
/// the token is wrong or has expired.
std::optional<store::ContractRow> verified_contract(const http::Request& request, const std::string& contract_id,
                                                    Deps& deps);

/// The proof of a sentinel key that came with the request (DPoP, RFC 9449), verified for this very request, token and
/// time; its use is for the store to allow, once. Without a key if none came. Throws "proof_refused", "proof_stale".
store::ProofOnce verified_proof(const http::Request& request, const Deps& deps);

/// A sentinel that has shown both: what every route of a lease's holder begins with.
struct ProvenSentinel {
  store::ContractRow row;
  store::ProofOnce proof;  ///< without a key only where the contract asks for none
};

/// Nothing without a credential. Throws as verified_proof. The caller answers denied("client_too_old") where `proof`
/// has no key and proof_required(); the store refuses a lease of another key.
std::optional<ProvenSentinel> proven_sentinel(const http::Request& request, const std::string& contract_id, Deps& deps);

/// What a sentinel is answered that is not the holder of `lease_id`, past or present; nothing if it is. Takes its
/// proof. Throws "lease_not_found", "proof_replayed".
std::optional<http::Response> refusal_unless_holder(const ProvenSentinel& sentinel, const std::string& lease_id,
                                                    Deps& deps);

/// What a denial says beside its reason.
struct DenialWords {
  std::string detail;  ///< in the place of the reason's own sentence, if not empty
  std::optional<std::int64_t> retry_after_seconds;
};

/// 403 with `status: denied`, counted by reason. `authentication_required` is one fixed body.
http::Response denied(std::string_view reason, Deps& deps, DenialWords words = {});

}  // namespace tb::controlplane
