// The work that a byte of a hydration needs at least, each part alone: what the whole is held against.
#pragma once

#include <string>

#include "bench/served_asset.h"
#include "deliver/kernel.h"
#include "hydrate/hydration.h"

namespace tb::bench {

/// Where one run downloads, caches and delivers: a new folder, gone with the object.
class Workplace {
 public:
  explicit Workplace(const std::string& directory);
  ~Workplace();
  Workplace(const Workplace&) = delete;
  Workplace& operator=(const Workplace&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

class Stages {
 public:
  Stages(const ServedAsset& asset, std::string directory);

  /// Ranges over so many connections, their bytes dropped.
  Cost fetch(unsigned connections) const;
  /// Every record opened on all cores, out of a mapping of the ciphertext into a buffer that stays in the caches.
  Cost open() const;
  /// First write of the model's file in our own tmpfs. One thread: a file is written under its lock.
  Cost write_files(const deliver::Kernel& kernel) const;
  /// A new ciphertext cache filled (one thread, for the same reason), then read on all cores.
  struct CacheCosts {
    Cost write, read;
  };
  CacheCosts cache(hydrate::CacheKind kind) const;
  /// What a reader alone spends on a pipe that always has pages for it.
  Cost read_pipe() const;
  /// A mounted file of zeros of the model's size, read once through the page cache: kernel, session and reader.
  Cost read_mount() const;

 private:
  /// Calls `each` for every chunk with a buffer of one record.
  void on_threads(unsigned count, const std::function<void(std::uint64_t chunk, MutableBytes record)>& each) const;

  const ServedAsset& asset_;
  std::string directory_;
};

/// Reads a descriptor to its end by read(2) of `piece_bytes`; returns how many bytes came.
std::uint64_t read_to_the_end(int fd, std::size_t piece_bytes);

/// Reads as `cat` does, and as a runtime loads.
inline constexpr std::size_t kPipeReadBytes = std::size_t{128} << 10;
inline constexpr std::size_t kFileReadBytes = std::size_t{1} << 20;

}  // namespace tb::bench
