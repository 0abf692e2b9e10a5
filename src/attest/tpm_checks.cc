#include "attest/tpm_checks.h"

#include <algorithm>
#include <array>
#include <cstdlib>

namespace tb::attest {
namespace {

constexpr std::string_view kEnrolAgain =
    "enrol again with a sentinel of ours: remove the directory tpm of TB_STATE_DIR";
constexpr std::string_view kAskAgain = "let the sentinel ask again; if it stays, something changes requests on the way";

constexpr auto kChecks = std::to_array<TpmCheck>({
    {"evidence_form", "the evidence is of the form of wire 1.1", "use a sentinel of this version"},
    {"ek_template", "the endorsement key is of the TCG's RSA 2048 or P-256 template",
     "use a TPM 2.0 with the default endorsement key"},
    {"ek_certificate", "the endorsement key's certificate leads to a pinned root",
     "ask the provider to list this TPM's EK hash, or to pin its maker's root"},
    {"ak_attributes", "the attestation key can sign only what the TPM made, and never leaves it", kEnrolAgain},
    {"ak_scheme", "the attestation key signs by RSASSA, RSAPSS or ECDSA with SHA-256 or better", kEnrolAgain},
    {"credential", "the TPM that holds the endorsement key also holds the attestation key",
     "enrol on the machine whose TPM made the keys, and in time"},
    {"ak_enrolled", "the attestation key was enrolled for this contract", "let the sentinel enrol: restart it"},
    {"signature_scheme", "the quote is signed by the key's own scheme with SHA-256 or better", kEnrolAgain},
    {"signature", "the quote is signed by the enrolled key",
     "was the state directory copied from another machine? start with an empty one and enrol"},
    {"quote_magic", "the quote was made inside of a TPM", kEnrolAgain},
    {"quote_type", "what was signed is a quote", kAskAgain},
    {"quote_form", "the quote is well-formed", "update the TPM's firmware"},
    {"qualified_signer", "the key that signed hangs below the endorsement key", kEnrolAgain},
    {"nonce", "the quote is about this very request: nonce, one-time key, contract, asset, lease and settings",
     kAskAgain},
    {"clock_safe", "the TPM's clock was kept by an orderly shutdown", "wait until the TPM's clock is safe again"},
    {"clock_monotonic", "the TPM's counters and clock do not go back",
     "was the TPM cleared or set back to a snapshot? ask the provider to reset this machine, and enrol again"},
    {"firmware", "the TPM's firmware is one that the contract accepts", "update the TPM's firmware"},
    {"pcr_bank", "the quote covers PCRs of SHA-256 or better only", "use a sentinel of this version"},
    {"pcr_selection", "the quote covers every PCR that the contract names",
     "does the TPM have the bank? enable SHA-256 PCRs in the firmware's setup"},
    {"pcr_digest", "the quoted digest is that of the PCR values that came with it", kAskAgain},
    {"pcr_values", "the PCRs have values that the contract lists",
     "boot what the provider approved, or send the provider the values of trustbridge-sentinel --print-evidence"},
    {"config_sha256", "the sentinel's settings are ones that the contract lists",
     "use the settings that the provider approved, or send the new hash of trustbridge-sentinel --print-evidence"},
});

}  // namespace

std::span<const TpmCheck> tpm_checks() {
  return kChecks;
}

std::unexpected<FailedCheck> failed(std::string_view check, std::string fact, Json expected, Json seen) {
  const auto row = std::ranges::find(kChecks, check, &TpmCheck::id);
  if (row == kChecks.end()) std::abort();
  if (fact.empty()) fact = std::string(row->what) + " did not hold";
  return std::unexpected(FailedCheck{.id = row->id,
                                     .fact = std::move(fact),
                                     .mend = std::string(row->mend),
                                     .expected = std::move(expected),
                                     .seen = std::move(seen)});
}

}  // namespace tb::attest
