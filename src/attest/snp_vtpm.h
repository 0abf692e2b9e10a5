// Where a paravisor stands between the firmware and the guest, the guest cannot ask for a report over its own bytes:
// the report covers *runtime data* instead, a JSON object of the paravisor that holds the public key of the virtual
// TPM's attestation key. That key then signs what is fresh (a quote over the nonce).
#pragma once

#include <string_view>

#include "attest/snp_verify.h"
#include "jose/rs256.h"

namespace tb::attest {

inline constexpr std::size_t kMaxRuntimeDataBytes = 32768;

/// The RSA key named `kid` in runtime data (`keys` of a JWK set). Nothing is verified here. Refused by
/// "snp_runtime_data".
Verified<jose::RsaPublicKey> ak_of_runtime_data(std::string_view runtime_data, std::string_view kid);

/// The attestation key that a genuine report vouches for: chain, signature, report_data = SHA-256(runtime data) and
/// zeros
/// ("snp_binding"), and `policy` as for a bare report. The report is as old as the machine's start: only a quote by
/// this key over the nonce says anything about now.
Verified<jose::RsaPublicKey> vouched_ak(const SnpEvidence& evidence, std::string_view runtime_data,
                                        std::string_view kid, const SnpPolicy& policy, const SnpTrust& trust,
                                        UnixMs now);

}  // namespace tb::attest
