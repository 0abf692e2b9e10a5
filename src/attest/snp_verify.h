// An SEV-SNP report held against AMD's roots, the request that it is for, and the contract.
#pragma once

#include <array>

#include "attest/snp_certificate.h"
#include "attest/snp_policy.h"
#include "base/crypto.h"

namespace tb::attest {

/// What a sentinel sends for `attestation: snp` (docs/spec/wire.md 1.1).
struct SnpEvidence {
  Bytes report;
  Bytes leaf;          ///< VCEK or VLEK, DER
  Bytes intermediate;  ///< ASK or ASVK, DER

  /// Strict: `type` snp, `report`, `leaf`, `intermediate` in base64url; `config_sha256`, which
  /// is in the digest of the request, may stand beside them. Refused by "evidence_form".
  static Verified<SnpEvidence> parse(const Json& json);
  Json to_json() const;
};

using SnpReportData = std::array<std::uint8_t, 64>;
/// A digest and zeros.
SnpReportData snp_report_data(const Digest& digest);

struct VerifiedReport {
  SnpReport report;
  SnpProduct product = SnpProduct::kMilan;
};

/// Chain, endorsement and signature: the report is AMD's word on `report_data`. Nothing of a contract is asked.
Verified<VerifiedReport> verify_snp_report(const SnpEvidence& evidence, const SnpReportData& report_data,
                                           const SnpTrust& trust, UnixMs now);

/// What a provider's event tells of a machine, and what a provider puts into a policy.
Json snp_facts(const SnpReport& report, SnpProduct product);

/// The same, bound to the request and held against the contract. `request` is the evidence digest of wire 1.1, over
/// nonce, one-time key and the rest; `policy` was validated when the contract was made.
Verdict verify_snp(const Json& evidence, const Json& policy, const Digest& request, const SnpTrust& trust, UnixMs now);

}  // namespace tb::attest
