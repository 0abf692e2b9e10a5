#include "bench/hydrate_ways.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>

#include "deliver/fifo.h"
#include "deliver/mount.h"
#include "deliver/tmpfs.h"
#include "tbenc/parallel.h"

namespace tb::bench {
namespace {

/// Pieces come in 16 KiB; a download that writes each of them would be slower.
constexpr std::size_t kWriteBytes = std::size_t{1} << 20;

void run_program(std::vector<std::string> arguments) {
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t quiet;
  posix_spawn_file_actions_init(&quiet);
  posix_spawn_file_actions_addopen(&quiet, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t child = -1;
  int status = -1;
  if (posix_spawn(&child, argv[0], &quiet, nullptr, argv.data(), environ) == 0) waitpid(child, &status, 0);
  posix_spawn_file_actions_destroy(&quiet);
  if (status != 0) throw Error("internal", arguments[0] + " failed");
}

void download_range(blob::BlobSource& source, int file, std::uint64_t from, std::uint64_t bytes) {
  Bytes gathered;
  gathered.reserve(kWriteBytes + (std::size_t{16} << 10));
  const auto flush = [&] {
    value_or_throw(pwrite_full(file, gathered, from, "download"));
    from += gathered.size();
    gathered.clear();
  };
  source.fetch(from, bytes, [&](ByteView piece) {
    gathered.insert(gathered.end(), piece.begin(), piece.end());
    if (gathered.size() >= kWriteBytes) flush();
  });
  flush();
}

void require_bytes(std::uint64_t got, std::uint64_t expected) {
  if (got != expected) throw Error("internal", fmt::format("{} bytes were delivered, not {}", got, expected));
}

}  // namespace

hydrate::Options Ways::options(hydrate::CacheKind cache, const std::string& directory) const {
  return {.connections = settings_.connections,
          .request_bytes = settings_.request_bytes,
          .cache = cache,
          .cache_directory = directory + "/cache"};
}

Ways::Series Ways::series() const {
  const Workplace place(settings_.directory);
  const std::string path = place.path() + "/model.tbenc";
  const std::uint64_t bytes = asset_.layout().ciphertext_bytes();
  Series series;
  series.download = asset_.cost_of([&] {
    Download download(asset_.url());
    const Fd file = value_or_throw(open_file(path, O_WRONLY | O_CREAT | O_EXCL));
    if (ftruncate(file.get(), static_cast<off_t>(bytes)) != 0) throw error_from_errno(errno, path);
    std::atomic<std::uint64_t> next = 0;
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < settings_.connections; ++i) {
      threads.emplace_back([&] {
        for (std::uint64_t from; (from = next.fetch_add(settings_.request_bytes)) < bytes;) {
          download_range(download.source, file.get(), from, std::min(settings_.request_bytes, bytes - from));
        }
      });
    }
  });
  series.hash = asset_.cost_of([&] {
    const auto source = value_or_throw(tbenc::FileSource::open(path));
    const Digest digest = value_or_throw(tbenc::sha256_of(source));
    if (to_hex(digest) != asset_.manifest().sha256_ciphertext()) throw Error("internal", "another SHA-256");
  });
  series.decrypt = asset_.cost_of([&] {
    run_program({settings_.trustbridge, "decrypt", path, "--manifest", asset_.manifest_path(), "--key-file",
                 asset_.key_path(), "--out", place.path() + "/model.bin", "--quiet"});
  });
  return series;
}

Cost Ways::files(hydrate::CacheKind cache) const {
  const Workplace place(settings_.directory);
  std::unique_ptr<deliver::Delivery> delivery;
  const Cost cost = asset_.cost_of([&] {
    Download download(asset_.url());
    hydrate::Hydration hydration(options(cache, place.path()), asset_.authenticated(), asset_.key(), download.source);
    delivery = deliver::make_tmpfs({place.path() + "/model", geteuid(), true, true, kernel_});
    hydration.run(*delivery, {});
  });
  const Fd file = value_or_throw(open_file(delivery->path(), O_RDONLY));
  require_bytes(value_or_throw(file_size(file.get(), "model")), asset_.layout().plaintext_bytes());
  value_or_throw(delivery->revoke());
  return cost;
}

Cost Ways::fifo(hydrate::CacheKind cache) const {
  const Workplace place(settings_.directory);
  std::unique_ptr<deliver::Delivery> delivery;
  const Cost cost = asset_.cost_of([&] {
    Download download(asset_.url());
    auto hydration = std::make_shared<hydrate::Hydration>(options(cache, place.path()), asset_.authenticated(),
                                                          asset_.key(), download.source);
    delivery = deliver::make_fifo({place.path() + "/pipe", geteuid(), true, kernel_});
    value_or_throw(delivery->begin(asset_.manifest(), hydration->layout()));
    hydration->prepare(true, {});
    hydration->verify(nullptr, {});
    delivery->serve(hydration);
    const Fd pipe = value_or_throw(open_file(delivery->path(), O_RDONLY));
    require_bytes(read_to_the_end(pipe.get(), kPipeReadBytes), asset_.layout().plaintext_bytes());
    // The hydration ends with the delivery, before the download that it uses.
    value_or_throw(delivery->revoke());
    delivery.reset();
  });
  return cost;
}

Cost Ways::mount(hydrate::CacheKind cache, bool lazy) const {
  const Workplace place(settings_.directory);
  Download download(asset_.url());
  auto hydration = std::make_shared<hydrate::Hydration>(options(cache, place.path()), asset_.authenticated(),
                                                        asset_.key(), download.source);
  const auto delivery = deliver::make_mount({place.path() + "/model", geteuid(), true});
  const Cost cost = asset_.cost_of([&] {
    value_or_throw(delivery->begin(asset_.manifest(), hydration->layout()));
    hydration->prepare(true, {});
    delivery->serve(hydration);
    if (!lazy) hydration->verify(delivery.get(), {});
    std::jthread rest;
    if (lazy) rest = std::jthread([&] { hydration->verify(delivery.get(), {}); });
    const Fd file = value_or_throw(open_file(delivery->path(), O_RDONLY));
    require_bytes(read_to_the_end(file.get(), kFileReadBytes), asset_.layout().plaintext_bytes());
  });
  value_or_throw(delivery->revoke());
  return cost;
}

double Ways::first_byte(hydrate::CacheKind cache, const std::string& cache_directory) const {
  const Workplace place(settings_.directory);
  const Workplace cache_place(cache_directory);
  std::stop_source stop;
  const double start = seconds_now();
  Download download(asset_.url());
  auto hydration = std::make_shared<hydrate::Hydration>(options(cache, cache_place.path()), asset_.authenticated(),
                                                        asset_.key(), download.source);
  const auto delivery = deliver::make_mount({place.path() + "/model", geteuid(), true});
  value_or_throw(delivery->begin(asset_.manifest(), hydration->layout()));
  hydration->prepare(true, stop.get_token());
  delivery->serve(hydration);
  const std::jthread rest([&] {
    try {
      hydration->verify(delivery.get(), stop.get_token());
    } catch (const Error& error) {
      if (error.reason != "cancelled") throw;
    }
  });
  const Fd file = value_or_throw(open_file(delivery->path(), O_RDONLY));
  Bytes first(4096);
  require_bytes(value_or_throw(pread_full(file.get(), first, 0, "model")), first.size());
  const double took = seconds_now() - start;
  stop.request_stop();
  value_or_throw(delivery->revoke());
  return took;
}

}  // namespace tb::bench
