// What a delivery costs over decryption alone: own tmpfs with huge pages, plain tmpfs, FIFO by given pages and by
// write(2), each with the limits of the same minute beside it. For scripts/bench.sh --deliver.
//
//   deliver_bench DIRECTORY [MIB [ROUNDS]]   2048 MiB sealed in memory, 5 rounds; DIRECTORY on tmpfs, CAP_SYS_ADMIN
//
// Limits: a delivery to files cannot be faster than opening every chunk plus writing it once, spread over the cores; a
// FIFO not faster than opening plus what its reader spends on reading, nor, if it gives pages, than these and the pages
// that the kernel clears for it, once each. Rounds run everything once, one after the other;
// ratios are taken within a round. Destinations are new, but their memory was used before the first round: the host of
// a virtual machine hands out untouched memory slowly.
#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <ctime>
#include <functional>
#include <map>
#include <thread>

#include "asset/sealed_chunks.h"
#include "base/crypto.h"
#include "deliver/fifo.h"
#include "deliver/kernel.h"
#include "deliver/own_mount.h"
#include "deliver/pipe_pages.h"
#include "deliver/tmpfs.h"
#include "tbenc/parallel.h"

namespace {

using namespace tb;

constexpr std::uint32_t kChunkBytes = std::uint32_t{4} << 20;
constexpr std::size_t kReadBytes = std::size_t{128} << 10;  // as cat reads
constexpr std::size_t kTurnBytes = std::size_t{24} << 20;

unsigned cores() {
  return std::max(1U, std::thread::hardware_concurrency());
}

struct Cost {
  double wall = 0, cpu = 0;  ///< seconds
};

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

Cost cost_of(const std::function<void()>& work) {
  const double cpu = cpu_seconds();
  const auto start = std::chrono::steady_clock::now();
  work();
  return {std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), cpu_seconds() - cpu};
}

/// Ciphertext in memory, on huge pages, that every run reads.
class Ciphertext final : public tbenc::RandomSource, public tbenc::Sink {
 public:
  explicit Ciphertext(std::size_t bytes) : bytes_(bytes) {}
  std::uint64_t size() const override { return size_; }
  Result<> read_at(std::uint64_t offset, MutableBytes out) const override {
    std::copy_n(bytes_.data() + offset, out.size(), out.begin());
    return {};
  }
  std::string name() const override { return "ciphertext"; }
  Result<> write(ByteView piece) override {
    std::ranges::copy(piece, bytes_.data() + size_);
    size_ += piece.size();
    return {};
  }

 private:
  WipedBuffer bytes_;
  std::size_t size_ = 0;
};

/// As many zeros as wanted: what is encrypted makes no difference to AES.
class Zeros final : public tbenc::PullSource {
 public:
  explicit Zeros(std::uint64_t bytes) : left_(bytes) {}
  Result<std::size_t> read(MutableBytes out) override {
    const auto some = static_cast<std::size_t>(std::min<std::uint64_t>(left_, out.size()));
    std::ranges::fill(out.first(some), std::uint8_t{0});
    left_ -= some;
    return some;
  }
  std::string name() const override { return "zeros"; }

 private:
  std::uint64_t left_;
};

struct Asset {
  FileKey key = random_key();
  std::shared_ptr<Ciphertext> ciphertext;
  std::shared_ptr<asset::SealedChunks> chunks;
  std::optional<asset::Manifest> manifest;
};

Asset seal(std::uint64_t bytes) {
  Asset made;
  const auto layout = value_or_throw(tbenc::Layout::from_plaintext(bytes, kChunkBytes));
  made.ciphertext = std::make_shared<Ciphertext>(layout.ciphertext_bytes());
  Zeros zeros(bytes);
  const auto header = value_or_throw(tbenc::new_header(kChunkBytes));
  const auto sealed = value_or_throw(tbenc::encrypt(made.key, header, zeros, *made.ciphertext));
  asset::ManifestDraft draft;
  draft.asset_id = "bench";
  draft.header = header;
  draft.plaintext_bytes = sealed.plaintext_bytes;
  draft.sha256_ciphertext = sealed.sha256_ciphertext;
  asset::Content content;
  content.name = "model.bin";
  draft.content = content;
  made.manifest = value_or_throw(draft.build(made.key));
  made.chunks = value_or_throw(asset::SealedChunks::open(made.key, made.ciphertext, made.manifest->known()));
  return made;
}

