// libjose would choose the algorithm by the token's header; here there is one, and the header is only compared with it.
#include "jose/rs256.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/x509.h>

#include <algorithm>

namespace tb::jose {
namespace {

template <auto Release>
struct Freer {
  template <typename T>
  void operator()(T* p) const {
    Release(p);
  }
};
using Certificate = std::unique_ptr<X509, Freer<X509_free>>;
using Number = std::unique_ptr<BIGNUM, Freer<BN_free>>;
using Params = std::unique_ptr<OSSL_PARAM, Freer<OSSL_PARAM_free>>;
using ParamBuilder = std::unique_ptr<OSSL_PARAM_BLD, Freer<OSSL_PARAM_BLD_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, Freer<EVP_PKEY_CTX_free>>;
using Key = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using Digester = std::unique_ptr<EVP_MD_CTX, Freer<EVP_MD_CTX_free>>;

constexpr std::size_t kMinModulusBytes = 256;
constexpr std::size_t kMaxModulusBytes = 1024;
constexpr std::size_t kMaxExponentBytes = 4;
constexpr std::size_t kMaxKeys = 256;

[[noreturn]] void refuse_key(const std::string& why) {
  throw Error("jwk_refused", why);
}
[[noreturn]] void refuse_token(const std::string& why) {
  throw Error("jws_refused", why);
}

Bytes without_zeros(ByteView bytes) {
  const auto first = std::ranges::find_if(bytes, [](std::uint8_t b) { return b != 0; });
  return Bytes(first, bytes.end());
}

Number number(ByteView bytes) {
  return Number(BN_bin2bn(bytes.data(), static_cast<int>(bytes.size()), nullptr));
}

Bytes bytes_of(const BIGNUM* value) {
  Bytes out(static_cast<std::size_t>(BN_num_bytes(value)));
  BN_bn2bin(value, out.data());
  return out;
}

Key openssl_key(ByteView n, ByteView e) {
  const Number big_n = number(n);
  const Number big_e = number(e);
  const ParamBuilder builder(OSSL_PARAM_BLD_new());
  if (!builder || OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, big_n.get()) != 1 ||
      OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, big_e.get()) != 1) {
    return nullptr;
  }
  const Params params(OSSL_PARAM_BLD_to_param(builder.get()));
  const KeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, "RSA", nullptr));
  EVP_PKEY* key = nullptr;
  if (!params || !context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, params.get()) != 1) {
    return nullptr;
  }
  return Key(key);
}

std::optional<std::string> text_of(const Json& jwk, std::string_view name) {
  const Json* value = jwk.find(name);
  if (value == nullptr) return {};
  if (!value->is_string()) refuse_key(std::string(name) + " of a key is no text");
  return value->as_string();
}

std::optional<Bytes> number_member(const Json& jwk, std::string_view name) {
  const auto text = text_of(jwk, name);
  if (!text) return {};
  auto bytes = from_base64url(*text);
  if (!bytes) refuse_key(std::string(name) + " of a key is not base64url");
  return std::move(*bytes);
}

std::optional<RsaPublicKey> certified_key(const Json& jwk) {
  const Json* chain = jwk.find("x5c");
  if (chain == nullptr) return {};
  if (!chain->is_array() || chain->as_array().empty() || !chain->as_array().front().is_string()) {
    refuse_key("x5c of a key is no list of certificates");
  }
  const auto der = from_base64(chain->as_array().front().as_string());
  if (!der) refuse_key("a certificate in x5c is not base64");
  const unsigned char* at = der->data();
  const Certificate certificate(d2i_X509(nullptr, &at, static_cast<long>(der->size())));
  const EVP_PKEY* key = certificate ? X509_get0_pubkey(certificate.get()) : nullptr;
  BIGNUM* n = nullptr;
  BIGNUM* e = nullptr;
  if (key != nullptr && EVP_PKEY_is_a(key, "RSA") == 1) {
    EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &n);
    EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &e);
  }
  const Number own_n(n);
  const Number own_e(e);
  ERR_clear_error();
  if (!own_n || !own_e) refuse_key("a certificate in x5c holds no RSA key");
  return RsaPublicKey::from_numbers(bytes_of(n), bytes_of(e));
}

/// A key that signs tokens by RS256, as far as the set says. What else is in the set is none of our business.
bool is_for_us(const Json& jwk) {
  const auto is = [&jwk](std::string_view name, std::string_view expected) {
    const Json* value = jwk.find(name);
    return value == nullptr || (value->is_string() && value->as_string() == expected);
  };
  return jwk.is_object() && jwk.find("kty") != nullptr && is("kty", "RSA") && is("use", "sig") && is("alg", "RS256");
}

}  // namespace

