// What must hold of a machine's two TPM keys before they are bound to each other by a credential.
#pragma once

#include "api/evidence.h"
#include "attest/tpm_checks.h"
#include "attest/tpm_wire.h"
#include "base/clock.h"

namespace tb::attest {

/// Restricted, signing, made in and fixed to one TPM, with a strong scheme: `ak_attributes`, `ak_scheme`.
Verified<> check_attestation_key(const Public& ak);

struct EnrolledKeys {
  Public ek, ak;
  std::string ek_sha256;  ///< lower-hex SHA-256 of the endorsement key's SPKI
  std::string ak_name;    ///< lower hex
};

/// Template of the endorsement key; its certificate, where the policy pins roots and does not list the key; the
/// attestation key. That both are of one TPM is proved later, by the credential.
Verified<EnrolledKeys> check_enrolment(const api::EnrolRequest& request, const api::TpmPolicy& policy, UnixMs now);

}  // namespace tb::attest
