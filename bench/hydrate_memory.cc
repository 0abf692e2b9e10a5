// Resident memory of a sentinel's hydration with a mount or a FIFO, for an asset that is larger than this machine: a
// source that seals each record when it is asked for, so nothing lies on any disk. For scripts/bench.sh --hydrate.
//
//   hydrate_memory mount|fifo DIRECTORY [GIB [SECONDS [READERS]]]   64 GiB, 20 s, 64 readers; DIRECTORY in memory
//   hydrate_memory read FILE SECONDS READERS                        what the first form starts: prints bytes read
//
// The readers are a process of their own: half of them read in order, each from another place, half at random. Through
// a FIFO they come one after the other and leave before the end. All check what they read.
#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <mutex>

#include "base/crypto.h"
#include "bench/cost.h"
#include "deliver/fifo.h"
#include "deliver/mount.h"
#include "hydrate/hydration.h"

namespace tb::bench {
namespace {

constexpr std::uint32_t kChunkBytes = std::uint32_t{4} << 20;
constexpr std::size_t kBlockBytes = 4096;  ///< begins with its own offset in the plaintext, the rest is zero
constexpr std::uint64_t kReadBytes = std::uint64_t{1} << 20;
constexpr std::uint64_t kFifoBytes = std::uint64_t{256} << 20;  ///< what a reader takes before it leaves

bool is_right(std::uint64_t offset, ByteView bytes) {
  for (std::size_t at = 0; at + kBlockBytes <= bytes.size(); at += kBlockBytes) {
    if (load_be64(bytes.data() + at) != offset + at || bytes[at + kBlockBytes - 1] != 0) return false;
  }
  return true;
}

/// Seals what is asked for, whole records, each in one of a few buffers.
class Synthetic final : public blob::BlobSource {
 public:
  Synthetic(const FileKey& key, const tbenc::Header& header, const tbenc::Layout& layout)
      : header_(header), layout_(layout), cipher_(key, header) {}

  blob::BlobStat stat() override { return {layout_.ciphertext_bytes(), {}}; }
  bool is_local() const override { return true; }
  std::string printable() const override { return "synthetic"; }

  void fetch(std::uint64_t offset, std::uint64_t bytes, const blob::ByteSink& sink, std::stop_token stop) override {
    if (offset < tbenc::kHeaderBytes) return sink(ByteView(tbenc::encode_header(header_)).subspan(offset, bytes));
    auto bench = take();
    const std::uint64_t record = std::uint64_t{kChunkBytes} + tbenc::kRecordOverhead;
    for (const std::uint64_t end = offset + bytes; offset < end;) {
      if (stop.stop_requested()) throw Error("cancelled", "stopped");
      const std::uint64_t chunk = (offset - tbenc::kHeaderBytes) / record;
      if (layout_.record_offset(chunk) != offset) throw Error("internal", "a range that begins inside a record");
      const MutableBytes sealed = bench->record.span().first(static_cast<std::size_t>(layout_.record_bytes(chunk)));
      const MutableBytes plain = sealed.subspan(tbenc::kLengthBytes, layout_.chunk_plain_bytes(chunk));
      std::ranges::fill(plain, std::uint8_t{0});
      for (std::size_t at = 0; at < plain.size(); at += kBlockBytes) {
        store_be64(plain.data() + at, layout_.plain_offset(chunk) + at);
      }
      bench->cipher.seal(chunk, plain, sealed);
      sink(sealed);
      offset += sealed.size();
    }
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(bench));
  }
  std::uint64_t buffer_bytes() const { return made_ * layout_.record_bytes(0); }

 private:
  struct Bench {
    tbenc::ChunkCipher cipher;
    WipedBuffer record;
  };
  std::unique_ptr<Bench> take() {
    const std::lock_guard lock(mutex_);
    if (idle_.empty()) {
      ++made_;
      return std::make_unique<Bench>(
          Bench{cipher_.clone(), WipedBuffer(static_cast<std::size_t>(layout_.record_bytes(0)))});
    }
    auto bench = std::move(idle_.back());
    idle_.pop_back();
    return bench;
  }

