// Cheap checks first, so that garbage costs no signature check; a claim is only believed once the signature is good.
#include "sentinel/user_token.h"

#include <algorithm>
#include <array>

#include "base/error.h"

namespace tb::sentinel {
namespace {

constexpr std::int64_t kLastSecond = 253402300799;  // 9999-12-31T23:59:59Z
constexpr std::size_t kMaxSubjectBytes = 255;

using Fault = std::unexpected<TokenFault>;

const std::string* text_of(const Json& json, std::string_view name) {
  const Json* value = json.find(name);
  return value != nullptr && value->is_string() ? &value->as_string() : nullptr;
}

bool is_one_of(const Json* list, std::string_view wanted) {
  return list != nullptr && list->is_array() && std::ranges::any_of(list->as_array(), [wanted](const Json& item) {
           return item.is_string() && item.as_string() == wanted;
         });
}

bool has_word(std::string_view words, std::string_view wanted) {
  while (!words.empty()) {
    const std::size_t end = std::min(words.find(' '), words.size());
    if (words.substr(0, end) == wanted) return true;
    words.remove_prefix(std::min(end + 1, words.size()));
  }
  return false;
}

bool has_scope(const Json& claims, std::string_view wanted) {
  for (const char* name : {"scope", "scp"}) {
    if (const std::string* words = text_of(claims, name); words != nullptr && has_word(*words, wanted)) return true;
    if (is_one_of(claims.find(name), wanted)) return true;
  }
  return false;
}

/// RFC 7519 4.1.3: a text, or a list of texts.
bool is_for(const Json& claims, std::string_view audience) {
  const std::string* one = text_of(claims, "aud");
  return one != nullptr ? *one == audience : is_one_of(claims.find("aud"), audience);
}

/// A NumericDate in whole seconds.
std::optional<UnixMs> time_of(const Json& claims, std::string_view name) {
  const Json* value = claims.find(name);
  if (value == nullptr || !value->is_integer()) return std::nullopt;
  const std::int64_t seconds = value->as_integer();
  if (seconds < 0 || seconds > kLastSecond) return std::nullopt;
  return seconds * 1000;
}

std::optional<TokenFault> header_fault(const Json& header) {
  constexpr std::array<std::string_view, 4> kAlgorithms = {"RS256", "PS256", "ES256", "EdDSA"};
  const std::string* alg = text_of(header, "alg");
  if (alg == nullptr || std::ranges::find(kAlgorithms, *alg) == kAlgorithms.end()) return TokenFault::kAlgorithm;
  for (const char* name : {"crit", "b64", "zip", "enc"}) {
    if (header.find(name) != nullptr) return TokenFault::kMalformed;
  }
  if (const Json* type = header.find("typ")) {
    constexpr std::array<std::string_view, 4> kTypes = {"JWT", "jwt", "at+jwt", "application/at+jwt"};
    if (!type->is_string() || std::ranges::find(kTypes, type->as_string()) == kTypes.end()) return TokenFault::kType;
  }
  return std::nullopt;
}

std::optional<TokenFault> time_fault(const Json& claims, UnixMs now) {
  const auto expires = time_of(claims, "exp");
  if (!expires || *expires + kClockSkewMs <= now) return TokenFault::kTime;
  for (const char* name : {"nbf", "iat"}) {
    if (claims.find(name) == nullptr) continue;
    const auto from = time_of(claims, name);
    if (!from || *from > now + kClockSkewMs) return TokenFault::kTime;
  }
  return std::nullopt;
}

bool is_subject(std::string_view text) {
  return !text.empty() && text.size() <= kMaxSubjectBytes &&
         std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f && c != '"' && c != '\\'; });
}

}  // namespace

std::string_view fault_name(TokenFault fault) {
  constexpr std::array<std::string_view, 12> kNames = {"malformed", "algorithm",   "type",      "issuer",
                                                       "audience",  "time",        "subject",   "scope",
                                                       "limits",    "unknown_key", "signature", "busy"};
  return kNames[static_cast<std::size_t>(fault)];
}

std::expected<TokenUser, TokenFault> check_user_token(std::string_view compact, const TokenRules& rules,
                                                      const jose::VerifyKeySet& keys, UnixMs now,
                                                      const std::function<bool()>& may_verify) {
  if (compact.size() > kMaxUserTokenBytes) return Fault(TokenFault::kMalformed);
  jose::CompactToken token;
  try {
    token = jose::parse_compact(compact);
  } catch (const Error&) {
    return Fault(TokenFault::kMalformed);
  }
  if (const auto fault = header_fault(token.header)) return Fault(*fault);
  const auto claims = Json::parse(token.payload, {.bytes = kMaxUserTokenBytes, .depth = 8});
  if (!claims || !claims->is_object()) return Fault(TokenFault::kMalformed);
  const std::string* issuer = text_of(*claims, "iss");
  if (issuer == nullptr || *issuer != rules.issuer) return Fault(TokenFault::kIssuer);
  if (!is_for(*claims, rules.audience)) return Fault(TokenFault::kAudience);
  if (const auto fault = time_fault(*claims, now)) return Fault(*fault);
  const std::string* subject = text_of(*claims, "sub");
  if (subject == nullptr || !is_subject(*subject)) return Fault(TokenFault::kSubject);
  if (!rules.scope.empty() && !has_scope(*claims, rules.scope)) return Fault(TokenFault::kScope);
  TokenUser out{.subject = *subject, .limits = {}, .expires = *time_of(*claims, "exp") + kClockSkewMs};
  if (const Json* limits = claims->find("trustbridge_limits")) {
    try {
      out.limits = key_limits_from_json(*limits);
    } catch (const Error&) {
      return Fault(TokenFault::kLimits);
    }
  }
  const std::string* kid = text_of(token.header, "kid");
  const jose::VerifyKey* key = kid == nullptr ? nullptr : keys.find(*kid);
  if (key == nullptr) return Fault(TokenFault::kUnknownKey);
  const std::string& alg = *text_of(token.header, "alg");
  if (!key->is_for(alg)) return Fault(TokenFault::kAlgorithm);
  if (!may_verify()) return Fault(TokenFault::kBusy);
  if (!key->verifies(alg, as_bytes(token.signing_input), token.signature)) return Fault(TokenFault::kSignature);
  return out;
}

}  // namespace tb::sentinel
