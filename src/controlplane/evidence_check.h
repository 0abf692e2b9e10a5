// From an authorize request to a verdict on its evidence, for the kinds that need no enrolment.
#pragma once

#include <optional>
#include <string>

#include "api/authorize.h"
#include "api/contract.h"
#include "attest/verify_evidence.h"

namespace tb::controlplane {

struct EvidenceVerdict {
  std::optional<attest::Check> failed;  ///< the check that did not hold
  std::optional<Json> facts;            ///< what was verified

  /// For the consumer: how to mend it, and what was seen where that is the machine's own fact.
  std::string detail() const;
  /// Into the provider's event: all of it.
  void write_to(Json& event_detail) const;
};

/// `thumbprint` of the one-time key, "" without one. `nonce_valid`: the request's nonce was taken just now; without one
/// evidence proves nothing about now and is refused ("evidence_fresh").
EvidenceVerdict check_evidence(const api::ContractTerms& terms, const api::AuthorizeRequest& request,
                               const std::string& thumbprint, bool nonce_valid, const attest::Trust& trust, UnixMs now);

}  // namespace tb::controlplane