  tbenc::Header header_;
  tbenc::Layout layout_;
  tbenc::ChunkCipher cipher_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Bench>> idle_;
  std::atomic<std::uint64_t> made_ = 0;
};

std::uint64_t read_in_order(int fd, std::uint64_t from, std::uint64_t bytes, double until) {
  WipedBuffer buffer(kReadBytes);
  std::uint64_t total = 0;
  for (std::uint64_t at = from; seconds_now() < until; at = (at + kReadBytes) % bytes) {
    const std::size_t got = value_or_throw(pread_full(fd, buffer.span(), at, "model"));
    if (!is_right(at, buffer.view().first(got))) throw Error("internal", fmt::format("wrong bytes at {}", at));
    total += got;
  }
  return total;
}

std::uint64_t read_at_random(int fd, std::uint64_t seed, std::uint64_t bytes, double until) {
  Bytes block(kBlockBytes);
  std::uint64_t total = 0;
  for (std::uint64_t x = seed * 0x9E3779B97F4A7C15U | 1; seconds_now() < until; total += kBlockBytes) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    const std::uint64_t at = x % (bytes / kBlockBytes) * kBlockBytes;
    value_or_throw(pread_full(fd, block, at, "model"));
    if (!is_right(at, block)) throw Error("internal", fmt::format("wrong bytes at {}", at));
  }
  return total;
}

std::uint64_t read_fifo(const std::string& path) {
  const Fd fd = value_or_throw(open_file(path, O_RDONLY));
  WipedBuffer buffer(kReadBytes);
  for (std::uint64_t at = 0; at < kFifoBytes; at += kReadBytes) {
    const std::size_t got = value_or_throw(read_full(fd.get(), buffer.span(), "fifo"));
    if (got != kReadBytes || !is_right(at, buffer.view()))
      throw Error("internal", fmt::format("wrong bytes at {}", at));
  }
  return kFifoBytes;
}

int read_it(const std::string& path, double seconds, unsigned readers) {
  const double until = seconds_now() + seconds;
  struct stat st{};
  if (::stat(path.c_str(), &st) != 0) throw error_from_errno(errno, path);
  std::atomic<std::uint64_t> total = 0;
  std::atomic<bool> failed = false;
  if (S_ISFIFO(st.st_mode)) {
    for (unsigned i = 0; i < readers; ++i) total += read_fifo(path);
  } else {
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < readers; ++i) {
      threads.emplace_back([&, i] {
        try {
          const Fd fd = value_or_throw(open_file(path, O_RDONLY));
          const std::uint64_t bytes = value_or_throw(file_size(fd.get(), path));
          const std::uint64_t from = bytes / readers * i / kReadBytes * kReadBytes;
          total += i % 2 == 0 ? read_in_order(fd.get(), from, bytes, until) : read_at_random(fd.get(), i, bytes, until);
        } catch (const Error& error) {
          fmt::print(stderr, "hydrate_memory: {}\n", error.story());
          failed = true;
        }
      });
    }
  }
  fmt::print("  {} readers read {} MiB\n", readers, total >> 20);
  return failed ? 1 : 0;
}

std::uint64_t status_kib(const std::string& field) {
  const std::string status = value_or_throw(read_small_file("/proc/self/status"));
  const auto at = status.find(field);
  return at == std::string::npos ? 0 : std::strtoull(status.c_str() + at + field.size(), nullptr, 10);
}

void run_readers(const char* self, const std::string& path, const std::string& seconds, const std::string& readers) {
  std::fflush(stdout);
  std::vector<std::string> arguments{self, "read", path, seconds, readers};
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  pid_t child = -1;
  int status = -1;
  if (posix_spawn(&child, argv[0], nullptr, nullptr, argv.data(), environ) == 0) waitpid(child, &status, 0);
  if (status != 0) throw Error("internal", "a reader failed");
}

