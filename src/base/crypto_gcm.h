// What makes AES-256-GCM, behind base/crypto.h: OpenSSL everywhere, and a faster one where the processor has the vector
// instructions for it. All give the same bytes; decision 10 says what each is worth.
#pragma once

#include <memory>

#include "base/crypto.h"

namespace tb::gcm {

/// One expanded key; the contract is that of Aes256Gcm. Sizes were checked.
class Engine {
 public:
  Engine() = default;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  virtual ~Engine() = default;
  virtual void seal(std::span<const std::uint8_t, kNonceBytes> nonce, ByteView aad, ByteView plain, MutableBytes cipher,
                    std::span<std::uint8_t, kTagBytes> tag) = 0;
  virtual void begin_open(std::span<const std::uint8_t, kNonceBytes> nonce, ByteView aad) = 0;
  virtual void open_piece(ByteView cipher, MutableBytes plain) = 0;
  /// False if the tag does not verify; what open_piece() gave must then be wiped.
  virtual bool finish_open(std::span<const std::uint8_t, kTagBytes> tag) = 0;
};

std::unique_ptr<Engine> make_openssl(const FileKey& key);

/// Whether make_vector() may be used: built in, VAES, VPCLMULQDQ and AVX-512 there, and its answer on a sample equal to
/// OpenSSL's. Asked of the machine once.
bool has_vector();
std::unique_ptr<Engine> make_vector(const FileKey& key);

}  // namespace tb::gcm
