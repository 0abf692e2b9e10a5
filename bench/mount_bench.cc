// The parts of scripts/bench.sh --mount: a file system of zeros through the very session that serves models, readers of
// each kind, and decryption alone.
//
//   mount_bench zeros BYTES DIR       serves one file `zeros` until standard input ends
//   mount_bench read HOW FILE [N]     HOW: cached direct mapped random; prints wall and processor seconds
//   mount_bench verify FILE KEYFILE   opens every chunk on all cores
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/fs.h"
#include "deliver/fuse_session.h"
#include "deliver/mount_point.h"
#include "tbenc/parallel.h"

namespace {

using namespace tb;

constexpr std::size_t kReadBytes = std::size_t{1} << 20;

/// Answers at once, from a megabyte that stays in the processor's caches: what is left is the kernel and the session.
class Zeros final : public deliver::StreamReader {
 public:
  explicit Zeros(std::uint64_t bytes) : bytes_(bytes), zeros_(kReadBytes) {}
  std::uint64_t size() const override { return bytes_; }
  void read(std::uint64_t, std::size_t bytes, deliver::ReadDone done) override {
    done(deliver::ReadAnswer{.pieces = {ByteView(zeros_).first(std::min(bytes, zeros_.size()))}});
  }
  void going_on(std::uint64_t) override {}
  void cancel() override {}

 private:
  std::uint64_t bytes_;
  Bytes zeros_;
};

void serve_zeros(std::uint64_t bytes, const std::string& dir) {
  deliver::FuseOptions options;
  options.mount_point = value_or_throw(deliver::prepare_mount_point(dir, 0700, geteuid()));
  options.owner = geteuid();
  deliver::FuseSession session(
      value_or_throw(deliver::MountTree::create(std::nullopt, bytes, "zeros", deliver::MountTree::Shape::kBare)),
      std::make_shared<Zeros>(bytes), options, [](const Error&) {});
  fmt::print("mounted\n");
  std::fflush(stdout);
  char end = 0;
  while (::read(STDIN_FILENO, &end, 1) > 0) {
  }
  value_or_throw(session.stop());
}

std::uint64_t read_through(int fd, const std::string& path) {
  const std::unique_ptr<void, void (*)(void*)> block(std::aligned_alloc(4096, kReadBytes), std::free);
  std::uint64_t total = 0;
  while (true) {
    const MutableBytes into(static_cast<std::uint8_t*>(block.get()), kReadBytes);
    const std::size_t got = value_or_throw(pread_full(fd, into, total, path));
    total += got;
    if (got < kReadBytes) return total;
  }
}

std::uint64_t read_mapped(int fd, std::uint64_t bytes) {
  const auto* mapped = static_cast<const std::uint8_t*>(mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, fd, 0));
  if (mapped == MAP_FAILED) throw error_from_errno(errno, "mmap");
  madvise(const_cast<std::uint8_t*>(mapped), bytes, MADV_SEQUENTIAL);
  const std::unique_ptr<void, void (*)(void*)> block(std::aligned_alloc(4096, kReadBytes), std::free);
  for (std::uint64_t at = 0; at < bytes; at += kReadBytes) {
    std::memcpy(block.get(), mapped + at, static_cast<std::size_t>(std::min<std::uint64_t>(kReadBytes, bytes - at)));
  }
  munmap(const_cast<std::uint8_t*>(mapped), bytes);
  return bytes;
}

std::uint64_t read_here_and_there(int fd, std::uint64_t bytes, std::uint64_t count, const std::string& path) {
  Bytes page(4096);
  std::uint64_t x = 88172645463325252U;
  for (std::uint64_t i = 0; i < count; ++i) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    value_or_throw(pread_full(fd, page, x % (bytes / page.size()) * page.size(), path));
  }
  return count * page.size();
}

std::uint64_t read_file(const std::string& how, const std::string& path, std::uint64_t count) {
  const Fd fd = value_or_throw(open_file(path, how == "direct" ? O_RDONLY | O_DIRECT : O_RDONLY));
  const std::uint64_t bytes = value_or_throw(file_size(fd.get(), path));
  if (how == "mapped") return read_mapped(fd.get(), bytes);
  if (how == "random") return read_here_and_there(fd.get(), bytes, count, path);
  return read_through(fd.get(), path);
}

std::uint64_t verify_file(const std::string& path, const std::string& key_path) {
  const std::string text = value_or_throw(read_small_file(key_path));
  const Bytes raw = value_or_throw(from_hex(text.substr(0, 64)));
  const FileKey key{std::span<const std::uint8_t, 32>(raw.data(), 32)};
  const tbenc::FileSource source = value_or_throw(tbenc::FileSource::open(path));
  value_or_throw(tbenc::verify(key, source));
  return source.size();
}

double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() < 3) return 2;
  try {
    if (words[0] == "zeros") {
      serve_zeros(std::stoull(words[1]), words[2]);
      return 0;
    }
    const auto start = std::chrono::steady_clock::now();
    const std::uint64_t bytes = words[0] == "verify"
                                    ? verify_file(words[1], words[2])
                                    : read_file(words[1], words[2], words.size() > 3 ? std::stoull(words[3]) : 0);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    fmt::print("{{\"bytes\": {}, \"wall\": {:.6f}, \"cpu\": {:.6f}}}\n", bytes, took.count(),
               seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime));
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "mount_bench: {}\n", error.what());
  } catch (const Error& error) {
    fmt::print(stderr, "mount_bench: {}\n", error.story());
  }
  return 1;
}
