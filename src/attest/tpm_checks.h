// The checks that a TPM and its quotes must pass, by stable id, with what must hold and how to mend it.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "attest/verdict.h"

namespace tb::attest {

struct TpmCheck {
  std::string_view id;
  std::string_view what;  ///< what must hold, one clause
  std::string_view mend;  ///< what the consumer can do, one clause
};

/// All checks, in the order in which they are made; docs/attestation.md lists them.
std::span<const TpmCheck> tpm_checks();

/// A check of the table that did not hold; without a fact, what it asks for is said to be missing.
std::unexpected<FailedCheck> failed(std::string_view check, std::string fact, Json expected = {}, Json seen = {});

}  // namespace tb::attest
