// AES-256-GCM by Intel's ipsec-mb, for processors with VAES, VPCLMULQDQ and AVX-512: four times OpenSSL 3.0 there. On
// others it gains nothing over OpenSSL and is not used.
#include <algorithm>
#include <cstdlib>
#include <vector>

#include "base/crypto_gcm.h"

#if TB_HAVE_IPSEC_MB
#include <intel-ipsec-mb.h>

namespace tb::gcm {
namespace {

/// The functions for this processor, or nullptr. Nothing in it changes after it was made: all threads share it.
const IMB_MGR* functions() {
  static const IMB_MGR* const made = [] {
    IMB_MGR* out = alloc_mb_mgr(0);
    if (out == nullptr) return out;
    IMB_ARCH arch = IMB_ARCH_NONE;
    init_mb_mgr_auto(out, &arch);
    constexpr std::uint64_t kWanted = IMB_FEATURE_VAES | IMB_FEATURE_VPCLMULQDQ | IMB_FEATURE_AVX512_SKX;
    if (arch == IMB_ARCH_AVX512 && (out->features & kWanted) == kWanted) return out;
    free_mb_mgr(out);
    return static_cast<IMB_MGR*>(nullptr);
  }();
  return made;
}

class Vector final : public Engine {
 public:
  explicit Vector(const FileKey& key) : f_(*functions()) { f_.gcm256_pre(key.reveal().data(), &key_); }
  ~Vector() override {
    wipe(&key_, sizeof key_);
    wipe(&context_, sizeof context_);
  }

  void seal(std::span<const std::uint8_t, kNonceBytes> nonce, ByteView aad, ByteView plain, MutableBytes cipher,
            std::span<std::uint8_t, kTagBytes> tag) override {
    f_.gcm256_init(&key_, &context_, nonce.data(), aad.data(), aad.size());
    if (!plain.empty()) f_.gcm256_enc_update(&key_, &context_, cipher.data(), plain.data(), plain.size());
    f_.gcm256_enc_finalize(&key_, &context_, tag.data(), kTagBytes);
  }

  void begin_open(std::span<const std::uint8_t, kNonceBytes> nonce, ByteView aad) override {
    f_.gcm256_init(&key_, &context_, nonce.data(), aad.data(), aad.size());
  }

  void open_piece(ByteView cipher, MutableBytes plain) override {
    if (!cipher.empty()) f_.gcm256_dec_update(&key_, &context_, plain.data(), cipher.data(), cipher.size());
  }

  bool finish_open(std::span<const std::uint8_t, kTagBytes> tag) override {
    std::array<std::uint8_t, kTagBytes> made{};
    f_.gcm256_dec_finalize(&key_, &context_, made.data(), kTagBytes);
    return equal_constant_time(made, tag);
  }

 private:
  const IMB_MGR& f_;
  alignas(64) gcm_key_data key_{};  // the library's header asks for this alignment under one compiler setting only
  alignas(64) gcm_context_data context_{};
};

bool agrees_with_openssl() {
  std::array<std::uint8_t, 32> key_bytes{};
  key_bytes.fill(0x2b);
  const FileKey key(key_bytes);
  const std::array<std::uint8_t, kNonceBytes> nonce{1, 2, 3};
  const std::array<std::uint8_t, 31> aad{4, 5, 6};
  const std::vector<std::uint8_t> plain(1000, 7);
  std::vector<std::uint8_t> ours(plain.size()), theirs(plain.size());
  std::array<std::uint8_t, kTagBytes> our_tag{}, their_tag{};
  Vector vector(key);
  vector.seal(nonce, aad, plain, ours, our_tag);
  make_openssl(key)->seal(nonce, aad, plain, theirs, their_tag);
  if (ours != theirs || our_tag != their_tag) return false;
  vector.begin_open(nonce, aad);
  vector.open_piece(ours, theirs);
  return vector.finish_open(our_tag) && theirs == plain;
}

}  // namespace

bool has_vector() {
  static const bool has = functions() != nullptr && agrees_with_openssl();
  return has;
}

std::unique_ptr<Engine> make_vector(const FileKey& key) {
  if (!has_vector()) std::abort();
  return std::make_unique<Vector>(key);
}

}  // namespace tb::gcm

#else

namespace tb::gcm {

bool has_vector() {
  return false;
}

std::unique_ptr<Engine> make_vector(const FileKey&) {
  std::abort();
}

}  // namespace tb::gcm

#endif
