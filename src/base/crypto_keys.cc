// AES key wrap (RFC 3394) and Ed25519 (RFC 8032) over OpenSSL.
#include <openssl/evp.h>

#include <cstdlib>

#include "base/crypto.h"

namespace tb {
namespace {

void require(bool ok) {
  if (!ok) std::abort();
}

struct CipherCtx {
  EVP_CIPHER_CTX* ctx = EVP_CIPHER_CTX_new();
  CipherCtx() {
    require(ctx != nullptr);
    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
  }
  ~CipherCtx() { EVP_CIPHER_CTX_free(ctx); }
  CipherCtx(const CipherCtx&) = delete;
  CipherCtx& operator=(const CipherCtx&) = delete;
};

struct PKeyFree {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using PKey = std::unique_ptr<EVP_PKEY, PKeyFree>;

PKey private_key(const Secret<32>& seed) {
  PKey key(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed.reveal().data(), 32));
  require(key != nullptr);
  return key;
}

constexpr std::size_t kWrappedBytes = 40;

}  // namespace

Bytes wrap_key(const Secret<32>& kek, const FileKey& key) {
  CipherCtx c;
  Bytes out(kWrappedBytes + 8);
  int n = 0;
  require(EVP_EncryptInit_ex(c.ctx, EVP_aes_256_wrap(), nullptr, kek.reveal().data(), nullptr) == 1);
  require(EVP_EncryptUpdate(c.ctx, out.data(), &n, key.reveal().data(), 32) == 1 && n == int(kWrappedBytes));
  out.resize(kWrappedBytes);
  return out;
}

Result<FileKey> unwrap_key(const Secret<32>& kek, ByteView wrapped) {
  if (wrapped.size() != kWrappedBytes) return fail("key_unwrap_failed", "the wrapped key has a wrong length");
  CipherCtx c;
  Secret<kWrappedBytes + 8> out;
  int n = 0;
  require(EVP_DecryptInit_ex(c.ctx, EVP_aes_256_wrap(), nullptr, kek.reveal().data(), nullptr) == 1);
  if (EVP_DecryptUpdate(c.ctx, out.reveal_mutable().data(), &n, wrapped.data(), int(wrapped.size())) != 1 || n != 32)
    return fail("key_unwrap_failed", "the wrapped key does not open under this key-encryption key");
  return FileKey(out.reveal().first<32>());
}

Ed25519PrivateKey Ed25519PrivateKey::generate() {
  return Ed25519PrivateKey(random_key());
}

Ed25519PrivateKey::Ed25519PrivateKey(Secret<32> seed) : seed_(std::move(seed)) {
  const PKey key = private_key(seed_);
  std::size_t size = public_.size();
  require(EVP_PKEY_get_raw_public_key(key.get(), public_.data(), &size) == 1 && size == public_.size());
}

Ed25519Signature Ed25519PrivateKey::sign(ByteView message) const {
  const PKey key = private_key(seed_);
  EVP_MD_CTX* ctx = EVP_MD_CTX_new();
  Ed25519Signature out;
  std::size_t size = out.size();
  require(ctx != nullptr && EVP_DigestSignInit(ctx, nullptr, nullptr, nullptr, key.get()) == 1 &&
          EVP_DigestSign(ctx, out.data(), &size, message.data(), message.size()) == 1 && size == out.size());
  EVP_MD_CTX_free(ctx);
  return out;
}

bool ed25519_verify(const Ed25519PublicKey& key, ByteView message, ByteView signature) {
  if (signature.size() != 64) return false;
  const PKey pkey(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, key.data(), key.size()));
  if (pkey == nullptr) return false;
  EVP_MD_CTX* ctx = EVP_MD_CTX_new();
  require(ctx != nullptr);
  const bool ok = EVP_DigestVerifyInit(ctx, nullptr, nullptr, nullptr, pkey.get()) == 1 &&
                  EVP_DigestVerify(ctx, signature.data(), signature.size(), message.data(), message.size()) == 1;
  EVP_MD_CTX_free(ctx);
  return ok;
}

}  // namespace tb
