// AES-256-GCM over OpenSSL. The key schedule is expanded once per object; each chunk only sets a nonce.
#include <openssl/evp.h>

#include <cstdlib>

#include "base/crypto.h"

namespace tb {
namespace {

void require(bool ok) {
  if (!ok) std::abort();
}

// EVP takes int lengths; chunks are at most 64 MiB (spec tbenc-v1 2).
int int_size(std::size_t bytes) {
  require(bytes <= 0x7fffffff);
  return static_cast<int>(bytes);
}

}  // namespace

struct Aes256Gcm::Impl {
  EVP_CIPHER_CTX* seal = EVP_CIPHER_CTX_new();
  EVP_CIPHER_CTX* open = EVP_CIPHER_CTX_new();
  explicit Impl(const FileKey& key) {
    require(seal != nullptr && open != nullptr);
    require(EVP_EncryptInit_ex2(seal, EVP_aes_256_gcm(), key.reveal().data(), nullptr, nullptr) == 1);
    require(EVP_DecryptInit_ex2(open, EVP_aes_256_gcm(), key.reveal().data(), nullptr, nullptr) == 1);
  }
  ~Impl() {
    EVP_CIPHER_CTX_free(seal);
    EVP_CIPHER_CTX_free(open);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
};

Aes256Gcm::Aes256Gcm(const FileKey& key) : impl_(std::make_unique<Impl>(key)) {}
Aes256Gcm::~Aes256Gcm() = default;
Aes256Gcm::Aes256Gcm(Aes256Gcm&&) noexcept = default;
Aes256Gcm& Aes256Gcm::operator=(Aes256Gcm&&) noexcept = default;

void Aes256Gcm::seal(std::span<const std::uint8_t, kNonceBytes> nonce, ByteView aad, ByteView plain, MutableBytes cipher,
                     std::span<std::uint8_t, kTagBytes> tag) {
  require(cipher.size() == plain.size());
  EVP_CIPHER_CTX* ctx = impl_->seal;
  int n = 0;
  require(EVP_EncryptInit_ex2(ctx, nullptr, nullptr, nonce.data(), nullptr) == 1);
  require(EVP_EncryptUpdate(ctx, nullptr, &n, aad.data(), int_size(aad.size())) == 1);
  if (!plain.empty()) require(EVP_EncryptUpdate(ctx, cipher.data(), &n, plain.data(), int_size(plain.size())) == 1);
  std::uint8_t none[kTagBytes];
  require(EVP_EncryptFinal_ex(ctx, none, &n) == 1);
  require(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, int(kTagBytes), tag.data()) == 1);
}

bool Aes256Gcm::open(std::span<const std::uint8_t, kNonceBytes> nonce, ByteView aad, ByteView cipher,
                     std::span<const std::uint8_t, kTagBytes> tag, MutableBytes plain) {
  require(cipher.size() == plain.size());
  EVP_CIPHER_CTX* ctx = impl_->open;
  int n = 0;
  std::uint8_t expected[kTagBytes];
  std::copy(tag.begin(), tag.end(), expected);
  require(EVP_DecryptInit_ex2(ctx, nullptr, nullptr, nonce.data(), nullptr) == 1);
  require(EVP_DecryptUpdate(ctx, nullptr, &n, aad.data(), int_size(aad.size())) == 1);
  if (!plain.empty()) require(EVP_DecryptUpdate(ctx, plain.data(), &n, cipher.data(), int_size(cipher.size())) == 1);
  require(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, int(kTagBytes), expected) == 1);
  std::uint8_t none[kTagBytes];
  if (EVP_DecryptFinal_ex(ctx, none, &n) == 1) return true;
  wipe(plain.data(), plain.size());
  return false;
}

}  // namespace tb
