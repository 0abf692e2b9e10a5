// The one door of authorize to the verifiers that need no enrolment: `attestation` snp and token.
#pragma once

#include <string_view>

#include "attest/snp_verify.h"
#include "attest/token.h"

namespace tb::attest {

/// What the operator configured; shared by all requests.
struct Trust {
  SnpTrust snp;
  TokenTrust token;
};

/// True for the kinds that verify_evidence knows.
bool is_verified_kind(std::string_view kind);

/// The policy of a contract when it is made or changed; throws "contract_invalid" naming the field, also where the
/// operator configured nothing that could verify it. Other kinds are not this function's business.
void validate_attestation_policy(std::string_view kind, const Json& policy, const Trust& trust);

/// `request` is the evidence digest of wire 1.1. A kind that is not known is refused ("attestation_kind"). Throws
/// "attestation_unavailable" where a verdict cannot be had now.
Verdict verify_evidence(std::string_view kind, const Json& evidence, const Json& policy, const Digest& request,
                        const Trust& trust, UnixMs now);

}  // namespace tb::attest
