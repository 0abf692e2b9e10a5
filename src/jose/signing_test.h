// Keys of an issuer for tests: made here, with the public half as a JWK, signing compact tokens by any algorithm.
#pragma once

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rsa.h>

#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/json.h"

namespace tb::jose::testing_keys {

struct KeyFree {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using Key = std::unique_ptr<EVP_PKEY, KeyFree>;

inline Key make_rsa(unsigned bits = 2048) {
  return Key(EVP_RSA_gen(bits));
}
inline Key make_p256() {
  return Key(EVP_EC_gen("P-256"));
}
inline Key make_ed25519() {
  return Key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
}

inline std::string number_of(const EVP_PKEY* key, const char* name, int bytes = 0) {
  BIGNUM* value = nullptr;
  EVP_PKEY_get_bn_param(key, name, &value);
  Bytes out(static_cast<std::size_t>(bytes > 0 ? bytes : BN_num_bytes(value)));
  BN_bn2binpad(value, out.data(), static_cast<int>(out.size()));
  BN_free(value);
  return to_base64url(out);
}

/// The public half, without kid.
inline Json jwk_of(const EVP_PKEY* key) {
  Json out = Json::object();
  if (EVP_PKEY_is_a(key, "RSA") == 1) {
    out.set("kty", "RSA");
    out.set("n", number_of(key, OSSL_PKEY_PARAM_RSA_N));
    out.set("e", number_of(key, OSSL_PKEY_PARAM_RSA_E));
  } else if (EVP_PKEY_is_a(key, "EC") == 1) {
    out.set("kty", "EC");
    out.set("crv", "P-256");
    out.set("x", number_of(key, OSSL_PKEY_PARAM_EC_PUB_X, 32));
    out.set("y", number_of(key, OSSL_PKEY_PARAM_EC_PUB_Y, 32));
  } else {
    Bytes raw(32);
    std::size_t bytes = raw.size();
    EVP_PKEY_get_raw_public_key(key, raw.data(), &bytes);
    out.set("kty", "OKP");
    out.set("crv", "Ed25519");
    out.set("x", to_base64url(raw));
  }
  return out;
}

inline Bytes signed_by(EVP_PKEY* key, std::string_view alg, std::string_view message) {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  EVP_PKEY_CTX* options = nullptr;
  const bool ed = EVP_PKEY_is_a(key, "ED25519") == 1;
  EVP_DigestSignInit(context, &options, ed ? nullptr : EVP_sha256(), nullptr, key);
  if (alg.starts_with("PS")) {
    EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING);
    EVP_PKEY_CTX_set_rsa_pss_saltlen(options, alg == "PS256" ? 32 : 20);
  }
  std::size_t bytes = 1024;
  Bytes out(bytes);
  const auto text = as_bytes(message);
  EVP_DigestSign(context, out.data(), &bytes, text.data(), text.size());
  out.resize(bytes);
  EVP_MD_CTX_free(context);
  if (EVP_PKEY_is_a(key, "EC") == 1) {
    const unsigned char* at = out.data();
    ECDSA_SIG* pair = d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(out.size()));
    Bytes raw(64);
    BN_bn2binpad(ECDSA_SIG_get0_r(pair), raw.data(), 32);
    BN_bn2binpad(ECDSA_SIG_get0_s(pair), raw.data() + 32, 32);
    ECDSA_SIG_free(pair);
    return raw;
  }
  return out;
}

inline std::string compact(std::string_view header, std::string_view payload, EVP_PKEY* key, std::string_view alg) {
  const std::string input = to_base64url(as_bytes(header)) + "." + to_base64url(as_bytes(payload));
  return input + "." + to_base64url(signed_by(key, alg, input));
}

}  // namespace tb::jose::testing_keys
