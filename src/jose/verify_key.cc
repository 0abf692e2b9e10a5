#include "jose/verify_key.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>

#include <algorithm>
#include <array>

namespace tb::jose {
namespace {

template <auto Release>
struct Freer {
  template <typename T>
  void operator()(T* p) const {
    Release(p);
  }
};
using Number = std::unique_ptr<BIGNUM, Freer<BN_free>>;
using Params = std::unique_ptr<OSSL_PARAM, Freer<OSSL_PARAM_free>>;
using ParamBuilder = std::unique_ptr<OSSL_PARAM_BLD, Freer<OSSL_PARAM_BLD_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, Freer<EVP_PKEY_CTX_free>>;
using Digester = std::unique_ptr<EVP_MD_CTX, Freer<EVP_MD_CTX_free>>;
using EcdsaSignature = std::unique_ptr<ECDSA_SIG, Freer<ECDSA_SIG_free>>;

constexpr std::size_t kMaxKeys = 256;
constexpr std::size_t kMaxRsaBytes = 512;
constexpr std::size_t kCurveBytes = 32;

[[noreturn]] void refuse(const std::string& why) {
  throw Error("jwk_refused", why);
}

std::string text_of(const Json& jwk, std::string_view name) {
  const Json* value = jwk.find(name);
  if (value == nullptr) return {};
  if (!value->is_string()) refuse(std::string(name) + " of a key is no text");
  return value->as_string();
}

Bytes bytes_of(const Json& jwk, std::string_view name) {
  auto bytes = from_base64url(text_of(jwk, name));
  if (!bytes || bytes->empty()) refuse(std::string(name) + " of a key is missing or not base64url");
  return std::move(*bytes);
}

std::shared_ptr<void> shared(EVP_PKEY* key) {
  ERR_clear_error();
  if (key == nullptr) return nullptr;
  return {key, [](void* p) { EVP_PKEY_free(static_cast<EVP_PKEY*>(p)); }};
}

EVP_PKEY* key_from(const char* type, const ParamBuilder& builder) {
  const Params params(OSSL_PARAM_BLD_to_param(builder.get()));
  const KeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr));
  EVP_PKEY* key = nullptr;
  const bool made = params && context && EVP_PKEY_fromdata_init(context.get()) == 1 &&
                    EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, params.get()) == 1;
  return made ? key : nullptr;
}

std::shared_ptr<void> rsa_key(const RsaPublicKey& key) {
  const Number n(BN_bin2bn(key.modulus().data(), static_cast<int>(key.modulus().size()), nullptr));
  const Number e(BN_bin2bn(key.exponent().data(), static_cast<int>(key.exponent().size()), nullptr));
  const ParamBuilder builder(OSSL_PARAM_BLD_new());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, n.get());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, e.get());
  return shared(key_from("RSA", builder));
}

std::shared_ptr<void> p256_key(ByteView x, ByteView y) {
  if (x.size() != kCurveBytes || y.size() != kCurveBytes) return nullptr;
  std::array<std::uint8_t, 1 + 2 * kCurveBytes> point{4};
  std::ranges::copy(x, point.begin() + 1);
  std::ranges::copy(y, point.begin() + 1 + kCurveBytes);
  const ParamBuilder builder(OSSL_PARAM_BLD_new());
  OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0);
  OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size());
  return shared(key_from("EC", builder));  // null for a point that is not on the curve
}

/// RFC 7518 3.4 has r and s side by side; OpenSSL wants them in DER. Empty where they have not the curve's size.
Bytes der_of(ByteView signature) {
  if (signature.size() != 2 * kCurveBytes) return {};
  const EcdsaSignature pair(ECDSA_SIG_new());
  ECDSA_SIG_set0(pair.get(), BN_bin2bn(signature.data(), kCurveBytes, nullptr),
                 BN_bin2bn(signature.data() + kCurveBytes, kCurveBytes, nullptr));
  unsigned char* der = nullptr;
  const int bytes = i2d_ECDSA_SIG(pair.get(), &der);
  Bytes out(der, der + std::max(bytes, 0));
  OPENSSL_free(der);
  return out;
}

bool names(const Json& list, std::string_view wanted) {
  return list.is_array() && std::ranges::any_of(list.as_array(), [wanted](const Json& item) {
           return item.is_string() && item.as_string() == wanted;
         });
}

