// Tokens of users (JWT, RFC 7519; RFC 8725 for what goes wrong with them) against the key set of one configured issuer.
// Pure. Nothing of a token chooses how it is verified: the algorithm follows from the key, the key from its `kid` in
// our set, issuer and audience from the settings.
#pragma once

#include <expected>
#include <functional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "jose/verify_key.h"
#include "sentinel/api_keys.h"

namespace tb::sentinel {

struct TokenRules {
  std::string issuer;    ///< `iss`, exactly
  std::string audience;  ///< `aud`, or one of its members
  std::string scope;     ///< a word of `scope`, or of `scp`; empty: none is asked for
};

struct TokenUser {
  std::string subject;  ///< `sub`
  KeyLimits limits;     ///< claim `trustbridge_limits`, an object with the names of KeyLimits
  UnixMs expires = 0;   ///< `exp` and the skew: not to be used from then on
};

/// Why a token is not taken. For tests, logs and metrics: clients are told no reason.
enum class TokenFault {
  kMalformed,
  kAlgorithm,  ///< none of ours, or not the key's
  kType,       ///< a token of another kind
  kIssuer,
  kAudience,
  kTime,
  kSubject,
  kScope,
  kLimits,
  kUnknownKey,
  kSignature,
  kBusy,  ///< not looked at: see may_verify
};
std::string_view fault_name(TokenFault fault);

/// Between two clocks.
inline constexpr std::int64_t kClockSkewMs = 60'000;
/// Of tokens that are read at all: they come in a header field.
inline constexpr std::size_t kMaxUserTokenBytes = 8192;

/// `may_verify` is asked once, right before the one thing that is expensive; false: kBusy.
std::expected<TokenUser, TokenFault> check_user_token(std::string_view compact, const TokenRules& rules,
                                                      const jose::VerifyKeySet& keys, UnixMs now,
                                                      const std::function<bool()>& may_verify);

}  // namespace tb::sentinel