/// Calls `each` for every chunk, from all cores, with a buffer of the thread's.
void on_all_cores(const tbenc::Layout& layout, const std::function<void(std::uint64_t chunk, MutableBytes)>& each) {
  std::atomic<std::uint64_t> next = 0;
  std::vector<std::jthread> threads;
  for (unsigned i = 0; i < cores(); ++i) {
    threads.emplace_back([&] {
      WipedBuffer buffer(layout.chunk_bytes());
      for (std::uint64_t chunk = next++; chunk < layout.chunk_count(); chunk = next++) {
        each(chunk, buffer.span().first(layout.chunk_plain_bytes(chunk)));
      }
    });
  }
}

void decrypt_to_nothing(const Asset& asset) {
  on_all_cores(asset.chunks->layout(), [&](std::uint64_t chunk, MutableBytes plain) {
    value_or_throw(asset.chunks->open_chunk(chunk, plain, {}));
  });
}

/// First write of a file of the asset's size in the directory `dir_fd`, from all cores.
void first_write(const Asset& asset, int dir_fd, bool reserve) {
  const auto& layout = asset.chunks->layout();
  const Fd fd(openat(dir_fd, "written", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd) throw error_from_errno(errno, "written");
  unlinkat(dir_fd, "written", 0);
  if (ftruncate(fd.get(), static_cast<off_t>(layout.plaintext_bytes())) != 0) throw error_from_errno(errno, "written");
  if (reserve) (void)fallocate(fd.get(), 0, 0, static_cast<off_t>(layout.plaintext_bytes()));
  on_all_cores(layout, [&](std::uint64_t chunk, MutableBytes plain) {
    value_or_throw(pwrite_full(fd.get(), plain, layout.plain_offset(chunk), "written"));
  });
}

void deliver_files(const Asset& asset, deliver::Delivery& delivery) {
  value_or_throw(delivery.begin(*asset.manifest, asset.chunks->layout()));
  on_all_cores(asset.chunks->layout(), [&](std::uint64_t chunk, MutableBytes plain) {
    value_or_throw(asset.chunks->open_chunk(chunk, plain, {}));
    value_or_throw(delivery.chunk(chunk, plain));
  });
  value_or_throw(delivery.finish());
}

void read_to_the_end(int fd) {
  WipedBuffer buffer(kReadBytes);
  while (value_or_throw(read_full(fd, buffer.span(), "fifo")) == buffer.size()) {
  }
}

double thread_cpu_seconds() {
  timespec spent{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
  return double(spent.tv_sec) + double(spent.tv_nsec) / 1e9;
}

/// What a reader alone spends: read(2) of `bytes` from a pipe that always has pages for it, in turn from as much memory
/// as a delivery uses.
Cost readers_copy(std::uint64_t bytes) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) throw error_from_errno(errno, "pipe");
  const Fd reading(ends[0]);
  fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
  std::jthread writer([bytes, fd = Fd(ends[1])] {
    WipedBuffer memory(kTurnBytes);
    for (std::uint64_t at = 0; at < bytes;) {
      const std::size_t from = at % memory.size();
      const iovec pages{memory.data() + from, std::min<std::size_t>(memory.size() - from, bytes - at)};
      const ssize_t n = vmsplice(fd.get(), &pages, 1, 0);
      if (n <= 0) return;
      at += static_cast<std::uint64_t>(n);
    }
  });
  const double cpu = thread_cpu_seconds();
  Cost cost = cost_of([&] { read_to_the_end(reading.get()); });
  cost.cpu = thread_cpu_seconds() - cpu;
  return cost;
}

/// What the kernel spends on giving out `bytes` of huge pages, clearing them, and taking them back, a chunk at a time.
Cost fresh_pages(std::uint64_t bytes) {
  deliver::PipePages pages(kChunkBytes);
  const double cpu = thread_cpu_seconds();
  Cost cost = cost_of([&] {
    for (std::uint64_t at = 0; at < bytes; at += kChunkBytes) {
      for (std::size_t page = 0; page < kChunkBytes; page += 4096) pages.span()[page] = 1;
      pages.gave(kChunkBytes);
      pages.let_go();
    }
  });
  cost.cpu = thread_cpu_seconds() - cpu;
  return cost;
}

