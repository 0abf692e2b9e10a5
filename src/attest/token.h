// Attestation tokens: a service that the operator trusts has looked at the machine's evidence and says so in a JWT
// (RFC 7519) signed by RS256. Which issuers, and under which keys, is the operator's choice; what the claims must be is
// the contract's. What one issuer's claims are called is a profile, and stands elsewhere.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "attest/claim_rules.h"
#include "attest/issuer_keys.h"
#include "base/crypto.h"

namespace tb::attest {

inline constexpr std::int64_t kTokenSkewMs = 60'000;
/// Longest time to `exp`.
inline constexpr std::int64_t kTokenLifeMs = 86'400'000;

/// The claims of one kind of token, as rules.
struct TokenProfile {
  std::vector<std::string> binding;  ///< the claim that holds what the sentinel gave
  /// From `options` of the policy. Throws "contract_invalid".
  std::function<std::vector<ClaimRule>(const Json& options)> rules;
};
using TokenProfiles = std::map<std::string, TokenProfile, std::less<>>;

/// What the operator configured.
struct TokenTrust {
  std::map<std::string, std::shared_ptr<IssuerKeys>, std::less<>> issuers;  ///< by `iss`, exactly
  TokenProfiles profiles;
};

/// `attestation_policy` of `attestation: token` (docs/attestation-policies.md).
struct TokenPolicy {
  std::string issuer;
  std::vector<std::string> binding;
  std::vector<ClaimRule> rules;  ///< the profile's, then the contract's own; never empty

  /// Throws "contract_invalid" naming the field.
  static TokenPolicy parse(const Json& json, const TokenProfiles& profiles);
};
void validate_token_policy(const Json& json, const TokenProfiles& profiles);

/// Claims of a verified payload against time, request and policy. Pure. The binding claim holds the digest of the
/// request in lower hex, or the base64 of that text, as services give back what they were handed.
Verdict check_token_claims(std::string_view payload, const TokenPolicy& policy, const Digest& request, UnixMs now);

/// `evidence` is {"type": "token", "token": compact JWS, "config_sha256"?}. The claims' token_id serves once, because
/// the nonce in `request` does. Throws "attestation_unavailable" where the issuer's keys cannot be had.
Verdict verify_token(const Json& evidence, const Json& policy, const Digest& request, const TokenTrust& trust,
                     UnixMs now);

}  // namespace tb::attest
