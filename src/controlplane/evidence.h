// Evidence of an authorize request against what the contract asks and the store knows: the part of the decision that
// reads the store. attest/ judges the evidence itself.
#pragma once

#include <optional>
#include <string>

#include "api/authorize.h"
#include "attest/checks.h"
#include "controlplane/deps.h"

namespace tb::controlplane {

struct EvidenceOutcome {
  bool attested = false;          ///< it verified, for this request, now
  bool machine_approved = false;  ///< its endorsement key is listed in the contract or approved
  std::string ek_sha256;          ///< of the machine that it is of; empty if that is not known
  std::optional<attest::Failure> failure;
};

/// Nothing if the contract wants no TPM or no evidence came. `thumbprint` is of the one-time key, or empty. The TPM's
/// clock is kept as soon as the evidence has verified, whatever is decided then: that it went so far is true anyway.
std::optional<EvidenceOutcome> look_at_evidence(const api::AuthorizeRequest& request, const std::string& thumbprint,
                                                const api::Contract& contract, UnixMs now, Deps& deps);

/// False where a renewal may do without: no key is asked for and the contract's policy does not want it fresh.
bool evidence_needed(bool is_renewal, bool has_one_time_key, const api::ContractTerms& terms);

/// A request as its repetition has it, too: without nonce and evidence, which are made anew for each. A renewal whose
/// answer was lost would look like a clone's otherwise.
std::string repeatable_form(const std::string& body);

/// What the provider's event is told: check, expected, seen.
void describe(const attest::Failure& failure, Json& detail);

}  // namespace tb::controlplane