CompactToken parse_compact(std::string_view compact) {
  if (compact.size() > kMaxTokenBytes) refuse_token("the token is too long");
  const std::size_t first = compact.find('.');
  const std::size_t last = compact.rfind('.');
  if (first == std::string_view::npos || first == last || compact.find('.', first + 1) != last) {
    refuse_token("a token has three parts");
  }
  const auto header = from_base64url(compact.substr(0, first));
  const auto payload = from_base64url(compact.substr(first + 1, last - first - 1));
  auto signature = from_base64url(compact.substr(last + 1));
  if (!header || !payload || !signature) refuse_token("a part of the token is not base64url");
  auto json = Json::parse(as_text(*header), {.bytes = 8192, .depth = 4});
  if (!json || !json->is_object()) refuse_token("the header of the token is not a strict JSON object");
  return {.header = std::move(*json),
          .payload = std::string(as_text(*payload)),
          .signing_input = std::string(compact.substr(0, last)),
          .signature = std::move(*signature)};
}

RsaPublicKey RsaPublicKey::from_numbers(ByteView n, ByteView e) {
  RsaPublicKey key;
  key.n_ = without_zeros(n);
  key.e_ = without_zeros(e);
  if (key.n_.size() < kMinModulusBytes || key.n_.size() > kMaxModulusBytes || key.n_.front() < 0x80 ||
      (key.n_.back() & 1) == 0) {
    refuse_key("the modulus of an RSA key must be odd and have 2048 to 8192 bits");
  }
  if (key.e_.empty() || key.e_.size() > kMaxExponentBytes || (key.e_.back() & 1) == 0 || key.e_ == Bytes{1}) {
    refuse_key("the exponent of an RSA key must be odd, from 3 to 32 bits");
  }
  return key;
}

RsaPublicKey RsaPublicKey::from_jwk(const Json& jwk) {
  if (!is_for_us(jwk)) refuse_key("a key must be of kty RSA, for signatures by RS256");
  for (const char* name : {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}) {
    if (jwk.find(name) != nullptr) refuse_key("the set of keys holds a private key");
  }
  const auto n = number_member(jwk, "n");
  const auto e = number_member(jwk, "e");
  if (n.has_value() != e.has_value()) refuse_key("a key has one of n and e only");
  auto certified = certified_key(jwk);
  if (!n) {
    if (!certified) refuse_key("a key has neither n and e nor x5c");
    return std::move(*certified);
  }
  RsaPublicKey key = from_numbers(*n, *e);
  if (certified && !(*certified == key)) refuse_key("a key and its certificate in x5c do not agree");
  return key;
}

bool RsaPublicKey::verifies(ByteView message, ByteView signature) const {
  if (signature.size() != n_.size()) return false;  // RFC 8017 8.2.2, step 1
  const Key key = openssl_key(n_, e_);
  const Digester digester(EVP_MD_CTX_new());
  const bool ok =
      key && digester && EVP_DigestVerifyInit(digester.get(), nullptr, EVP_sha256(), nullptr, key.get()) == 1 &&
      EVP_DigestVerify(digester.get(), signature.data(), signature.size(), message.data(), message.size()) == 1;
  ERR_clear_error();
  return ok;
}

RsaKeySet RsaKeySet::parse(std::string_view text) {
  const auto json = Json::parse(text, {.bytes = kMaxKeySetBytes, .depth = 8});
  if (!json) throw Error("jwk_refused", "the set of keys is not strict JSON", json.error());
  const Json* keys = json->find("keys");
  if (keys == nullptr || !keys->is_array() || keys->as_array().size() > kMaxKeys) {
    refuse_key("a JWK set is an object with a list `keys`");
  }
  RsaKeySet out;
  for (const Json& jwk : keys->as_array()) {
    if (!is_for_us(jwk)) continue;
    const auto kid = text_of(jwk, "kid");
    if (!kid || kid->empty() || kid->size() > 256) refuse_key("a key of the set has no kid");
    if (!out.keys_.emplace(*kid, RsaPublicKey::from_jwk(jwk)).second) refuse_key("the set names one kid twice");
  }
  if (out.keys_.empty()) refuse_key("the set has no RSA key for signatures");
  return out;
}

const RsaPublicKey* RsaKeySet::find(std::string_view kid) const {
  const auto found = keys_.find(kid);
  return found == keys_.end() ? nullptr : &found->second;
}

}  // namespace tb::jose
