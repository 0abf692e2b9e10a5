// MakeCredential: the seed goes to the endorsement key, and both keys that protect the secret come from the seed and
// from the Name of the attestation key, so that another key's Name opens nothing.
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <algorithm>

#include "attest/crypto_keys.h"
#include "attest/openssl_free.h"
#include "base/crypto.h"

namespace tb::attest {
namespace {

// Part 1, 24.5: the label travels with its closing zero byte.
constexpr std::string_view kIdentity{"IDENTITY\0", 9};
constexpr std::size_t kSeedBytes = 32;
constexpr std::size_t kStorageKeyBits = 128;

/// KDFa of Part 1, 11.4.10.2 with SHA-256, for at most one block.
Secret<32> kdfa(ByteView key, std::string_view label, ByteView context, std::uint32_t bits) {
  Writer message;
  message.u32(1).raw(as_bytes(label)).u8(0).raw(context).u32(bits);
  Digest block = hmac_sha256(key, message.take());
  Secret<32> out(block);
  wipe(block.data(), block.size());
  return out;
}

std::unexpected<Error> failed() {
  return fail("tpm_malformed", "nothing can be encrypted to the endorsement key");
}

Result<Key> load(const Public& ek) {
  const Bytes spki = TRY(spki_of(ek));
  const unsigned char* at = spki.data();
  Key key(d2i_PUBKEY(nullptr, &at, static_cast<long>(spki.size())));
  if (!key) return failed();
  return key;
}

/// RSA-OAEP with SHA-256 and the label (Part 1, B.4).
Result<Bytes> seed_to_rsa(EVP_PKEY* ek, ByteView seed) {
  const KeyContext context(EVP_PKEY_CTX_new_from_pkey(nullptr, ek, nullptr));
  void* label = OPENSSL_memdup(kIdentity.data(), kIdentity.size());
  if (!context || EVP_PKEY_encrypt_init(context.get()) != 1 ||
      EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_OAEP_PADDING) != 1 ||
      EVP_PKEY_CTX_set_rsa_oaep_md(context.get(), EVP_sha256()) != 1 ||
      EVP_PKEY_CTX_set_rsa_mgf1_md(context.get(), EVP_sha256()) != 1 ||
      EVP_PKEY_CTX_set0_rsa_oaep_label(context.get(), label, static_cast<int>(kIdentity.size())) != 1) {
    OPENSSL_free(label);
    return failed();
  }
  std::size_t bytes = 0;
  if (EVP_PKEY_encrypt(context.get(), nullptr, &bytes, seed.data(), seed.size()) != 1) return failed();
  Bytes out(bytes);
  if (EVP_PKEY_encrypt(context.get(), out.data(), &bytes, seed.data(), seed.size()) != 1) return failed();
  out.resize(bytes);
  return out;
}

Bytes coordinate(EVP_PKEY* key, const char* name) {
  BIGNUM* value = nullptr;
  EVP_PKEY_get_bn_param(key, name, &value);
  const BigNumber owned(value);
  Bytes out(32);
  if (!value || BN_bn2binpad(value, out.data(), 32) != 32) out.clear();
  return out;
}

/// One-pass ECDH and KDFe (Part 1, C.6.1): `seed` is derived, the ephemeral point travels.
Result<Bytes> seed_from_ecdh(EVP_PKEY* ek, Secret<kSeedBytes>& seed) {
  const Key ephemeral(EVP_EC_gen("P-256"));
  const KeyContext context(ephemeral ? EVP_PKEY_CTX_new_from_pkey(nullptr, ephemeral.get(), nullptr) : nullptr);
  Secret<32> shared;
  std::size_t bytes = 32;
  if (!context || EVP_PKEY_derive_init(context.get()) != 1 || EVP_PKEY_derive_set_peer(context.get(), ek) != 1 ||
      EVP_PKEY_derive(context.get(), shared.reveal_mutable().data(), &bytes) != 1 || bytes != 32) {
    return failed();
  }
  const Bytes x = coordinate(ephemeral.get(), OSSL_PKEY_PARAM_EC_PUB_X);
  const Bytes y = coordinate(ephemeral.get(), OSSL_PKEY_PARAM_EC_PUB_Y);
  const Bytes ek_x = coordinate(ek, OSSL_PKEY_PARAM_EC_PUB_X);
  if (x.empty() || y.empty() || ek_x.empty()) return failed();
  Sha256 hash;
  hash.update(Writer().u32(1).take());
  hash.update(shared.reveal());
  hash.update(as_bytes(kIdentity));
  hash.update(x);
  hash.update(ek_x);
  Digest derived = hash.finish();
  seed = Secret<kSeedBytes>(derived);
  wipe(derived.data(), derived.size());
  return Writer().sized(x).sized(y).take();
}

/// AES-128-CFB with a zero IV: the key serves once.
Result<Bytes> encrypt_identity(const Secret<32>& key, ByteView plain) {
  const CipherContext context(EVP_CIPHER_CTX_new());
  const std::array<std::uint8_t, 16> iv{};
  Bytes out(plain.size());
  int bytes = 0;
  if (!context ||
      EVP_EncryptInit_ex2(context.get(), EVP_aes_128_cfb128(), key.reveal().data(), iv.data(), nullptr) != 1 ||
      EVP_EncryptUpdate(context.get(), out.data(), &bytes, plain.data(), static_cast<int>(plain.size())) != 1) {
    return failed();
  }
  return out;
}

}  // namespace

Result<Credential> make_credential(const Public& ek, ByteView ak_name, const Secret<32>& secret) {
  const Key key = TRY(load(ek));
  Credential out;
  Secret<kSeedBytes> seed;
  if (ek.type == kAlgRsa) {
    random_bytes(seed.reveal_mutable());
    out.encrypted_secret = TRY(seed_to_rsa(key.get(), seed.reveal()));
  } else {
    out.encrypted_secret = TRY(seed_from_ecdh(key.get(), seed));
  }
  const Secret<32> storage_key = kdfa(seed.reveal(), "STORAGE", ak_name, kStorageKeyBits);
  Bytes plain = Writer().sized(secret.reveal()).take();
  auto identity = encrypt_identity(storage_key, plain);
  wipe(plain.data(), plain.size());
  if (!identity) return fail(std::move(identity.error()));
  const Secret<32> mac_key = kdfa(seed.reveal(), "INTEGRITY", {}, 256);
  const Bytes covered = Writer().raw(*identity).raw(ak_name).take();
  out.id_object = Writer().sized(hmac_sha256(mac_key.reveal(), covered)).raw(*identity).take();
  return out;
}

}  // namespace tb::attest