std::uint64_t resident_kib() {
  const std::string status = value_or_throw(read_small_file("/proc/self/status"));
  const auto at = status.find("RssAnon:");
  return at == std::string::npos ? 0 : std::strtoull(status.c_str() + at + 8, nullptr, 10);
}

/// Highest anonymous resident memory while it lives, without the ciphertext.
class Resident {
 public:
  explicit Resident(std::uint64_t ciphertext_bytes)
      : without_kib_(ciphertext_bytes >> 10), watcher_([this](const std::stop_token& stop) { watch(stop); }) {}
  double mib() {
    watcher_.request_stop();
    watcher_.join();
    return double(most_kib_ - std::min(most_kib_, without_kib_)) / 1024;
  }

 private:
  void watch(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      most_kib_ = std::max(most_kib_, resident_kib());
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  std::uint64_t without_kib_, most_kib_ = 0;
  std::jthread watcher_;
};

class Bench {
 public:
  Bench(std::string directory, std::uint64_t mib, unsigned rounds)
      : directory_(std::move(directory)), bytes_(mib << 20), rounds_(rounds), kernel_(deliver::probe_kernel()) {}

  void run() {
    if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
      throw error_from_errno(errno, "mounts of our own are measured (CAP_SYS_ADMIN)");
    }
    asset_ = seal(bytes_);
    {
      WipedBuffer(2 * bytes_).span().back() = 1;
    }
    for (unsigned i = 0; i < rounds_; ++i) round();
    report();
  }

 private:
  void note(const std::string& what, const Cost& cost) {
    walls_[what].push_back(cost.wall);
    cpus_[what].push_back(cost.cpu);
  }
  void measure(const std::string& what, const std::function<void()>& work) { note(what, cost_of(work)); }

  /// Uses as much memory as is about to be written, and frees it: the host takes back what lies idle for seconds.
  void warm() const {
    WipedBuffer memory(bytes_);
    for (std::size_t at = 0; at < memory.size(); at += 4096) memory.data()[at] = 1;
  }

  void round() {
    const auto& asset = *asset_;
    measure("decrypt to nothing", [&] { decrypt_to_nothing(asset); });
    note("reader's copy", readers_copy(bytes_));
    note("fresh pages", fresh_pages(bytes_));
    files("own tmpfs", true);
    files("plain tmpfs", false);
    deliver::Kernel copies = kernel_;
    copies.vmsplice = false;
    fifo("fifo, pages given", kernel_);
    fifo("fifo, write()", copies);
  }

  void files(const std::string& name, bool own) {
    {
      // The limit's first write goes to the same kind of file system.
      const auto mount = value_or_throw(
          deliver::OwnMount::make({.bytes = bytes_ + (std::uint64_t{4} << 20), .huge = own ? kernel_.tmpfs_huge : ""}));
      warm();
      measure("first write, " + name, [&] { first_write(*asset_, mount.root(), own && !kernel_.tmpfs_huge.empty()); });
    }
    auto delivery = deliver::make_tmpfs({directory_ + "/model", geteuid(), true, own, kernel_});
    warm();
    Resident resident(asset_->ciphertext->size());
    measure(name, [&] { deliver_files(*asset_, *delivery); });
    resident_[name] = std::max(resident_[name], resident.mib());
    measure("revoke, " + name, [&] { value_or_throw(delivery->revoke()); });
  }

  void fifo(const std::string& name, const deliver::Kernel& kernel) {
    const std::string path = directory_ + "/pipe";
    auto delivery = deliver::make_fifo({path, geteuid(), true, kernel});
    value_or_throw(delivery->begin(*asset_->manifest, asset_->chunks->layout()));
    delivery->serve(asset_->chunks);
    Resident resident(asset_->ciphertext->size());
    measure(name, [&] { read_to_the_end(value_or_throw(open_file(path, O_RDONLY)).get()); });
    resident_[name] = std::max(resident_[name], resident.mib());
    if (const auto fault = delivery->last_fault()) throw Error(*fault);
  }

