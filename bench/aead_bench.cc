// The engines behind base/crypto.h and libgcrypt for one chunk of AES-256-GCM, in place as encrypt and decrypt do it.
// The answer and what was kept stand in docs/decisions/.
#include <benchmark/benchmark.h>
#include <gcrypt.h>

#include "base/crypto.h"
#include "base/secret.h"

namespace {

using namespace tb;

constexpr std::size_t kAadBytes = 31;

FileKey bench_key() {
  std::array<std::uint8_t, 32> bytes{};
  bytes.fill(0x42);
  return FileKey(std::span<const std::uint8_t, 32>(bytes));
}

void seal_by(benchmark::State& state, GcmEngine engine) {
  if (engine == GcmEngine::kVector && best_gcm_engine() != engine) return state.SkipWithError("not on this processor");
  WipedBuffer buffer(static_cast<std::size_t>(state.range(0)));
  Aes256Gcm gcm(bench_key(), engine);
  std::array<std::uint8_t, kNonceBytes> nonce{};
  std::array<std::uint8_t, kAadBytes> aad{};
  std::array<std::uint8_t, kTagBytes> tag{};
  for (auto _ : state) gcm.seal(nonce, aad, buffer.view(), buffer.span(), tag);
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * state.range(0));
}

class Gcrypt {
 public:
  Gcrypt() {
    gcry_check_version(nullptr);
    gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0);
    const FileKey key = bench_key();
    failed_ = gcry_cipher_open(&handle_, GCRY_CIPHER_AES256, GCRY_CIPHER_MODE_GCM, 0) != 0 ||
              gcry_cipher_setkey(handle_, key.reveal().data(), key.reveal().size()) != 0;
  }
  ~Gcrypt() { gcry_cipher_close(handle_); }
  Gcrypt(const Gcrypt&) = delete;
  Gcrypt& operator=(const Gcrypt&) = delete;
  bool seal(MutableBytes buffer) {
    return start() && gcry_cipher_encrypt(handle_, buffer.data(), buffer.size(), nullptr, 0) == 0 &&
           gcry_cipher_gettag(handle_, tag_.data(), tag_.size()) == 0;
  }
  // The tag check fails on purpose: what is timed is the same work.
  bool open(MutableBytes buffer) {
    return start() && gcry_cipher_decrypt(handle_, buffer.data(), buffer.size(), nullptr, 0) == 0 &&
           gcry_cipher_checktag(handle_, tag_.data(), tag_.size()) != 0;
  }
  bool failed() const { return failed_; }

 private:
  bool start() {
    return gcry_cipher_setiv(handle_, nonce_.data(), nonce_.size()) == 0 &&
           gcry_cipher_authenticate(handle_, aad_.data(), aad_.size()) == 0;
  }
  gcry_cipher_hd_t handle_ = nullptr;
  std::array<std::uint8_t, kNonceBytes> nonce_{};
  std::array<std::uint8_t, kAadBytes> aad_{};
  std::array<std::uint8_t, kTagBytes> tag_{};
  bool failed_ = false;
};

void libgcrypt(benchmark::State& state, bool (Gcrypt::*work)(MutableBytes)) {
  WipedBuffer buffer(static_cast<std::size_t>(state.range(0)));
  Gcrypt gcm;
  if (gcm.failed()) state.SkipWithError("libgcrypt does not start");
  for (auto _ : state) {
    if (!(gcm.*work)(buffer.span())) state.SkipWithError("libgcrypt fails");
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * state.range(0));
}

void open_by(benchmark::State& state, GcmEngine engine) {
  if (engine == GcmEngine::kVector && best_gcm_engine() != engine) return state.SkipWithError("not on this processor");
  WipedBuffer sealed(static_cast<std::size_t>(state.range(0)));
  WipedBuffer plain(sealed.size());
  Aes256Gcm gcm(bench_key(), engine);
  std::array<std::uint8_t, kNonceBytes> nonce{};
  std::array<std::uint8_t, kAadBytes> aad{};
  std::array<std::uint8_t, kTagBytes> tag{};
  gcm.seal(nonce, aad, plain.view(), sealed.span(), tag);
  for (auto _ : state) {
    if (!gcm.open(nonce, aad, sealed.view(), tag, plain.span())) state.SkipWithError("does not open");
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * state.range(0));
}

BENCHMARK_CAPTURE(seal_by, openssl, GcmEngine::kOpenssl)->Arg(64 << 10)->Arg(4 << 20);
BENCHMARK_CAPTURE(seal_by, vector, GcmEngine::kVector)->Arg(64 << 10)->Arg(4 << 20);
BENCHMARK_CAPTURE(libgcrypt, seal, &Gcrypt::seal)->Arg(64 << 10)->Arg(4 << 20);
BENCHMARK_CAPTURE(open_by, openssl, GcmEngine::kOpenssl)->Arg(64 << 10)->Arg(4 << 20);
BENCHMARK_CAPTURE(open_by, vector, GcmEngine::kVector)->Arg(64 << 10)->Arg(4 << 20);
BENCHMARK_CAPTURE(libgcrypt, open, &Gcrypt::open)->Arg(64 << 10)->Arg(4 << 20);

}  // namespace
