// Signature first: of an unverified token only `alg` and `kid` are read.
#include "attest/token.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attest/policy_reader.h"
#include "jose/rs256.h"

namespace tb::attest {
namespace {

constexpr std::size_t kMaxRules = 64;
constexpr std::size_t kMaxTokenIdBytes = 256;
constexpr std::int64_t kLastSecond = 253402300799;  // 9999-12-31T23:59:59Z

std::unexpected<FailedCheck> bad_form(std::string why) {
  return refuse("token_form", "send the attestation token as its service gave it: " + std::move(why));
}

const std::string* text_of(const Json& json, std::string_view name) {
  const Json* value = json.find(name);
  return value != nullptr && value->is_string() ? &value->as_string() : nullptr;
}

Verified<std::string> token_of(const Json& evidence) {
  const auto wrong = [](std::string why) {
    return refuse("evidence_form", "send evidence of the kind that the contract asks for: " + std::move(why));
  };
  if (!evidence.is_object()) return wrong("it must be an object");
  if (const auto known = JsonReader(evidence, "attestation").only({"type", "token", "config_sha256"}); !known) {
    return wrong(known.error().message);
  }
  const std::string* type = text_of(evidence, "type");
  const std::string* token = text_of(evidence, "token");
  if (type == nullptr || *type != "token") return wrong("its type must be token");
  if (token == nullptr) return wrong("token is missing");
  return *token;
}

Verified<jose::CompactToken> parsed(std::string_view compact) {
  try {
    return jose::parse_compact(compact);
  } catch (const Error& error) {
    return bad_form(error.message);
  }
}

Verified<void> check_header(const Json& header) {
  const std::string* alg = text_of(header, "alg");
  if (alg == nullptr || *alg != "RS256") {
    return refuse("token_algorithm", "send a token that is signed by RS256", "RS256",
                  alg == nullptr ? "missing" : alg->substr(0, 32));
  }
  if (header.find("crit") != nullptr || header.find("b64") != nullptr)
    return bad_form("its header carries crit or b64");
  return {};
}

/// A NumericDate (RFC 7519 2) in milliseconds, whole seconds only.
Verified<UnixMs> time_of(const Json& claims, std::string_view name) {
  const Json* value = claims.find(name);
  if (value == nullptr || !value->is_integer() || value->as_integer() < 0 || value->as_integer() > kLastSecond) {
    return refuse("token_time", fmt::format("send a token with its {} in whole seconds", name));
  }
  return value->as_integer() * 1000;
}

Verified<> check_times(const Json& claims, UnixMs now) {
  const UnixMs expires = TRY(time_of(claims, "exp"));
  if (now >= expires + kTokenSkewMs) {
    return refuse("token_time", "fetch a new token, and check the clocks: it has expired", to_rfc3339(now),
                  to_rfc3339(expires));
  }
  if (expires > now + kTokenLifeMs) {
    return refuse("token_time", "send a token that ends within a day", to_rfc3339(now + kTokenLifeMs),
                  to_rfc3339(expires));
  }
  for (const char* name : {"nbf", "iat"}) {
    if (claims.find(name) == nullptr) continue;
    const UnixMs from = TRY(time_of(claims, name));
    if (from > now + kTokenSkewMs) {
      return refuse("token_time", "check the clocks: the token is of the future", to_rfc3339(now), to_rfc3339(from));
    }
  }
  return {};
}

bool is_digest(std::string_view text, const Digest& request) {
  const std::string expected = to_hex(request);
  if (text == expected) return true;
  const auto inner = from_base64(text);
  return inner && as_text(*inner) == expected;
}

}  // namespace

TokenPolicy TokenPolicy::parse(const Json& json, const TokenProfiles& profiles) {
  const PolicyReader reader(json, "attestation_policy");
  reader.only({"issuer", "profile", "options", "binding", "claims"});
  TokenPolicy out;
  out.issuer = reader.text("issuer", 512);
  if (!out.issuer.starts_with("https://")) reader.refuse("issuer", "must be an https address");
  if (reader.has("profile")) {
    const auto profile = profiles.find(reader.text("profile", 64));
    if (profile == profiles.end()) reader.refuse("profile", "is not known to this control plane");
    if (reader.has("binding")) reader.refuse("binding", "is the profile's: leave it out");
    out.binding = profile->second.binding;
    out.rules = profile->second.rules(reader.object("options"));
  } else {
    if (reader.has("options")) reader.refuse("options", "needs a profile");
    out.binding = reader.texts("binding", 128);
    if (out.binding.empty() || out.binding.size() > kMaxClaimDepth) {
      reader.refuse("binding",
                    fmt::format("must be a list of 1 to {} names where there is no profile", kMaxClaimDepth));
    }
  }
  if (const Json* claims = json.find("claims")) {
    if (!claims->is_array() || claims->as_array().empty() || claims->as_array().size() > kMaxRules) {
      reader.refuse("claims", fmt::format("must be a list of 1 to {} rules", kMaxRules));
    }
    for (std::size_t i = 0; i < claims->as_array().size(); ++i) {
      out.rules.push_back(ClaimRule::parse(claims->as_array()[i], fmt::format("attestation_policy.claims[{}]", i)));
    }
  }
  if (out.rules.empty()) reader.refuse("claims", "is missing: without a profile, say which claims must hold");
  return out;
}

void validate_token_policy(const Json& json, const TokenProfiles& profiles) {
  (void)TokenPolicy::parse(json, profiles);
}

Verdict check_token_claims(std::string_view payload, const TokenPolicy& policy, const Digest& request, UnixMs now) {
  const auto claims = Json::parse(payload, {.bytes = jose::kMaxTokenBytes, .depth = 12});
  if (!claims || !claims->is_object()) return bad_form("its claims are not a strict JSON object");
  const std::string* issuer = text_of(*claims, "iss");
  if (issuer == nullptr || *issuer != policy.issuer) {
    return refuse("token_issuer", "fetch the token from the service that the contract names", policy.issuer,
                  issuer == nullptr ? "missing" : issuer->substr(0, 512));
  }
  Claims out;
  TRY(check_times(*claims, now));
  const std::string* id = text_of(*claims, "jti");
  if (id == nullptr || id->empty() || id->size() > kMaxTokenIdBytes) {
    return refuse("token_id", "send a token that has an id of its own (jti)");
  }
  out.token_id = *id;
  const Json* binding = claim_at(*claims, policy.binding);
  if (binding == nullptr || !binding->is_string() || !is_digest(binding->as_string(), request)) {
    return refuse("token_binding", "fetch a new token, and give its service the digest of this request",
                  to_hex(request), binding == nullptr ? "missing" : binding->dump().substr(0, 256));
  }
  out.facts.set("type", "token");
  out.facts.set("issuer", policy.issuer);
  out.facts.set("jti", out.token_id);
  for (const ClaimRule& rule : policy.rules) {
    TRY(check_claim(rule, *claims));
    out.facts.set(fmt::format("{}", fmt::join(rule.path, ".")), *claim_at(*claims, rule.path));
  }
  return out;
}

Verdict verify_token(const Json& evidence, const Json& policy, const Digest& request, const TokenTrust& trust,
                     UnixMs now) {
  const TokenPolicy rules = TokenPolicy::parse(policy, trust.profiles);
  const std::string compact = TRY(token_of(evidence));
  const jose::CompactToken token = TRY(parsed(compact));
  TRY(check_header(token.header));
  const auto issuer = trust.issuers.find(rules.issuer);
  if (issuer == trust.issuers.end()) {
    return refuse("token_issuer_unknown",
                  "ask the operator to configure the keys of the issuer that the contract names");
  }
  const std::string* kid = text_of(token.header, "kid");
  const auto key = kid == nullptr ? std::nullopt : issuer->second->find(*kid, now);
  if (!key)
    return refuse("token_key", "fetch the token from the service that the contract names: its key is another one");
  if (!key->verifies(as_bytes(token.signing_input), token.signature)) {
    return refuse("token_signature", "send the token as its service signed it");
  }
  return check_token_claims(token.payload, rules, request, now);
}

}  // namespace tb::attest
