// Random bytes, SHA-256, HMAC and HKDF over OpenSSL. A failure of these calls means a broken or exhausted process, so
// it ends it: there is no answer that a caller could give.
//
// SHA-256 is used by its functions of OpenSSL 1.1, which need no memory of the heap: a proxy makes ten digests of some
// hundred bytes for each request, and EVP's contexts cost more than these (docs/decisions/0061).
#define OPENSSL_API_COMPAT 10100
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "base/crypto.h"

namespace tb {
namespace {

void require(bool ok) {
  if (!ok) std::abort();
}

SHA256_CTX* context(std::array<std::uint8_t, sizeof(SHA256_CTX)>& state) {
  return reinterpret_cast<SHA256_CTX*>(state.data());
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

Sha256::Sha256() {
  require(SHA256_Init(context(state_)) == 1);
}

Sha256::~Sha256() {
  wipe(state_.data(), state_.size());
}

void Sha256::update(ByteView bytes) {
  require(SHA256_Update(context(state_), bytes.data(), bytes.size()) == 1);
}

Digest Sha256::finish() {
  Digest out;
  require(SHA256_Final(out.data(), context(state_)) == 1);
  require(SHA256_Init(context(state_)) == 1);
  return out;
}

std::array<std::uint32_t, 8> Sha256::chaining_value() const {
  std::array<std::uint32_t, 8> out;
  std::memcpy(out.data(), state_.data() + offsetof(SHA256_CTX, h), sizeof out);
  return out;
}

Digest sha256(ByteView bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.finish();
}

std::string sha256_hex(std::string_view text) {
  return to_hex(sha256(text));
}

Md5::Md5() : ctx_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
  require(ctx_ && EVP_DigestInit_ex2(ctx_.get(), EVP_md5(), nullptr) == 1);
}

void Md5::update(ByteView bytes) {
  require(EVP_DigestUpdate(ctx_.get(), bytes.data(), bytes.size()) == 1);
}

std::array<std::uint8_t, 16> Md5::finish() {
  std::array<std::uint8_t, 16> out{};
  require(EVP_DigestFinal_ex(ctx_.get(), out.data(), nullptr) == 1);
  require(EVP_DigestInit_ex2(ctx_.get(), nullptr, nullptr) == 1);
  return out;
}

std::array<std::uint8_t, 16> md5(ByteView bytes) {
  Md5 hash;
  hash.update(bytes);
  return hash.finish();
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
