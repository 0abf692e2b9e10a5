// Rules over the claims of a verified token: which claim, and which values. Pure; every issuer's own claims are written
// as such rules (a TokenProfile), and a contract may add some.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "attest/verdict.h"

namespace tb::attest {

inline constexpr std::size_t kMaxClaimDepth = 8;

struct ClaimRule {
  std::string_view id = "token_claim";  ///< of the check
  std::vector<std::string> path;        ///< names from the outside in
  std::vector<Json> one_of;             ///< texts, booleans, whole numbers; empty where at_least counts
  std::int64_t at_least = 0;
  std::string mend;

  /// {"path": ["a", "b"], "equals": value | "one_of": [values] | "at_least": number}. Throws "contract_invalid".
  static ClaimRule parse(const Json& json, const std::string& where);
};

/// The claim at `path`, or nullptr.
const Json* claim_at(const Json& claims, const std::vector<std::string>& path);

/// Texts compare byte by byte, numbers as numbers, and no type is turned into another.
Verified<void> check_claim(const ClaimRule& rule, const Json& claims);

}  // namespace tb::attest
