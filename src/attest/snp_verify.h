// An SEV-SNP report held against AMD's roots, the request that it is for, and the contract.
#pragma once

#include <array>

#include "attest/binding.h"
#include "attest/snp_certificate.h"
#include "attest/snp_policy.h"

namespace tb::attest {

/// What a sentinel sends for `attestation: snp` (docs/spec/wire.md 1.1).
struct SnpEvidence {
  Bytes report;
  Bytes leaf;          ///< VCEK or VLEK, DER
  Bytes intermediate;  ///< ASK or ASVK, DER

  /// Strict: `type` snp, `report`, `leaf`, `intermediate` in base64; "evidence_form".
  static Checked<SnpEvidence> parse(const Json& json);
};

using SnpReportData = std::array<std::uint8_t, 64>;
/// A digest and zeros.
SnpReportData snp_report_data(const Digest& digest);

struct VerifiedReport {
  SnpReport report;
  SnpProduct product = SnpProduct::kMilan;
};

/// Chain, endorsement and signature: the report is AMD's word on `report_data`. Nothing of a contract is asked.
Checked<VerifiedReport> verify_snp_report(const SnpEvidence& evidence, const SnpReportData& report_data,
                                          const SnpTrust& trust, UnixMs now);

/// The same, bound to the request and held against the contract. `policy` was validated when the contract was made.
Verdict verify_snp(const Json& evidence, const Json& policy, const Binding& binding, const SnpTrust& trust, UnixMs now);

}  // namespace tb::attest
