// The checks that evidence must pass, by stable id, and what is said when one does not hold: to the provider what was
// expected and seen, to the sentinel only its own facts and how to mend it.
#pragma once

#include <expected>
#include <span>
#include <string>
#include <string_view>

#include "base/json.h"

namespace tb::attest {

struct CheckInfo {
  std::string_view id;
  std::string_view what;  ///< what must hold, one clause
  std::string_view mend;  ///< what the consumer can do, one clause
};

/// All checks, in the order in which they are made; docs/attestation.md lists them.
std::span<const CheckInfo> check_table();

/// A check that did not hold.
struct Failure {
  std::string check;  ///< id of the table
  std::string fact;   ///< the sentinel's own fact, one clause: never what was expected
  Json expected;      ///< for the provider's events
  Json seen;          ///< for the provider's events

  /// One sentence for the sentinel: check, fact, how to mend it.
  std::string detail() const;
};

template <typename T = void>
using Checked = std::expected<T, Failure>;

inline std::unexpected<Failure> failed(std::string_view check, std::string fact, Json expected = {}, Json seen = {}) {
  return std::unexpected(Failure{std::string(check), std::move(fact), std::move(expected), std::move(seen)});
}

}  // namespace tb::attest
