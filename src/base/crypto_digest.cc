// Random bytes, SHA-256, HMAC and HKDF over OpenSSL. A failure of these calls means a broken or exhausted process, so
// it ends it: there is no answer that a caller could give.
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>

#include <cstdlib>
#include <vector>

#include "base/crypto.h"

namespace tb {
namespace {

void require(bool ok) {
  if (!ok) std::abort();
}

/// Looked up once: asking for it by name at every start of a digest costs more than a short digest itself.
const EVP_MD* sha256_algorithm() {
  static const EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  require(algorithm != nullptr);
  return algorithm;
}

/// Contexts that this thread's digests have left, emptied: a proxy makes and ends two for each request.
class SpareContexts {
 public:
  ~SpareContexts() {
    for (EVP_MD_CTX* ctx : spare_) EVP_MD_CTX_free(ctx);
    gone_ = true;
  }
  static EVP_MD_CTX* take() {
    if (gone_ || mine_.spare_.empty()) {
      EVP_MD_CTX* ctx = EVP_MD_CTX_new();
      require(ctx != nullptr);
      return ctx;
    }
    EVP_MD_CTX* ctx = mine_.spare_.back();
    mine_.spare_.pop_back();
    return ctx;
  }
  static void give(EVP_MD_CTX* ctx) {
    if (gone_ || mine_.spare_.size() >= kMostSpare) return EVP_MD_CTX_free(ctx);
    EVP_MD_CTX_reset(ctx);  // wipes what it held, which may come from a key
    mine_.spare_.push_back(ctx);
  }

 private:
  static constexpr std::size_t kMostSpare = 64;
  std::vector<EVP_MD_CTX*> spare_;
  static thread_local bool gone_;  ///< what outlives mine_ at the thread's end must not use it
  static thread_local SpareContexts mine_;
};
thread_local bool SpareContexts::gone_ = false;
thread_local SpareContexts SpareContexts::mine_;

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

Sha256::Sha256() : ctx_(SpareContexts::take()) {
  require(EVP_DigestInit_ex2(ctx_, sha256_algorithm(), nullptr) == 1);
}

Sha256::~Sha256() {
  if (ctx_ != nullptr) SpareContexts::give(ctx_);
}

Sha256::Sha256(const Sha256& other) : ctx_(SpareContexts::take()) {
  require(EVP_MD_CTX_copy_ex(ctx_, other.ctx_) == 1);
}

Sha256& Sha256::operator=(const Sha256& other) {
  if (this != &other) require(EVP_MD_CTX_copy_ex(ctx_, other.ctx_) == 1);
  return *this;
}

void Sha256::update(ByteView bytes) {
  require(EVP_DigestUpdate(ctx_, bytes.data(), bytes.size()) == 1);
}

Digest Sha256::finish() {
  Digest out;
  require(EVP_DigestFinal_ex(ctx_, out.data(), nullptr) == 1);
  require(EVP_DigestInit_ex2(ctx_, nullptr, nullptr) == 1);
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
