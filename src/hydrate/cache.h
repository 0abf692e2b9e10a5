// Ciphertext of one asset, kept while it is hydrated and after: a file beside (`TB_CACHE=disk`) or memory.
//
// Only ciphertext ever stands here, so a disk is as good as memory. What is read back is believed by nobody: every
// reader opens the record again by its tag. The file has the layout of the asset itself, so a reader finds any record
// by arithmetic and may use it as a tbenc::RandomSource; `present` says which records have been written. The file has
// no name from the moment it is open: a crash leaves nothing behind.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <vector>

#include "base/fs.h"
#include "base/result.h"
#include "tbenc/header.h"
#include "tbenc/layout.h"
#include "tbenc/source.h"

namespace tb::hydrate {

enum class CacheKind { kDisk, kMemory };

class Cache final : public tbenc::RandomSource {
 public:
  /// Reserves layout.ciphertext_bytes(): in `directory` for kDisk (made 0700 if it is not there), in anonymous memory
  /// for kMemory. "disk_full" or "memory_short" before a byte is written if they do not fit. The header is written at
  /// once.
  static Result<std::shared_ptr<Cache>> create(CacheKind kind, const std::string& directory,
                                               const tbenc::Layout& layout, const tbenc::Header& header);

  const tbenc::Layout& layout() const { return layout_; }
  const tbenc::Header& header() const { return header_; }

  /// Whole record `chunk`, layout.record_bytes(chunk) bytes. Different chunks may be written at once.
  Result<> write_record(std::uint64_t chunk, ByteView record);
  /// `out` has layout.record_bytes(chunk) bytes; the record must be present.
  Result<> read_record(std::uint64_t chunk, MutableBytes out) const;
  bool present(std::uint64_t chunk) const;
  /// Waits until record `chunk` is there; false if stopped before.
  bool wait_for(std::uint64_t chunk, std::stop_token stop) const;
  /// A record that did not verify: it has to be fetched again.
  void forget(std::uint64_t chunk);
  /// Every record has been written.
  bool complete() const;

  // tbenc::RandomSource, over the whole file, header included.
  std::uint64_t size() const override { return layout_.ciphertext_bytes(); }
  Result<> read_at(std::uint64_t offset, MutableBytes out) const override;
  std::string name() const override { return "ciphertext cache"; }

 private:
  Cache(Fd fd, const tbenc::Layout& layout, const tbenc::Header& header);

  Fd fd_;
  tbenc::Layout layout_;
  tbenc::Header header_;
  mutable std::mutex mutex_;
  mutable std::condition_variable_any arrived_;
  std::vector<bool> present_;
  std::uint64_t present_count_ = 0;
};

}  // namespace tb::hydrate
