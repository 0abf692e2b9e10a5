#include "bench/hydrate_stages.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <ctime>
#include <filesystem>

#include "deliver/fuse_session.h"
#include "deliver/mount_point.h"
#include "deliver/own_mount.h"
#include "hydrate/cache.h"

namespace tb::bench {
namespace {

constexpr std::size_t kTurnBytes = std::size_t{24} << 20;

/// Answers at once, from a megabyte that stays in the processor's caches.
class ZerosReader final : public deliver::StreamReader {
 public:
  explicit ZerosReader(std::uint64_t bytes) : bytes_(bytes), zeros_(kFileReadBytes) {}
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

/// Memory that was never written is one page of zeros, which is quicker to read than any other.
void touch(WipedBuffer& memory) {
  std::ranges::fill(memory.span(), std::uint8_t{1});
}

double thread_cpu_seconds() {
  timespec spent{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
  return static_cast<double>(spent.tv_sec) + static_cast<double>(spent.tv_nsec) * 1e-9;
}

}  // namespace

Workplace::Workplace(const std::string& directory) : path_(directory + "/work-" + random_token(6)) {
  value_or_throw(make_directories(path_, 0711));
}

Workplace::~Workplace() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::uint64_t read_to_the_end(int fd, std::size_t piece_bytes) {
  WipedBuffer buffer(piece_bytes);
  std::uint64_t total = 0;
  while (const std::size_t got = value_or_throw(read_full(fd, buffer.span(), "what is read"))) {
    total += got;
    if (got < buffer.size()) break;
  }
  return total;
}

Stages::Stages(const ServedAsset& asset, std::string directory) : asset_(asset), directory_(std::move(directory)) {}

void Stages::on_threads(unsigned count, const std::function<void(std::uint64_t, MutableBytes)>& each) const {
  const tbenc::Layout layout = asset_.layout();
  std::atomic<std::uint64_t> next = 0;
  std::vector<std::jthread> threads;
  for (unsigned i = 0; i < count; ++i) {
    threads.emplace_back([&] {
      WipedBuffer buffer(static_cast<std::size_t>(layout.record_bytes(0)));
      touch(buffer);
      for (std::uint64_t chunk = next++; chunk < layout.chunk_count(); chunk = next++) {
        each(chunk, buffer.span().first(static_cast<std::size_t>(layout.record_bytes(chunk))));
      }
    });
  }
}

Cost Stages::fetch(unsigned connections) const {
  return asset_.cost_of([&] {
    Download download(asset_.url());
    const std::uint64_t bytes = asset_.layout().ciphertext_bytes();
    std::atomic<std::uint64_t> next = 0;
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < connections; ++i) {
      threads.emplace_back([&] {
        for (std::uint64_t from; (from = next.fetch_add(kRequestBytes)) < bytes;) {
          download.source.fetch(from, std::min(kRequestBytes, bytes - from), [](ByteView) {});
        }
      });
    }
  });
}

Cost Stages::open() const {
  const Fd fd = value_or_throw(open_file(asset_.ciphertext_path(), O_RDONLY));
  const tbenc::Layout layout = asset_.layout();
  const std::size_t bytes = layout.ciphertext_bytes();
  void* mapped = mmap(nullptr, bytes, PROT_READ, MAP_SHARED | MAP_POPULATE, fd.get(), 0);
  if (mapped == MAP_FAILED) throw error_from_errno(errno, "mmap");
  const ByteView ciphertext(static_cast<const std::uint8_t*>(mapped), bytes);
  const auto header = value_or_throw(tbenc::parse_header(ciphertext.first(tbenc::kHeaderBytes)));
  const Cost cost = asset_.cost_of([&] {
    const FileKey key = asset_.key();
    on_threads(cores(), [&](std::uint64_t chunk, MutableBytes record) {
      thread_local std::optional<tbenc::ChunkCipher> cipher;
      if (!cipher) cipher.emplace(key, header);
      const auto sealed = ciphertext.subspan(layout.record_offset(chunk), record.size());
      value_or_throw(cipher->open(chunk, sealed, record.first(layout.chunk_plain_bytes(chunk))));
    });
  });
  munmap(mapped, bytes);
  return cost;
}

Cost Stages::write_files(const deliver::Kernel& kernel) const {
  const tbenc::Layout layout = asset_.layout();
  const auto mount = value_or_throw(deliver::OwnMount::make(
      {.bytes = layout.plaintext_bytes() + (std::uint64_t{4} << 20), .huge = kernel.tmpfs_huge}));
  return asset_.cost_of([&] {
    const Fd fd(openat(mount.root(), "written", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    const auto bytes = static_cast<off_t>(layout.plaintext_bytes());
    if (!fd || ftruncate(fd.get(), bytes) != 0) throw error_from_errno(errno, "written");
    if (!kernel.tmpfs_huge.empty()) (void)fallocate(fd.get(), 0, 0, bytes);
    on_threads(1, [&](std::uint64_t chunk, MutableBytes record) {
      const auto plain = record.first(layout.chunk_plain_bytes(chunk));
      value_or_throw(pwrite_full(fd.get(), plain, layout.plain_offset(chunk), "written"));
    });
  });
}

Stages::CacheCosts Stages::cache(hydrate::CacheKind kind) const {
  const tbenc::Layout layout = asset_.layout();
  const Workplace place(directory_);
  std::shared_ptr<hydrate::Cache> cache;
  CacheCosts costs;
  costs.write = asset_.cost_of([&] {
    cache =
        value_or_throw(kind == hydrate::CacheKind::kDisk ? hydrate::Cache::on_disk(place.path() + "/cache", {}, layout)
                                                         : hydrate::Cache::in_memory({}, layout));
    on_threads(1, [&](std::uint64_t chunk, MutableBytes record) {
      value_or_throw(cache->store(chunk, 0, record));
      cache->mark(chunk);
    });
  });
  costs.read = asset_.cost_of([&] {
    on_threads(cores(),
               [&](std::uint64_t chunk, MutableBytes record) { value_or_throw(cache->read_record(chunk, record)); });
  });
  return costs;
}

Cost Stages::read_pipe() const {
  const std::uint64_t bytes = asset_.layout().plaintext_bytes();
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) throw error_from_errno(errno, "pipe");
  const Fd reading(ends[0]);
  fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
  std::jthread writer([bytes, fd = Fd(ends[1])] {
    WipedBuffer memory(kTurnBytes);
    touch(memory);
    for (std::uint64_t at = 0; at < bytes;) {
      const std::size_t from = at % memory.size();
      const iovec pages{memory.data() + from, std::min<std::size_t>(memory.size() - from, bytes - at)};
      const ssize_t n = vmsplice(fd.get(), &pages, 1, 0);
      if (n <= 0) return;
      at += static_cast<std::uint64_t>(n);
    }
  });
  const double cpu = thread_cpu_seconds();
  read_to_the_end(reading.get(), kPipeReadBytes);
  const double spent = thread_cpu_seconds() - cpu;
  return {.wall = spent, .own = spent};
}

Cost Stages::read_mount() const {
  const Workplace place(directory_);
  const std::uint64_t bytes = asset_.layout().plaintext_bytes();
  deliver::FuseOptions options;
  options.mount_point = value_or_throw(deliver::prepare_mount_point(place.path() + "/zeros", 0700, geteuid()));
  options.owner = geteuid();
  deliver::FuseSession session(
      value_or_throw(deliver::MountTree::create(std::nullopt, bytes, "zeros", deliver::MountTree::Shape::kBare)),
      std::make_shared<ZerosReader>(bytes), options, [](const Error&) {});
  const Cost cost = asset_.cost_of([&] {
    const Fd fd = value_or_throw(open_file(options.mount_point + "/zeros", O_RDONLY));
    if (read_to_the_end(fd.get(), kFileReadBytes) != bytes) throw Error("internal", "the zeros ended early");
  });
  value_or_throw(session.stop());
  return cost;
}

}  // namespace tb::bench
