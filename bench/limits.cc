// What this machine allows in this minute, in nanoseconds per byte, for scripts/bench.sh: one core of AES-256-GCM and
// of SHA-256, reading a file, writing one for the first time, and writing a pipe that is read.
//
//   limits FILE DIRECTORY     FILE is read, DIRECTORY gets a file that is removed again; JSON to standard output
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <functional>
#include <thread>

#include "base/crypto.h"
#include "base/fs.h"
#include "tbenc/source.h"

namespace {

using namespace tb;

constexpr std::size_t kPieceBytes = std::size_t{4} << 20;
constexpr std::size_t kPieces = 128;
// As many buffers in turn as encrypt and decrypt use on two cores: bytes on their way are not in the first caches.
constexpr std::size_t kBuffers = 6;

double seconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double ns_per_byte(const std::function<void(std::size_t piece)>& work) {
  const double took = seconds([&] {
    for (std::size_t i = 0; i < kPieces; ++i) work(i);
  });
  return took * 1e9 / double(kPieces * kPieceBytes);
}

class Buffers {
 public:
  MutableBytes of(std::size_t piece) { return memory_.span().subspan(piece % kBuffers * kPieceBytes, kPieceBytes); }

 private:
  WipedBuffer memory_{kBuffers * kPieceBytes};
};

double first_write(const std::string& directory, Buffers& buffers) {
  const std::string path = fmt::format("{}/limits.{}", directory, ::getpid());
  const Fd fd = value_or_throw(open_file(path, O_WRONLY | O_CREAT | O_EXCL));
  ::unlink(path.c_str());
  return ns_per_byte([&](std::size_t i) { value_or_throw(write_full(fd.get(), buffers.of(i), path)); });
}

struct PipeCost {
  double wall_ns;  ///< per byte
  double cpu_ns;   ///< of writer and reader together
};

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

PipeCost pipe_write(Buffers& buffers) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw error_from_errno(errno, "pipe");
  ::fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
  std::jthread reader([fd = Fd(ends[0])] {
    Bytes buffer(std::size_t{128} << 10);
    while (::read(fd.get(), buffer.data(), buffer.size()) > 0) {
    }
  });
  const Fd writing(ends[1]);
  const double cpu_before = cpu_seconds();
  const double wall_ns =
      ns_per_byte([&](std::size_t i) { value_or_throw(write_full(writing.get(), buffers.of(i), "pipe")); });
  return {wall_ns, (cpu_seconds() - cpu_before) * 1e9 / double(kPieces * kPieceBytes)};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  try {
    Buffers buffers;
    std::array<std::uint8_t, kNonceBytes> nonce{};
    std::array<std::uint8_t, kTagBytes> tag{};
    Aes256Gcm gcm(random_key());
    Sha256 hash;
    const auto source = value_or_throw(tbenc::FileSource::open(argv[1]));
    const double gcm_ns = ns_per_byte([&](std::size_t i) { gcm.seal(nonce, {}, buffers.of(i), buffers.of(i), tag); });
    const double sha_ns = ns_per_byte([&](std::size_t i) { hash.update(buffers.of(i)); });
    const double read_ns = ns_per_byte([&](std::size_t i) {
      value_or_throw(source.read_at(i * kPieceBytes % (source.size() - kPieceBytes), buffers.of(i)));
    });
    const double write_ns = first_write(argv[2], buffers);
    const PipeCost pipe = pipe_write(buffers);
    fmt::print(
        "{{\"aes_gcm\":{:.4f},\"sha256\":{:.4f},\"read\":{:.4f},\"first_write\":{:.4f},\"pipe\":{:.4f},"
        "\"pipe_cpu\":{:.4f},\"cores\":{}}}\n",
        gcm_ns, sha_ns, read_ns, write_ns, pipe.wall_ns, pipe.cpu_ns, std::thread::hardware_concurrency());
    return 0;
  } catch (const Error& error) {
    fmt::print(stderr, "limits: {}\n", error.story());
    return 1;
  }
}
