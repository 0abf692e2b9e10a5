// Keys are made by libjose; that a point is on the curve and a scalar fits it is checked with OpenSSL.
#include "jose/p256.h"

extern "C" {
#include <jose/jwk.h>
}
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/obj_mac.h>

#include <memory>

#include "base/crypto.h"
#include "jose/jansson_json.h"

namespace tb::jose {
namespace {

template <auto Free>
struct Freer {
  template <typename T>
  void operator()(T* p) const {
    Free(p);
  }
};
using Group = std::unique_ptr<EC_GROUP, Freer<EC_GROUP_free>>;
using Point = std::unique_ptr<EC_POINT, Freer<EC_POINT_free>>;
using Number = std::unique_ptr<BIGNUM, Freer<BN_clear_free>>;

[[noreturn]] void refuse(const std::string& why) {
  throw Error("jwk_refused", why);
}

Number number(ByteView bytes) {
  return Number(BN_bin2bn(bytes.data(), static_cast<int>(bytes.size()), nullptr));
}

/// The point, or nothing if the coordinates are not on the curve (OpenSSL checks it on setting them).
Point point_on(const EC_GROUP* group, ByteView x, ByteView y) {
  Point point(EC_POINT_new(group));
  if (!point || EC_POINT_set_affine_coordinates(group, point.get(), number(x).get(), number(y).get(), nullptr) != 1) {
    return nullptr;
  }
  return point;
}

Group p256() {
  Group group(EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1));
  if (!group) throw Error("internal", "openssl has no P-256");
  return group;
}

std::string member(const Json& jwk, std::string_view name) {
  const Json* value = jwk.find(name);
  if (value == nullptr || !value->is_string()) refuse("the JWK lacks " + std::string(name));
  return value->as_string();
}

Bytes coordinate(const Json& jwk, std::string_view name) {
  auto bytes = from_base64url(member(jwk, name));
  if (!bytes || bytes->size() != 32) refuse(std::string(name) + " of the JWK is not 32 bytes in base64url");
  return std::move(*bytes);
}

}  // namespace

PublicKey PublicKey::from_point(ByteView x, ByteView y) {
  if (x.size() != 32 || y.size() != 32) refuse("a P-256 coordinate has 32 bytes");
  const Group group = p256();
  if (!point_on(group.get(), x, y)) refuse("the point of the JWK is not on P-256");
  PublicKey key;
  std::copy(x.begin(), x.end(), key.x_.begin());
  std::copy(y.begin(), y.end(), key.y_.begin());
  return key;
}

PublicKey PublicKey::from_jwk(const Json& jwk) {
  if (!jwk.is_object()) refuse("a JWK is an object");
  if (member(jwk, "kty") != "EC") refuse("kty of the JWK must be EC");
  if (member(jwk, "crv") != "P-256") refuse("crv of the JWK must be P-256");
  if (jwk.find("d") != nullptr) refuse("the JWK carries a private key");
  return from_point(coordinate(jwk, "x"), coordinate(jwk, "y"));
}

Json PublicKey::to_jwk() const {
  Json jwk = Json::object();
  jwk.set("crv", "P-256");
  jwk.set("kty", "EC");
  jwk.set("x", to_base64url(x_));
  jwk.set("y", to_base64url(y_));
  return jwk;
}

std::string PublicKey::thumbprint() const {
  // RFC 7638 3.2: the required members in the order of their names, which is the order of to_jwk.
  return to_base64url(sha256(to_jwk().dump()));
}

PrivateKey PrivateKey::generate() {
  wipe_jansson_memory();
  const Jansson jwk(json_pack("{s:s,s:s}", "kty", "EC", "crv", "P-256"));
  if (!jwk || !jose_jwk_gen(nullptr, jwk.get())) throw Error("internal", "libjose could not make a key");
  const auto bytes = [&](const char* name) {
    const SecretString text(text_member(jwk.get(), name));
    auto value = from_base64url(text.reveal());
    if (!value || value->size() != 32) throw Error("internal", "libjose made a key of another size");
    return std::move(*value);
  };
  Bytes scalar = bytes("d");
  Secret<32> secret(std::span<const std::uint8_t, 32>(scalar.data(), 32));
  wipe(scalar.data(), scalar.size());
  return {PublicKey::from_point(bytes("x"), bytes("y")), std::move(secret)};
}

PrivateKey PrivateKey::from_scalar(const PublicKey& public_key, Secret<32> scalar) {
  const Group group = p256();
  const Point expected = point_on(group.get(), public_key.x_, public_key.y_);
  const Point derived(EC_POINT_new(group.get()));
  const Number d = number(scalar.reveal());
  if (!expected || !derived || BN_is_zero(d.get()) ||
      EC_POINT_mul(group.get(), derived.get(), d.get(), nullptr, nullptr, nullptr) != 1 ||
      EC_POINT_cmp(group.get(), derived.get(), expected.get(), nullptr) != 0) {
    refuse("the private key does not belong to its public key");
  }
  return {public_key, std::move(scalar)};
}

}  // namespace tb::jose
