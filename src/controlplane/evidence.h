// Evidence of an authorize request against what the contract asks: the part of the decision that reads the store.
// attest/ judges the evidence itself; one outcome for every kind of it.
#pragma once

#include <optional>
#include <string>

#include "api/authorize.h"
#include "attest/verdict.h"
#include "controlplane/deps.h"

namespace tb::controlplane {

struct EvidenceOutcome {
  bool needed = true;            ///< false: a renewal for which the contract wants none
  bool attested = false;         ///< it verified, for this request, now
  bool machine_approved = true;  ///< `tpm`: its endorsement key is listed in the contract or approved
  bool clock_kept = false;       ///< `tpm`: this request's quote has moved the clock of its machine
  std::string ek_sha256;         ///< `tpm`: of the machine that it is of; empty if that is not known
  std::optional<attest::FailedCheck> failed;
  Json facts;  ///< what was verified; null: nothing to say

  /// Into the provider's event: what was verified, and of a failed check all of it.
  void write_to(Json& event_detail) const;
};

/// `thumbprint` is of the one-time key, or empty. `nonce_valid`: whether the request's nonce was ours and unused;
/// nothing if none came, and then evidence proves nothing about now ("evidence_fresh"). `before` is the outcome of the
/// same request under the contract as it was a moment ago, or empty: a TPM's clock goes on once for a request, and is
/// kept as soon as its quote has verified, whatever is decided then: that it went so far is true anyway.
EvidenceOutcome weigh_evidence(const api::AuthorizeRequest& request, const std::string& thumbprint,
                               std::optional<bool> nonce_valid, const api::Contract& contract, UnixMs now,
                               const EvidenceOutcome& before, Deps& deps);

/// False where a renewal may do without: no key is asked for and the contract's policy does not want it fresh.
bool evidence_needed(bool is_renewal, bool has_one_time_key, const api::ContractTerms& terms);

/// A request as its repetition has it, too: without nonce and evidence, which are made anew for each. A renewal whose
/// answer was lost would look like a clone's otherwise.
std::string repeatable_form(const std::string& body);

}  // namespace tb::controlplane
