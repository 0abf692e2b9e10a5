// The signature is checked before anything in the statement is read.
#include "jose/statement.h"

namespace tb::jose {
namespace {

[[noreturn]] void refuse(const std::string& why) {
  throw Error("jws_refused", why);
}

bool is_text(const Json& header, std::string_view name, std::string_view expected) {
  const Json* value = header.find(name);
  return value != nullptr && value->is_string() && value->as_string() == expected;
}

}  // namespace

std::string sign(const Ed25519PrivateKey& key, std::string_view typ, std::string_view payload) {
  Json header = Json::object();
  header.set("alg", "EdDSA");
  header.set("kid", to_base64url(sha256(key.public_key())));
  header.set("typ", typ);
  std::string text = to_base64url(as_bytes(header.dump())) + "." + to_base64url(as_bytes(payload));
  const Ed25519Signature signature = key.sign(as_bytes(text));
  return text + "." + to_base64url(signature);
}

std::string verify(const Ed25519PublicKey& key, std::string_view typ, std::string_view compact) {
  if (compact.size() > kMaxJwsBytes) refuse("the JWS is too long");
  const std::size_t first = compact.find('.');
  const std::size_t last = compact.rfind('.');
  if (first == std::string_view::npos || first == last ||
      compact.substr(first + 1, last - first - 1).find('.') != std::string_view::npos) {
    refuse("a compact JWS has three parts");
  }
  const auto header_bytes = from_base64url(compact.substr(0, first));
  const auto payload = from_base64url(compact.substr(first + 1, last - first - 1));
  const auto signature = from_base64url(compact.substr(last + 1));
  if (!header_bytes || !payload || !signature) refuse("a part of the JWS is not base64url");
  if (!ed25519_verify(key, as_bytes(compact.substr(0, last)), *signature)) {
    refuse("the signature of the JWS does not verify under the pinned key");
  }
  const auto header = Json::parse(as_text(*header_bytes), {.bytes = 4096, .depth = 4});
  if (!header || !header->is_object()) refuse("the header of the JWS is not a strict JSON object");
  if (!is_text(*header, "alg", "EdDSA")) refuse("alg of the JWS must be EdDSA");
  if (!is_text(*header, "typ", typ)) refuse("typ of the JWS must be " + std::string(typ));
  if (header->find("crit") != nullptr || header->find("b64") != nullptr) refuse("the JWS carries crit or b64");
  return std::string(as_text(*payload));
}

}  // namespace tb::jose
