// Aes256Gcm: the key schedule is expanded once per object, each chunk only sets a nonce.
#include <cstdlib>

#include "base/crypto_gcm.h"

namespace tb {

struct Aes256Gcm::Impl {
  std::unique_ptr<gcm::Engine> engine;
};

GcmEngine best_gcm_engine() {
  return gcm::has_vector() ? GcmEngine::kVector : GcmEngine::kOpenssl;
}

std::string_view gcm_engine_name(GcmEngine engine) {
  return engine == GcmEngine::kVector ? "ipsec-mb (VAES, AVX-512)" : "OpenSSL";
}

Aes256Gcm::Aes256Gcm(const FileKey& key, GcmEngine engine)
    : impl_(std::make_unique<Impl>(engine == GcmEngine::kVector ? gcm::make_vector(key) : gcm::make_openssl(key))) {}
Aes256Gcm::~Aes256Gcm() = default;
Aes256Gcm::Aes256Gcm(Aes256Gcm&&) noexcept = default;
Aes256Gcm& Aes256Gcm::operator=(Aes256Gcm&&) noexcept = default;

void Aes256Gcm::seal(std::span<const std::uint8_t, kNonceBytes> nonce, ByteView aad, ByteView plain,
                     MutableBytes cipher, std::span<std::uint8_t, kTagBytes> tag) {
  if (cipher.size() != plain.size()) std::abort();
  impl_->engine->seal(nonce, aad, plain, cipher, tag);
}

bool Aes256Gcm::open(std::span<const std::uint8_t, kNonceBytes> nonce, ByteView aad, ByteView cipher,
                     std::span<const std::uint8_t, kTagBytes> tag, MutableBytes plain) {
  begin_open(nonce, aad);
  open_piece(cipher, plain);
  if (finish_open(tag)) return true;
  wipe(plain.data(), plain.size());
  return false;
}

void Aes256Gcm::begin_open(std::span<const std::uint8_t, kNonceBytes> nonce, ByteView aad) {
  impl_->engine->begin_open(nonce, aad);
}

void Aes256Gcm::open_piece(ByteView cipher, MutableBytes plain) {
  if (cipher.size() != plain.size()) std::abort();
  impl_->engine->open_piece(cipher, plain);
}

bool Aes256Gcm::finish_open(std::span<const std::uint8_t, kTagBytes> tag) {
  return impl_->engine->finish_open(tag);
}

}  // namespace tb
