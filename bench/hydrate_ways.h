// Whole hydrations, from a manifest in hand to the last plaintext byte at its reader, and the way without TrustBridge's
// single pass: download, hash, decrypt, one after the other.
#pragma once

#include <string>

#include "bench/hydrate_stages.h"

namespace tb::bench {

struct WaySettings {
  std::string directory;    ///< in memory
  std::string trustbridge;  ///< the command, for the series
  unsigned connections = 4;
  std::uint64_t request_bytes = kRequestBytes;
};

class Ways {
 public:
  Ways(const ServedAsset& asset, const deliver::Kernel& kernel, WaySettings settings)
      : asset_(asset), kernel_(kernel), settings_(std::move(settings)) {}

  struct Series {
    Cost download, hash, decrypt;
    Cost sum() const {
      Cost all = download;
      return (all += hash) += decrypt;
    }
  };
  /// Parallel ranges to a file, then its SHA-256, then `trustbridge decrypt` to a new file.
  Series series() const;

  /// Hydration::run into our own tmpfs; with kMemory nothing is kept beside it.
  Cost files(hydrate::CacheKind cache) const;
  /// Everything verified into the cache, then the FIFO read to its end.
  Cost fifo(hydrate::CacheKind cache) const;
  /// The model read to its end through a mount: after everything was verified or, `lazy`, while it comes.
  Cost mount(hydrate::CacheKind cache, bool lazy) const;
  /// Seconds until the first bytes could be read through a lazy mount.
  double first_byte(hydrate::CacheKind cache, const std::string& cache_directory) const;

 private:
  hydrate::Options options(hydrate::CacheKind cache, const std::string& directory) const;

  const ServedAsset& asset_;
  const deliver::Kernel& kernel_;
  WaySettings settings_;
};

}  // namespace tb::bench
