// Random bytes, SHA-256, HMAC and HKDF over OpenSSL. A failure of these calls means a broken or exhausted process, so
// it ends it: there is no answer that a caller could give.
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>

#include <cstdlib>

#include "base/crypto.h"

namespace tb {
namespace {

void require(bool ok) {
  if (!ok) std::abort();
}

}  // namespace

void random_bytes(MutableBytes out) {
  require(RAND_priv_bytes(out.data(), static_cast<int>(out.size())) == 1);
}

FileKey random_key() {
  FileKey key;
  random_bytes(key.reveal_mutable());
  return key;
}

std::string random_token(std::size_t bytes) {
  Bytes raw(bytes);
  random_bytes(raw);
  std::string text = to_base64url(raw);
  wipe(raw.data(), raw.size());
  return text;
}

struct Sha256::Impl {
  EVP_MD_CTX* ctx = EVP_MD_CTX_new();
  Impl() { require(ctx != nullptr && EVP_DigestInit_ex2(ctx, EVP_sha256(), nullptr) == 1); }
  ~Impl() { EVP_MD_CTX_free(ctx); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
};

Sha256::Sha256() : impl_(std::make_unique<Impl>()) {}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::update(ByteView bytes) {
  require(EVP_DigestUpdate(impl_->ctx, bytes.data(), bytes.size()) == 1);
}

Digest Sha256::finish() {
  Digest out;
  require(EVP_DigestFinal_ex(impl_->ctx, out.data(), nullptr) == 1);
  require(EVP_DigestInit_ex2(impl_->ctx, EVP_sha256(), nullptr) == 1);
  return out;
}

Digest sha256(ByteView bytes) {
  Digest out;
  require(EVP_Digest(bytes.data(), bytes.size(), out.data(), nullptr, EVP_sha256(), nullptr) == 1);
  return out;
}

std::string sha256_hex(std::string_view text) {
  return to_hex(sha256(text));
}

Digest hmac_sha256(ByteView key, ByteView message) {
  Digest out;
  unsigned size = 0;
  require(HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), message.data(), message.size(), out.data(),
               &size) != nullptr);
  return out;
}

Secret<32> hkdf_sha256(ByteView ikm, std::string_view info) {
  Secret<32> out;
  EVP_PKEY_CTX* ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, nullptr);
  std::size_t size = 32;
  require(ctx != nullptr && EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_CTX_set_hkdf_md(ctx, EVP_sha256()) == 1 &&
          EVP_PKEY_CTX_set1_hkdf_key(ctx, ikm.data(), static_cast<int>(ikm.size())) == 1 &&
          EVP_PKEY_CTX_add1_hkdf_info(ctx, as_bytes(info).data(), static_cast<int>(info.size())) == 1 &&
          EVP_PKEY_derive(ctx, out.reveal_mutable().data(), &size) == 1 && size == 32);
  EVP_PKEY_CTX_free(ctx);
  return out;
}

}  // namespace tb
