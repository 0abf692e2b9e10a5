// Is this quote proof that the enrolled TPM, in a state that the contract accepts, asks for this very key? Pure: what
// is known comes in, the first check that does not hold comes out. Nothing unsigned is interpreted.
#pragma once

#include <optional>

#include "api/evidence.h"
#include "attest/tpm_checks.h"
#include "attest/tpm_wire.h"

namespace tb::attest {

/// What the verifier knows of machine and request.
struct QuoteQuestion {
  Public ek, ak;                      ///< as enrolled
  Digest qualifier;                   ///< api::EvidenceQuestion::qualifier()
  std::optional<api::TpmClock> last;  ///< of the newest evidence of this key
};

/// What the quote proved, for the record.
struct QuoteFacts {
  api::TpmClock clock;
  std::uint64_t firmware_version = 0;
};

Verified<QuoteFacts> check_quote(const api::TpmEvidence& evidence, const QuoteQuestion& question,
                                 const api::TpmPolicy& policy);

/// True if `next` is not before `last`: reset count, then restart count, then clock. A TPM that was cleared, or a
/// virtual one that was set back to a snapshot, goes back.
bool clock_goes_on(const api::TpmClock& last, const api::TpmClock& next);

}  // namespace tb::attest
