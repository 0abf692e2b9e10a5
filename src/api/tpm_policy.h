// `attestation_policy` of a contract with `attestation: tpm` (docs/spec/wire.md 1.3): the state that a machine must be
// in. Read strictly when the contract is made, so that a value that could never be met, or one that proves nothing, is
// refused then and not on the day of the first start.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace tb::api {

/// PCR indices by bank ("sha256").
using PcrIndices = std::map<std::string, std::set<unsigned>, std::less<>>;

/// Most PCRs of a TPM, TCG PC Client Platform.
inline constexpr unsigned kPcrCount = 24;
/// Bytes of a PCR of this bank; 0 for a bank that is not used (SHA-1 among them).
std::size_t pcr_bytes(std::string_view bank);

struct TpmPolicy {
  using Values = std::vector<std::string>;                              ///< lower hex: any one of them
  std::map<std::string, std::map<unsigned, Values>, std::less<>> pcrs;  ///< bank → index → values
  std::vector<std::string> ek_sha256;        ///< endorsement keys that need no approval: SHA-256 of the SPKI, lower hex
  std::vector<std::string> ek_roots;         ///< PEM: an EK that is not listed must chain to one; empty: no demand
  std::vector<std::string> config_sha256;    ///< any one of them; empty: no demand
  std::vector<std::uint64_t> firmware_deny;  ///< TPM firmware versions that are not accepted
  std::uint64_t firmware_min = 0;
  bool fresh_at_renewal = true;     ///< evidence at every renewal, too
  bool require_safe_clock = false;  ///< refuse until the clock is known not to have been reported higher before

  /// Throws "contract_invalid" naming the member: unknown ones, SHA-1, PCRs 16 and 23 (anybody may reset them), values
  /// that are no digest of their bank.
  static TpmPolicy from_json(const Json& json);
  /// What a quote must select: the PCRs of the policy, or PCR 0 to 7 where it names none (shown to the provider).
  PcrIndices selection() const;
};

Json to_json(const PcrIndices& indices);
/// Throws "field_invalid".
PcrIndices pcr_indices_from_json(const Json& json);

}  // namespace tb::api
