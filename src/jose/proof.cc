// The form is checked by our strict reader, the signature by libjose, and nothing of a proof counts before both.
#include "jose/proof.h"

extern "C" {
#include <jose/jws.h>
}

#include <algorithm>
#include <array>

#include "base/crypto.h"
#include "jose/jansson_json.h"

namespace tb::jose {
namespace {

constexpr std::string_view kAlg = "ES256";
constexpr std::string_view kTyp = "dpop+jwt";
constexpr std::size_t kSignatureBytes = 64;

[[noreturn]] void refuse(const std::string& why) {
  throw Error("proof_refused", "the proof of the sentinel's key is refused: " + why);
}

struct Parts {
  std::string_view header, payload, signature;
};

Parts parts_of(std::string_view compact) {
  if (compact.size() > kMaxProofBytes) refuse("it is too long");
  const std::size_t first = compact.find('.');
  const std::size_t last = compact.rfind('.');
  if (first == std::string_view::npos || first == last ||
      compact.substr(first + 1, last - first - 1).find('.') != std::string_view::npos) {
    refuse("a compact JWS has three parts");
  }
  return {compact.substr(0, first), compact.substr(first + 1, last - first - 1), compact.substr(last + 1)};
}

Json object_in(std::string_view part, const char* what) {
  const auto bytes = from_base64url(part);
  if (!bytes) refuse(std::string(what) + " is not base64url");
  auto json = Json::parse(as_text(*bytes), {.bytes = kMaxProofBytes, .depth = 4});
  if (!json || !json->is_object()) refuse(std::string(what) + " is not a strict JSON object");
  return std::move(*json);
}

std::string text_in(const Json& object, std::string_view name) {
  const Json* value = object.find(name);
  if (value == nullptr || !value->is_string()) refuse(std::string(name) + " is missing or no text");
  return value->as_string();
}

PublicKey key_in(const Json& header) {
  if (text_in(header, "alg") != kAlg) refuse("alg must be ES256");
  if (text_in(header, "typ") != kTyp) refuse("typ must be dpop+jwt");
  if (header.find("crit") != nullptr || header.find("b64") != nullptr) refuse("it carries crit or b64");
  const Json* jwk = header.find("jwk");
  if (jwk == nullptr) refuse("jwk is missing");
  try {
    return PublicKey::from_jwk(*jwk);
  } catch (const Error& error) {
    refuse(error.message);
  }
}

bool signature_fits(const PublicKey& key, const Parts& parts) {
  Json jws = Json::object();
  jws.set("payload", parts.payload);
  jws.set("protected", parts.header);
  jws.set("signature", parts.signature);
  return jose_jws_ver(nullptr, to_jansson(jws).get(), nullptr, to_jansson(key.to_jwk()).get(), false);
}

std::string token_hash(std::string_view token) {
  return to_base64url(sha256(token));
}

bool is_token_text(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

void check_token(const Json& claims, std::string_view token) {
  const Json* ath = claims.find("ath");
  if (token.empty()) {
    if (ath != nullptr) refuse("ath names a token that did not come");
    return;
  }
  if (!equal_constant_time(text_in(claims, "ath"), token_hash(token))) refuse("ath is not of the token that came");
}

std::string_view without_query(std::string_view url) {
  return url.substr(0, url.find_first_of("?#"));
}

}  // namespace

std::string comparable_url(std::string_view url) {
  url = without_query(url);
  const std::size_t scheme_end = url.find("://");
  if (scheme_end == std::string_view::npos) return std::string(url);
  const std::size_t path_begin = std::min(url.find('/', scheme_end + 3), url.size());
  const auto lower = [](std::string_view text) {
    std::string out(text);
    std::ranges::transform(out, out.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
    return out;
  };
  const std::string scheme = lower(url.substr(0, scheme_end));
  std::string authority = lower(url.substr(scheme_end + 3, path_begin - scheme_end - 3));
  const std::string_view own_port = scheme == "https" ? ":443" : ":80";
  while (authority.ends_with(own_port)) authority.resize(authority.size() - own_port.size());
  for (const std::string_view name : {"localhost", "[::1]"}) {
    const bool is_host = authority == name || authority.starts_with(std::string(name) + ":");
    if (is_host) authority.replace(0, name.size(), "127.0.0.1");
  }
  const std::string_view path = url.substr(path_begin);
  return scheme + "://" + authority + std::string(path.empty() ? "/" : path);
}

std::string sign_proof(const PrivateKey& key, const ProofClaims& claims) {
  wipe_jansson_memory();
  Json header = Json::object();
  header.set("alg", kAlg);
  header.set("jwk", key.public_key().to_jwk());
  header.set("typ", kTyp);
  Json payload = Json::object();
  payload.set("jti", claims.jti);
  payload.set("htm", claims.method);
  payload.set("htu", without_query(claims.url));
  payload.set("iat", claims.issued_at_seconds);
  if (!claims.token.empty()) payload.set("ath", token_hash(claims.token));

  // As text and encoded here: what is signed is what is sent, byte for byte.
  const std::string head = to_base64url(as_bytes(header.dump()));
  const std::string body = to_base64url(as_bytes(payload.dump()));
  const Jansson jws(json_pack("{s:s}", "payload", body.c_str()));
  const Jansson signature(json_pack("{s:s}", "protected", head.c_str()));
  const Jansson jwk = to_jansson(key.public_key().to_jwk());
  const SecretString scalar(to_base64url(key.scalar().reveal()));
  if (!jws || !signature || json_object_set_new(jwk.get(), "d", json_string(scalar.reveal().c_str())) != 0 ||
      !jose_jws_sig(nullptr, jws.get(), signature.get(), jwk.get())) {
    throw Error("internal", "libjose could not sign");
  }
  return head + "." + body + "." + text_member(jws.get(), "signature");
}

Proof verify_proof(std::string_view compact, const ProofExpectation& expected) {
  const Parts parts = parts_of(compact);
  const PublicKey key = key_in(object_in(parts.header, "its header"));
  const Json claims = object_in(parts.payload, "its payload");
  const auto signature = from_base64url(parts.signature);
  if (!signature || signature->size() != kSignatureBytes) refuse("the signature has not 64 bytes");
  if (!signature_fits(key, parts)) refuse("the signature does not verify");

  Proof out{.key = key, .jti = text_in(claims, "jti"), .issued_at_seconds = 0};
  const bool good_jti = out.jti.size() >= 16 && out.jti.size() <= 64 && std::ranges::all_of(out.jti, is_token_text);
  if (!good_jti) refuse("jti must be 16 to 64 characters of base64url");
  if (text_in(claims, "htm") != expected.method) refuse("htm is not the method of the request");
  if (comparable_url(text_in(claims, "htu")) != comparable_url(expected.url)) {
    refuse("htu is not " + std::string(expected.url));
  }
  check_token(claims, expected.bearer_token);
  const Json* issued_at = claims.find("iat");
  if (issued_at == nullptr || !issued_at->is_integer()) refuse("iat is missing or no whole number");
  out.issued_at_seconds = issued_at->as_integer();
  if (out.issued_at_seconds < expected.now_seconds - kProofWindowSeconds ||
      out.issued_at_seconds > expected.now_seconds + kProofWindowSeconds) {
    throw Error("proof_stale", "iat of the proof lies too far from this service's clock");
  }
  return out;
}

}  // namespace tb::jose
