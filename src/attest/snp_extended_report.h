// What the firmware and the host give to a guest that asks for a report: the answer of SNP_GET_EXT_REPORT (AMD 56860
// MSG_REPORT_RSP; certificate table: AMD 56421, SNP Extended Guest Request).
//
// The certificates are the host's word and prove nothing before the control plane has verified them; which is which is
// told by their own names, not by the table's identifiers. A host may give none, or not all: others can be at hand.
#pragma once

#include <span>

#include "attest/snp_certificate.h"
#include "attest/snp_verify.h"
#include "base/result.h"

namespace tb::attest {

/// `response` and `table` as the device gave them, with what follows them in their buffers; `at_hand` is looked at
/// where the table lacks a certificate. "evidence_malformed": the firmware refused, a length does not fit, or no certificate
/// of the key that signed, or of its issuer, is there.
Result<SnpEvidence> read_extended_report(ByteView response, ByteView table, std::span<const Certificate> at_hand);

}  // namespace tb::attest