  static double median(std::vector<double> values) {
    std::ranges::sort(values);
    return values[values.size() / 2];
  }
  double rate(const std::string& what) const { return double(bytes_) / median(walls_.at(what)) / 1e9; }

  /// Round by round: the time that `limit` gives, over the time that `what` took.
  double ratio(const std::string& what, const std::function<double(std::size_t round)>& limit) const {
    std::vector<double> ratios;
    for (std::size_t i = 0; i < rounds_; ++i) ratios.push_back(limit(i) / walls_.at(what)[i]);
    return median(ratios);
  }

  /// The other work on top of decryption's, at the pace at which all cores decrypted in the same round.
  double of_fifo_limit(const std::string& what, const std::vector<std::string>& others) const {
    return ratio(what, [&](std::size_t i) {
      const double decrypt = cpus_.at("decrypt to nothing")[i];
      double all = decrypt;
      for (const std::string& other : others) all += cpus_.at(other)[i];
      return walls_.at("decrypt to nothing")[i] * all / decrypt;
    });
  }

  void report() const {
    fmt::print("{} MiB, chunks of 4 MiB, {} rounds, medians, {} cores; tmpfs huge={}, noswap {}\n", bytes_ >> 20,
               rounds_, cores(), kernel_.tmpfs_huge.empty() ? "none" : kernel_.tmpfs_huge, kernel_.tmpfs_noswap);
    for (const auto& [what, walls] : walls_) {
      fmt::print("{:28} {:6.2f} GB/s  {:.3f} ns of processor time a byte\n", what, rate(what),
                 median(cpus_.at(what)) * 1e9 / double(bytes_));
    }
    for (const char* what : {"own tmpfs", "plain tmpfs"}) {
      const std::string write = std::string("first write, ") + what;
      const double of_limit =
          ratio(what, [&](std::size_t i) { return walls_.at("decrypt to nothing")[i] + walls_.at(write)[i]; });
      fmt::print("{:28} {:3.0f} % of decrypting to nothing and writing once, {:.0f} MiB resident\n", what,
                 100 * of_limit, resident_.at(what));
    }
    for (const char* what : {"fifo, pages given", "fifo, write()"}) {
      fmt::print("{:28} {:3.0f} % of decrypting and the reader's copy, {:.0f} MiB resident\n", what,
                 100 * of_fifo_limit(what, {"reader's copy"}), resident_.at(what));
    }
    fmt::print("{:28} {:3.0f} % of decrypting, the reader's copy and fresh pages\n", "fifo, pages given",
               100 * of_fifo_limit("fifo, pages given", {"reader's copy", "fresh pages"}));
    fmt::print("fifo: giving pages is {:.2f} times write()\n",
               ratio("fifo, pages given", [&](std::size_t i) { return walls_.at("fifo, write()")[i]; }));
    fmt::print("tmpfs: our own is {:.2f} times a plain one\n",
               ratio("own tmpfs", [&](std::size_t i) { return walls_.at("plain tmpfs")[i]; }));
  }

  std::string directory_;
  std::uint64_t bytes_;
  unsigned rounds_;
  deliver::Kernel kernel_;
  std::optional<Asset> asset_;
  std::map<std::string, std::vector<double>> walls_, cpus_;
  std::map<std::string, double> resident_;
};

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t mib = 2048, rounds = 5;
  for (int i = 2; i + 1 < argc; i += 2) {
    const std::string_view flag = argv[i];
    if (flag == "--mib") mib = std::strtoull(argv[i + 1], nullptr, 10);
    if (flag == "--rounds") rounds = std::strtoull(argv[i + 1], nullptr, 10);
  }
  if (argc < 2 || argc % 2 != 0 || mib == 0 || rounds == 0) {
    fmt::print(stderr, "usage: deliver_bench DIRECTORY [--mib N] [--rounds N]\n");
    return 2;
  }
  try {
    Bench(argv[1], mib, static_cast<unsigned>(rounds)).run();
    return 0;
  } catch (const Error& error) {
    fmt::print(stderr, "deliver_bench: {}\n", error.story());
    return 1;
  }
}