hydrate::AuthenticatedManifest manifest_of(const FileKey& key, const tbenc::Header& header, std::uint64_t bytes) {
  asset::ManifestDraft draft;
  draft.asset_id = "bench";
  draft.header = header;
  draft.plaintext_bytes = bytes;
  draft.content = asset::Content{};
  draft.content->name = "model.bin";
  return {value_or_throw(draft.build(key)), {.mac = true}};
}

void measure(const char* self, const std::string& how, const std::string& directory, std::uint64_t gib,
             const std::string& seconds, const std::string& readers) {
  const FileKey key = random_key();
  const auto header = value_or_throw(tbenc::new_header(kChunkBytes));
  const auto asset = manifest_of(key, header, gib << 30);
  Synthetic source(key, header, asset.manifest.layout());
  const bool fifo = how == "fifo";
  hydrate::Options options{.mode = fifo ? hydrate::Mode::kStrict : hydrate::Mode::kOverlap,
                           .cache = hydrate::CacheKind::kMemory};
  auto hydration = std::make_shared<hydrate::Hydration>(options, asset, key.clone(), source);
  std::unique_ptr<deliver::Delivery> delivery;
  if (fifo)
    delivery = deliver::make_fifo({directory + "/pipe", geteuid(), true});
  else
    delivery = deliver::make_mount({directory + "/model", geteuid(), true});
  const double start = seconds_now();
  value_or_throw(delivery->begin(asset.manifest, hydration->layout()));
  hydration->prepare(true, {});
  if (fifo) hydration->verify(nullptr, {});
  const double verified = seconds_now() - start;
  delivery->serve(hydration);
  {
    std::stop_source stop;
    std::jthread rest;
    if (!fifo) {
      rest = std::jthread([&] {
        try {
          hydration->verify(delivery.get(), stop.get_token());
        } catch (const Error& error) {
          if (error.reason != "cancelled") fmt::print(stderr, "hydrate_memory: {}\n", error.story());
        }
      });
    }
    run_readers(self, delivery->path(), seconds, readers);
    stop.request_stop();
  }
  if (const auto fault = delivery->last_fault()) throw Error(*fault);
  fmt::print(
      "{} of {} GiB: {}{} MiB of it verified; at most {} MiB resident, {} MiB of that the source's own records\n", how,
      gib, fifo ? fmt::format("strict, {:.1f} s, ", verified) : "", hydration->progress().bytes >> 20,
      status_kib("VmHWM:") >> 10, source.buffer_bytes() >> 20);
  value_or_throw(delivery->revoke());
}

}  // namespace
}  // namespace tb::bench

int main(int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  try {
    if (words.size() == 4 && words[0] == "read") {
      return tb::bench::read_it(words[1], std::stod(words[2]), static_cast<unsigned>(std::stoul(words[3])));
    }
    if (words.size() < 2 || words.size() > 5 || (words[0] != "mount" && words[0] != "fifo")) {
      fmt::print(stderr, "usage: hydrate_memory mount|fifo DIRECTORY [GIB [SECONDS [READERS]]]\n");
      return 2;
    }
    if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
      throw tb::error_from_errno(errno, "mounts of our own are measured (CAP_SYS_ADMIN)");
    }
    const std::vector<std::string> defaults{"", "", "64", "20", "64"};
    while (words.size() < 5) words.push_back(defaults[words.size()]);
    tb::bench::measure(argv[0], words[0], words[1], std::stoull(words[2]), words[3], words[4]);
    return 0;
  } catch (const tb::Error& error) {
    fmt::print(stderr, "hydrate_memory: {}\n", error.story());
  } catch (const std::exception& error) {
    fmt::print(stderr, "hydrate_memory: {}\n", error.what());
  }
  return 1;
}
