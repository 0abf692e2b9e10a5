// Default deny: a kind that is not listed here is refused, whatever it brings.
#include "attest/verify_evidence.h"

namespace tb::attest {

bool is_verified_kind(std::string_view kind) {
  return kind == "snp" || kind == "token";
}

void validate_attestation_policy(std::string_view kind, const Json& policy, const Trust& trust) {
  if (kind == "snp") {
    validate_snp_policy(policy);
    if (trust.snp.roots.empty()) {
      throw Error("contract_invalid", "this control plane has no roots to verify SEV-SNP reports with")
          .with_hint("let the operator set TB_CP_SNP_ROOTS");
    }
  } else if (kind == "token") {
    const TokenPolicy parsed = TokenPolicy::parse(policy, trust.token.profiles);
    if (!trust.token.issuers.contains(parsed.issuer)) {
      throw Error("contract_invalid", "this control plane has no keys of the issuer that attestation_policy names")
          .with_hint("let the operator add it to TB_CP_TOKEN_ISSUERS");
    }
  }
}

Verdict verify_evidence(std::string_view kind, const Json& evidence, const Json& policy, const Digest& request,
                        const Trust& trust, UnixMs now) {
  if (kind == "snp") return verify_snp(evidence, policy, request, trust.snp, now);
  if (kind == "token") return verify_token(evidence, policy, request, trust.token, now);
  return refuse("attestation_kind", "ask the provider for a contract whose attestation this control plane can verify");
}

}  // namespace tb::attest
