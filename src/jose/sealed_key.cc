// Our strict header reading around the cryptography of libjose: nothing is opened before the header is as expected.
#include "jose/sealed_key.h"

extern "C" {
#include <jose/jwe.h>
}

#include <array>
#include <cstdlib>

#include "jose/jansson_json.h"

namespace tb::jose {
namespace {

constexpr std::string_view kAlg = "ECDH-ES+A256KW";
constexpr std::string_view kEnc = "A256GCM";

[[noreturn]] void refuse(const std::string& why) {
  throw Error("jwe_refused", why);
}

std::array<std::string_view, 5> parts_of(std::string_view compact) {
  if (compact.size() > kMaxJweBytes) refuse("the JWE is too long");
  std::array<std::string_view, 5> parts;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::size_t dot = compact.find('.');
    if ((dot == std::string_view::npos) != (i + 1 == parts.size())) refuse("a compact JWE has five parts");
    parts[i] = compact.substr(0, dot);
    compact.remove_prefix(dot == std::string_view::npos ? compact.size() : dot + 1);
    if (!from_base64url(parts[i])) refuse("a part of the JWE is not base64url");
  }
  return parts;
}

Json header_of(std::string_view part) {
  const Bytes bytes = value_or_throw(from_base64url(part));
  auto header = Json::parse(as_text(bytes), {.bytes = kMaxJweBytes, .depth = 4});
  if (!header || !header->is_object()) refuse("the protected header of the JWE is not a strict JSON object");
  return std::move(*header);
}

bool is_text(const Json& header, std::string_view name, std::string_view expected) {
  const Json* value = header.find(name);
  return value != nullptr && value->is_string() && value->as_string() == expected;
}

void check_header(const Json& header, const std::string& thumbprint, const Json::Object& expected) {
  if (!is_text(header, "alg", kAlg)) refuse("alg of the JWE must be ECDH-ES+A256KW");
  if (!is_text(header, "enc", kEnc)) refuse("enc of the JWE must be A256GCM");
  for (const auto* name : {"zip", "crit", "b64"}) {
    if (header.find(name) != nullptr) refuse(std::string("the JWE carries ") + name);
  }
  if (!is_text(header, "kid", thumbprint)) refuse("kid of the JWE names another key");
  const Json* epk = header.find("epk");
  if (epk == nullptr) refuse("the JWE lacks epk");
  try {
    PublicKey::from_jwk(*epk);
  } catch (const Error& error) {
    throw Error("jwe_refused", "epk of the JWE is not usable", error);
  }
  for (const auto& [name, value] : expected) {
    const Json* found = header.find(name);
    if (found == nullptr) refuse("the protected header of the JWE lacks " + name);
    if (found->dump() != value.dump()) refuse(name + " in the protected header of the JWE is not what was asked for");
  }
}

Jansson private_jwk(const PrivateKey& key) {
  Json jwk = key.public_key().to_jwk();
  jwk.set("d", to_base64url(key.scalar().reveal()));
  return to_jansson(jwk);
}

}  // namespace

std::string seal_key(const PublicKey& recipient, const Json::Object& members, const FileKey& key) {
  Json header = Json::object();
  header.set("alg", kAlg);
  header.set("enc", kEnc);
  header.set("kid", recipient.thumbprint());
  for (const auto& [name, value] : members) {
    if (header.find(name) != nullptr || name == "epk") throw Error("internal", "a JWE header member is given twice");
    header.set(name, value);
  }
  Json request = Json::object();
  request.set("protected", header);
  const Jansson jwe = to_jansson(request);
  const Jansson recipient_part(json_object());
  const Jansson jwk = to_jansson(recipient.to_jwk());
  const Jansson content_key(json_object());
  if (!jose_jwe_enc_jwk(nullptr, jwe.get(), recipient_part.get(), jwk.get(), content_key.get())) {
    throw Error("internal", "libjose could not wrap a content key");
  }
  // Compact form has one header: what libjose put beside the recipient (epk) moves into the protected one.
  if (json_object_get(jwe.get(), "encrypted_key") == nullptr) {
    json_object_set(jwe.get(), "encrypted_key", json_object_get(recipient_part.get(), "encrypted_key"));
  }
  Jansson merged(jose_jwe_hdr(jwe.get(), recipient_part.get()));
  if (!merged || json_object_set_new(jwe.get(), "protected", merged.release()) != 0) {
    throw Error("internal", "libjose could not build the JWE header");
  }
  json_object_del(jwe.get(), "header");
  json_object_del(jwe.get(), "unprotected");
  if (!jose_jwe_enc_cek(nullptr, jwe.get(), content_key.get(), key.reveal().data(), key.reveal().size())) {
    throw Error("internal", "libjose could not seal a key");
  }
  std::string compact;
  for (const auto* name : {"protected", "encrypted_key", "iv", "ciphertext", "tag"}) {
    if (!compact.empty()) compact += '.';
    compact += text_member(jwe.get(), name);
  }
  return compact;
}

Json peek_header(std::string_view compact) {
  return header_of(parts_of(compact)[0]);
}

FileKey open_key(const PrivateKey& key, std::string_view compact, const Json::Object& expected) {
  const auto parts = parts_of(compact);
  check_header(header_of(parts[0]), key.public_key().thumbprint(), expected);
  Json flat = Json::object();
  constexpr std::array<std::string_view, 5> names = {"protected", "encrypted_key", "iv", "ciphertext", "tag"};
  for (std::size_t i = 0; i < names.size(); ++i) flat.set(names[i], parts[i]);
  const Jansson jwe = to_jansson(flat);
  const Jansson jwk = private_jwk(key);
  std::size_t plain_bytes = 0;
  void* plain = jose_jwe_dec(nullptr, jwe.get(), nullptr, jwk.get(), &plain_bytes);
  if (plain == nullptr) refuse("the JWE does not open under this key");
  std::optional<FileKey> out;
  if (plain_bytes == 32) {
    out.emplace(std::span<const std::uint8_t, 32>(static_cast<const std::uint8_t*>(plain), 32));
  }
  wipe(plain, plain_bytes);
  std::free(plain);
  if (!out) refuse("the JWE does not hold a key of 32 bytes");
  return std::move(*out);
}

}  // namespace tb::jose
