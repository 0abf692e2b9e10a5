#include "attest/crypto_keys.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "attest/openssl_free.h"
#include "base/crypto.h"

namespace tb::attest {
namespace {

const EVP_MD* md_of(std::uint16_t alg) {
  switch (alg) {
    case kAlgSha256:
      return EVP_sha256();
    case kAlgSha384:
      return EVP_sha384();
    case kAlgSha512:
      return EVP_sha512();
    default:
      return nullptr;
  }
}

BigNumber number(ByteView bytes) {
  return BigNumber(BN_bin2bn(bytes.data(), static_cast<int>(bytes.size()), nullptr));
}

Key key_from(const char* type, OSSL_PARAM_BLD* build) {
  const Params params(OSSL_PARAM_BLD_to_param(build));
  const KeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr));
  EVP_PKEY* key = nullptr;
  if (!params || !context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, params.get()) != 1) {
    return nullptr;
  }
  return Key(key);
}

Bytes padded(const Bytes& bytes, std::size_t to) {
  Bytes out(to - std::min(to, bytes.size()));
  out.insert(out.end(), bytes.begin(), bytes.end());
  return out;
}

/// nullptr for anything that is not a sound RSA key of 2048 to 4096 bits or a point on P-256.
Key openssl_key(const Public& key) {
  const ParamBuild build(OSSL_PARAM_BLD_new());
  if (key.type == kAlgRsa) {
    const bool sound = key.rsa_bits >= 2048 && key.rsa_bits <= 4096 && key.rsa_bits % 8 == 0 &&
                       key.modulus.size() == key.rsa_bits / 8U && key.modulus.front() >= 0x80 &&
                       (key.rsa_exponent == 0 || key.rsa_exponent == 65537);
    if (!sound) return nullptr;
    const BigNumber n = number(key.modulus);
    const BigNumber e(BN_new());
    BN_set_word(e.get(), 65537);
    OSSL_PARAM_BLD_push_BN(build.get(), OSSL_PKEY_PARAM_RSA_N, n.get());
    OSSL_PARAM_BLD_push_BN(build.get(), OSSL_PKEY_PARAM_RSA_E, e.get());
    return key_from("RSA", build.get());
  }
  if (key.curve != kCurveP256 || key.x.empty() || key.y.empty() || key.x.size() > 32 || key.y.size() > 32) {
    return nullptr;
  }
  Bytes point = {4};
  for (const Bytes* part : {&key.x, &key.y}) {
    const Bytes whole = padded(*part, 32);
    point.insert(point.end(), whole.begin(), whole.end());
  }
  OSSL_PARAM_BLD_push_utf8_string(build.get(), OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0);
  OSSL_PARAM_BLD_push_octet_string(build.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size());
  return key_from("EC", build.get());
}

/// RFC 3279 2.2.3, which is what OpenSSL verifies; empty if r or s is no number of the curve's size.
Bytes ecdsa_der(const Signature& signature) {
  if (signature.r.empty() || signature.s.empty() || signature.r.size() > 32 || signature.s.size() > 32) return {};
  const EcdsaSignature pair(ECDSA_SIG_new());
  ECDSA_SIG_set0(pair.get(), number(signature.r).release(), number(signature.s).release());
  unsigned char* der = nullptr;
  const int bytes = i2d_ECDSA_SIG(pair.get(), &der);
  Bytes out(der, der + std::max(bytes, 0));
  OPENSSL_free(der);
  return out;
}

}  // namespace

Bytes digest(std::uint16_t alg, ByteView bytes) {
  const EVP_MD* md = md_of(alg);
  if (md == nullptr) std::abort();
  Bytes out(digest_bytes(alg));
  if (EVP_Digest(bytes.data(), bytes.size(), out.data(), nullptr, md, nullptr) != 1) std::abort();
  return out;
}

Bytes name_of(const Public& key) {
  return Writer().u16(key.name_alg).raw(digest(key.name_alg, encode(key))).take();
}

Result<Bytes> spki_of(const Public& key) {
  const Key loaded = openssl_key(key);
  if (!loaded) return fail("tpm_malformed", "the key is no RSA key of 2048 bits or more and no point on P-256");
  unsigned char* der = nullptr;
  const int bytes = i2d_PUBKEY(loaded.get(), &der);
  if (bytes <= 0) return fail("tpm_malformed", "the key has no usual form");
  Bytes out(der, der + bytes);
  OPENSSL_free(der);
  return out;
}

Result<std::string> key_sha256(const Public& key) {
  return to_hex(sha256(TRY(spki_of(key))));
}

bool verify_signature(const Public& key, const Signature& signature, ByteView message) {
  const EVP_MD* md = md_of(signature.hash);
  const bool rsa = signature.scheme != kAlgEcdsa;
  if (md == nullptr || rsa != (key.type == kAlgRsa)) return false;
  const Key loaded = openssl_key(key);
  const DigestContext context(EVP_MD_CTX_new());
  EVP_PKEY_CTX* options = nullptr;
  if (!loaded || EVP_DigestVerifyInit(context.get(), &options, md, nullptr, loaded.get()) != 1) return false;
  if (signature.scheme == kAlgRsaPss && (EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING) != 1 ||
                                         EVP_PKEY_CTX_set_rsa_pss_saltlen(options, RSA_PSS_SALTLEN_AUTO) != 1)) {
    return false;
  }
  const Bytes bytes = rsa ? signature.rsa : ecdsa_der(signature);
  if (bytes.empty() || (rsa && bytes.size() != key.modulus.size())) return false;
  return EVP_DigestVerify(context.get(), bytes.data(), bytes.size(), message.data(), message.size()) == 1;
}

}  // namespace tb::attest
