#include <openssl/evp.h>

#include <algorithm>
#include <cstdlib>

#include "base/crypto_gcm.h"

namespace tb::gcm {
namespace {

void require(bool ok) {
  if (!ok) std::abort();
}

// EVP takes int lengths; chunks are at most 64 MiB (spec tbenc-v1 2).
int int_size(std::size_t bytes) {
  require(bytes <= 0x7fffffff);
  return static_cast<int>(bytes);
}

class Openssl final : public Engine {
 public:
  explicit Openssl(const FileKey& key) {
    require(seal_ != nullptr && open_ != nullptr);
    require(EVP_EncryptInit_ex2(seal_, EVP_aes_256_gcm(), key.reveal().data(), nullptr, nullptr) == 1);
    require(EVP_DecryptInit_ex2(open_, EVP_aes_256_gcm(), key.reveal().data(), nullptr, nullptr) == 1);
  }
  ~Openssl() override {
    EVP_CIPHER_CTX_free(seal_);
    EVP_CIPHER_CTX_free(open_);
  }

  void seal(std::span<const std::uint8_t, kNonceBytes> nonce, ByteView aad, ByteView plain, MutableBytes cipher,
            std::span<std::uint8_t, kTagBytes> tag) override {
    int n = 0;
    require(EVP_EncryptInit_ex2(seal_, nullptr, nullptr, nonce.data(), nullptr) == 1);
    require(EVP_EncryptUpdate(seal_, nullptr, &n, aad.data(), int_size(aad.size())) == 1);
    if (!plain.empty()) require(EVP_EncryptUpdate(seal_, cipher.data(), &n, plain.data(), int_size(plain.size())) == 1);
    std::uint8_t none[kTagBytes];
    require(EVP_EncryptFinal_ex(seal_, none, &n) == 1);
    require(EVP_CIPHER_CTX_ctrl(seal_, EVP_CTRL_AEAD_GET_TAG, int(kTagBytes), tag.data()) == 1);
  }

  void begin_open(std::span<const std::uint8_t, kNonceBytes> nonce, ByteView aad) override {
    int n = 0;
    require(EVP_DecryptInit_ex2(open_, nullptr, nullptr, nonce.data(), nullptr) == 1);
    require(EVP_DecryptUpdate(open_, nullptr, &n, aad.data(), int_size(aad.size())) == 1);
  }

  void open_piece(ByteView cipher, MutableBytes plain) override {
    int n = 0;
    if (!plain.empty())
      require(EVP_DecryptUpdate(open_, plain.data(), &n, cipher.data(), int_size(cipher.size())) == 1);
  }

  bool finish_open(std::span<const std::uint8_t, kTagBytes> tag) override {
    int n = 0;
    std::uint8_t expected[kTagBytes];
    std::ranges::copy(tag, expected);
    require(EVP_CIPHER_CTX_ctrl(open_, EVP_CTRL_AEAD_SET_TAG, int(kTagBytes), expected) == 1);
    std::uint8_t none[kTagBytes];
    return EVP_DecryptFinal_ex(open_, none, &n) == 1;
  }

 private:
  EVP_CIPHER_CTX* seal_ = EVP_CIPHER_CTX_new();
  EVP_CIPHER_CTX* open_ = EVP_CIPHER_CTX_new();
};

}  // namespace

std::unique_ptr<Engine> make_openssl(const FileKey& key) {
  return std::make_unique<Openssl>(key);
}

}  // namespace tb::gcm
