// What a verifier says of evidence: claims, or the one check that it failed.
//
// A failed check keeps apart what its readers may see: the consumer is told the check, its machine's own fact and how
// to mend it; what was expected is the contract's, and goes to the provider's event only, with what was seen.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

#include "base/json.h"

namespace tb::attest {

struct FailedCheck {
  std::string_view id;  ///< stable: stands in events, in denials and in docs/attestation.md and attestation-policies.md
  std::string fact;     ///< the machine's own, one clause: never what was expected; may be empty
  std::string mend;     ///< what the consumer can do, one clause
  Json expected;        ///< for the provider's event; null: nothing to say
  Json seen;

  /// One sentence for the consumer: check, fact, how to mend it.
  std::string detail() const;
  /// `check`, `expected` and `seen`, into the provider's event.
  void write_to(Json& event_detail) const;
};

struct Claims {
  Json facts = Json::object();  ///< what was verified, for the event of the release
  std::string token_id;         ///< `jti` of a token, for the record; empty for other evidence
};

template <typename T = void>
using Verified = std::expected<T, FailedCheck>;
using Verdict = Verified<Claims>;

inline std::unexpected<FailedCheck> refuse(std::string_view id, std::string mend) {
  return std::unexpected(FailedCheck{.id = id, .fact = {}, .mend = std::move(mend), .expected = {}, .seen = {}});
}
/// A refusal over a fact of the machine itself.
inline std::unexpected<FailedCheck> refuse(std::string_view id, std::string mend, std::string expected,
                                           std::string seen) {
  return std::unexpected(FailedCheck{.id = id,
                                     .fact = "it showed " + seen,
                                     .mend = std::move(mend),
                                     .expected = std::move(expected),
                                     .seen = std::move(seen)});
}

}  // namespace tb::attest
