// The claims of Microsoft Azure Attestation (MAA) for a confidential virtual machine on AMD SEV-SNP, as rules. MAA has
// verified AMD's report and the virtual TPM's quote; a contract that uses this profile trusts it to.
#pragma once

#include <string_view>

#include "attest/token.h"

namespace tb::azure {

inline constexpr std::string_view kConfidentialVmProfile = "azure-cvm";

/// Options: docs/attestation-policies.md. What they leave out is the strict choice.
attest::TokenProfile confidential_vm_profile();

}  // namespace tb::azure
