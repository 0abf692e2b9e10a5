// What a verifier says of evidence: claims, or the one check that it failed.
//
// A failed check keeps three things apart, because three readers see them: `mend` is for the consumer, who must learn
// what to change; `expected` is the contract's and goes to the provider's event only; `seen` goes there too, and to the
// sentinel only where it is the machine's own fact, which it knows anyway.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

#include "base/clock.h"
#include "base/json.h"

namespace tb::attest {

struct Check {
  std::string_view id;  ///< stable: stands in events, in denials and in docs/attestation-policies.md
  std::string mend;     ///< one sentence without what the contract expects
  std::string expected;
  std::string seen;
  bool seen_is_own_fact = false;
};

struct Claims {
  Json facts = Json::object();  ///< what was verified, for the event of the release
  std::string token_id;         ///< `jti` of a token, for the record; empty for other evidence
  UnixMs token_expires_at = 0;  ///< until then the store remembers token_id
};

template <typename T>
using Verified = std::expected<T, Check>;
using Verdict = Verified<Claims>;

inline std::unexpected<Check> refuse(std::string_view id, std::string mend) {
  return std::unexpected(Check{.id = id, .mend = std::move(mend)});
}
/// A refusal over a fact of the machine itself.
inline std::unexpected<Check> refuse(std::string_view id, std::string mend, std::string expected, std::string seen) {
  return std::unexpected(Check{.id = id,
                               .mend = std::move(mend),
                               .expected = std::move(expected),
                               .seen = std::move(seen),
                               .seen_is_own_fact = true});
}

}  // namespace tb::attest
