// doctor's findings about the TPM, by the same calls as an attested start makes: what they say is what a sentinel that
// runs as this user will get, and what its provider puts into a contract.
#include <fmt/format.h>

#include "attest/crypto_keys.h"
#include "cli/doctor.h"
#include "tpm/tpm.h"

namespace tb::cli {
namespace {

constexpr std::int64_t kTimeoutMs = 20'000;

}  // namespace

std::vector<Finding> examine_tpm(const std::string& tcti) {
  try {
    tpm::Tpm tpm({.tcti = tcti, .timeout_ms = kTimeoutMs});
    const auto keys = tpm.endorsement_key();
    const auto ek = value_or_throw(attest::key_sha256(value_or_throw(attest::parse_public(keys.ek_public))));
    std::vector<Finding> out;
    out.push_back({"tpm", Health::kOk, "usable for attestation", ""});
    out.push_back({"tpm_ek_sha256", Health::kOk, ek, ""});
    out.push_back({"tpm_ek_certificate", Health::kOk, keys.ek_certificate.empty() ? "none" : "in the TPM", ""});
    for (const auto& [bank, members] : tpm.read_pcrs({{"sha256", {0, 1, 2, 3, 4, 5, 6, 7}}})) {
      for (const auto& [index, value] : members) {
        out.push_back({fmt::format("tpm_pcr_{}_{}", bank, index), Health::kOk, value, ""});
      }
    }
    return out;
  } catch (const Error& error) {
    return {{"tpm", Health::kWarning, error.story(), error.hint()}};
  }
}

}  // namespace tb::cli
