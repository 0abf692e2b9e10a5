// What a granted authorize request is answered with: signed URLs, the key in the form that the contract allows, and the
// grant, which is the identity key's word on all of it.
#pragma once

#include <optional>
#include <string>

#include "api/authorize.h"
#include "controlplane/evidence.h"
#include "controlplane/policy.h"
#include "controlplane/sentinel_credential.h"
#include "jose/p256.h"

namespace tb::controlplane {

/// Everything that one authorize request is decided on.
struct AuthorizeCase {
  api::AuthorizeRequest request;
  store::ContractRow row;
  std::optional<store::AssetRow> asset;
  std::optional<jose::PublicKey> one_time_key;
  store::ProofOnce proof;
  ShownCredential shown;
  Bytes digest;  ///< of the request: what tells its repetition from another
  Facts facts;
  EvidenceOutcome evidence;
};

struct SignedUrls {
  SecretUrl ciphertext, manifest;
};

/// Throws "server_busy" while the service does not know its own address yet, and what the signing store throws.
SignedUrls signed_urls(const AuthorizeCase& c, const Grant& grant, const std::string& lease_id, Deps& deps);

/// All but the renewal token. `key` is empty where the grant has none.
api::AuthorizeAnswer authorize_answer(const AuthorizeCase& c, const Grant& grant, const std::string& lease_id,
                                      FileKey key, SignedUrls urls, Deps& deps);

}  // namespace tb::controlplane
