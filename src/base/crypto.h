// The cryptography that TrustBridge uses, by purpose. Only base/crypto_*.cc call OpenSSL's EVP interface (TLS, libjose
// and libcurl apart). Functions are thread-safe; objects belong to one thread at a time.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/bytes.h"
#include "base/result.h"
#include "base/secret.h"

struct evp_md_ctx_st;  // OpenSSL's EVP_MD_CTX

namespace tb {

// ---- random ----
/// Fills `out` from the system's CSPRNG; ends the process if the system has none.
void random_bytes(MutableBytes out);
FileKey random_key();
/// `bytes` random bytes, base64url: tokens, nonces, ids.
std::string random_token(std::size_t bytes = 32);

// ---- digests (FIPS 180-4, RFC 2104, RFC 5869) ----
using Digest = std::array<std::uint8_t, 32>;

/// Streaming SHA-256. A copy goes on by itself from where the original is: cheaper than hashing a common beginning
/// again.
class Sha256 {
 public:
  Sha256();
  Sha256(const Sha256& other) = default;
  Sha256& operator=(const Sha256& other) = default;
  /// Wipes what it held, which may come from a key.
  ~Sha256();
  void update(ByteView bytes);
  /// Digest of everything so far; the object starts anew.
  Digest finish();
  /// Its eight words (FIPS 180-4, 6.2) after the whole blocks so far.
  std::array<std::uint32_t, 8> chaining_value() const;

 private:
  alignas(8) std::array<std::uint8_t, 112> state_;  ///< OpenSSL's SHA256_CTX
};

Digest sha256(ByteView bytes);
inline Digest sha256(std::string_view text) {
  return sha256(as_bytes(text));
}
std::string sha256_hex(std::string_view text);

/// Streaming MD5 (RFC 1321), for stores that know no better checksum: against accidents on the way only.
class Md5 {
 public:
  Md5();
  void update(ByteView bytes);
  /// Digest of everything so far; the object starts anew.
  std::array<std::uint8_t, 16> finish();

 private:
  std::unique_ptr<evp_md_ctx_st, void (*)(evp_md_ctx_st*)> ctx_;
};
std::array<std::uint8_t, 16> md5(ByteView bytes);

Digest hmac_sha256(ByteView key, ByteView message);
/// HKDF-SHA256 with an empty salt; 32 bytes out.
Secret<32> hkdf_sha256(ByteView ikm, std::string_view info);

// ---- AES-256-GCM (NIST SP 800-38D), 12-byte nonce, 16-byte tag ----
inline constexpr std::size_t kNonceBytes = 12;
inline constexpr std::size_t kTagBytes = 16;

/// What does the work; both give the same bytes.
enum class GcmEngine { kOpenssl, kVector };
/// The fastest that this processor and this build have.
GcmEngine best_gcm_engine();
std::string_view gcm_engine_name(GcmEngine engine);

/// One expanded key. seal and open keep no state between calls but are not reentrant: one object a thread.
class Aes256Gcm {
 public:
  /// `engine` kVector only where best_gcm_engine() is that.
  explicit Aes256Gcm(const FileKey& key, GcmEngine engine = best_gcm_engine());
  ~Aes256Gcm();
  Aes256Gcm(Aes256Gcm&&) noexcept;
  Aes256Gcm& operator=(Aes256Gcm&&) noexcept;

  /// cipher.size() == plain.size(); may be the same memory, must not overlap otherwise.
  void seal(std::span<const std::uint8_t, kNonceBytes> nonce, ByteView aad, ByteView plain, MutableBytes cipher,
            std::span<std::uint8_t, kTagBytes> tag);
  /// False if the tag does not verify: then `plain` has been wiped.
  [[nodiscard]] bool open(std::span<const std::uint8_t, kNonceBytes> nonce, ByteView aad, ByteView cipher,
                          std::span<const std::uint8_t, kTagBytes> tag, MutableBytes plain);

  /// The same in pieces, between which nothing else may be asked of this object. What open_piece() gives is unverified:
  /// nobody may see it before finish_open() said true, and it is the caller's to wipe if that says false.
  void begin_open(std::span<const std::uint8_t, kNonceBytes> nonce, ByteView aad);
  /// cipher.size() == plain.size(); may be the same memory.
  void open_piece(ByteView cipher, MutableBytes plain);
  [[nodiscard]] bool finish_open(std::span<const std::uint8_t, kTagBytes> tag);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// ---- AES-256 key wrap (RFC 3394) of a 32-byte key: 40 bytes ----
Bytes wrap_key(const Secret<32>& kek, const FileKey& key);
/// "key_unwrap_failed" if the integrity check fails.
Result<FileKey> unwrap_key(const Secret<32>& kek, ByteView wrapped);

// ---- Ed25519 (RFC 8032) ----
using Ed25519PublicKey = std::array<std::uint8_t, 32>;
using Ed25519Signature = std::array<std::uint8_t, 64>;

/// `seed` is the 32-byte private key of RFC 8032.
class Ed25519PrivateKey {
 public:
  static Ed25519PrivateKey generate();
  explicit Ed25519PrivateKey(Secret<32> seed);
  const Ed25519PublicKey& public_key() const { return public_; }
  const Secret<32>& seed() const { return seed_; }
  Ed25519Signature sign(ByteView message) const;

 private:
  Secret<32> seed_;
  Ed25519PublicKey public_{};
};

bool ed25519_verify(const Ed25519PublicKey& key, ByteView message, ByteView signature);

}  // namespace tb