/// What the set says that the key is for. What else is in the set is none of our business.
bool is_for_us(const Json& jwk) {
  if (!jwk.is_object()) return false;
  const auto is = [&jwk](std::string_view name, std::initializer_list<std::string_view> expected) {
    const Json* value = jwk.find(name);
    return value == nullptr ||
           (value->is_string() && std::ranges::find(expected, std::string_view(value->as_string())) != expected.end());
  };
  if (!is("use", {"sig"})) return false;
  if (const Json* uses = jwk.find("key_ops"); uses != nullptr && !names(*uses, "verify")) return false;
  const Json* kty = jwk.find("kty");
  if (kty == nullptr || !kty->is_string()) return false;
  if (kty->as_string() == "RSA") return is("alg", {"RS256", "PS256"});
  if (kty->as_string() == "EC") return jwk.find("crv") != nullptr && is("crv", {"P-256"}) && is("alg", {"ES256"});
  return kty->as_string() == "OKP" && jwk.find("crv") != nullptr && is("crv", {"Ed25519"}) && is("alg", {"EdDSA"});
}

}  // namespace

VerifyKey VerifyKey::from_jwk(const Json& jwk) {
  if (!is_for_us(jwk)) refuse("a key must be for signatures by RS256, PS256, ES256 or EdDSA");
  for (const char* name : {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}) {
    if (jwk.find(name) != nullptr) refuse("the set of keys holds a private key");
  }
  VerifyKey out;
  out.alg_ = text_of(jwk, "alg");
  const std::string kty = text_of(jwk, "kty");
  if (kty == "RSA") {
    const RsaPublicKey numbers = RsaPublicKey::from_numbers(bytes_of(jwk, "n"), bytes_of(jwk, "e"));
    out.rsa_bytes_ = numbers.modulus().size();
    if (out.rsa_bytes_ > kMaxRsaBytes) refuse("an RSA key for tokens has at most 4096 bits");
    out.key_ = rsa_key(numbers);
  } else if (kty == "EC") {
    out.kind_ = Kind::kP256;
    out.key_ = p256_key(bytes_of(jwk, "x"), bytes_of(jwk, "y"));
  } else {
    out.kind_ = Kind::kEd25519;
    const Bytes x = bytes_of(jwk, "x");
    if (x.size() == kCurveBytes) {
      out.key_ = shared(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, x.data(), x.size()));
    }
  }
  if (!out.key_) refuse("a key is no sound key of its kind");
  return out;
}

bool VerifyKey::is_for(std::string_view alg) const {
  if (!alg_.empty() && alg != alg_) return false;
  switch (kind_) {
    case Kind::kRsa:
      return alg == "RS256" || alg == "PS256";
    case Kind::kP256:
      return alg == "ES256";
    case Kind::kEd25519:
      return alg == "EdDSA";
  }
  return false;
}

bool VerifyKey::verifies(std::string_view alg, ByteView message, ByteView signature) const {
  if (!is_for(alg)) return false;
  if (kind_ == Kind::kRsa && signature.size() != rsa_bytes_) return false;  // RFC 8017 8.1.2 and 8.2.2, step 1
  const Bytes der = kind_ == Kind::kP256 ? der_of(signature) : Bytes();
  if (kind_ == Kind::kP256) {
    if (der.empty()) return false;
    signature = der;
  }
  const Digester digester(EVP_MD_CTX_new());
  EVP_PKEY_CTX* options = nullptr;
  const EVP_MD* md = kind_ == Kind::kEd25519 ? nullptr : EVP_sha256();
  bool ok =
      digester && EVP_DigestVerifyInit(digester.get(), &options, md, nullptr, static_cast<EVP_PKEY*>(key_.get())) == 1;
  if (ok && alg == "PS256") {
    ok = EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING) == 1 &&
         EVP_PKEY_CTX_set_rsa_pss_saltlen(options, RSA_PSS_SALTLEN_DIGEST) == 1;
  }
  ok = ok && EVP_DigestVerify(digester.get(), signature.data(), signature.size(), message.data(), message.size()) == 1;
  ERR_clear_error();
  return ok;
}

VerifyKeySet VerifyKeySet::parse(std::string_view text) {
  const auto json = Json::parse(text, {.bytes = kMaxKeySetBytes, .depth = 8});
  if (!json) throw Error("jwk_refused", "the set of keys is not strict JSON", json.error());
  const Json* keys = json->find("keys");
  if (keys == nullptr || !keys->is_array() || keys->as_array().size() > kMaxKeys) {
    refuse("a JWK set is an object with a list `keys`");
  }
  VerifyKeySet out;
  for (const Json& jwk : keys->as_array()) {
    if (!is_for_us(jwk)) continue;
    const std::string kid = text_of(jwk, "kid");
    if (kid.empty() || kid.size() > 256) refuse("a key of the set has no kid");
    if (!out.keys_.emplace(kid, VerifyKey::from_jwk(jwk)).second) refuse("the set names one kid twice");
  }
  if (out.keys_.empty()) refuse("the set has no key for signatures by RS256, PS256, ES256 or EdDSA");
  return out;
}

const VerifyKey* VerifyKeySet::find(std::string_view kid) const {
  const auto found = keys_.find(kid);
  return found == keys_.end() ? nullptr : &found->second;
}

}  // namespace tb::jose
