// Ciphertext of one asset, kept while it is hydrated and after: in files (`TB_CACHE=disk`) or in memory.
//
// Only ciphertext ever stands here, so a disk is as good as memory. What is read back is believed by nobody: every
// reader opens the record again by its tag. The layout is that of the asset itself, so a reader finds any record by
// arithmetic and may use the cache as a tbenc::RandomSource. A record is stored first and marked once it has verified:
// only what is marked is present, now and for a later run.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/crypto.h"
#include "base/fs.h"
#include "base/result.h"
#include "hydrate/cache_files.h"
#include "tbenc/header.h"
#include "tbenc/layout.h"
#include "tbenc/source.h"

namespace tb::hydrate {

class Cache final : public tbenc::RandomSource {
 public:
  /// What an earlier run of this manifest left in `directory`, or a new one. Errors of open_cache_files.
  static Result<std::shared_ptr<Cache>> on_disk(const std::string& directory, const Digest& manifest_sha256,
                                                const tbenc::Layout& layout);
  /// In anonymous memory, on huge pages where they are to be had: "memory_short" before a byte is written if it does
  /// not fit.
  static Result<std::shared_ptr<Cache>> in_memory(const Digest& manifest_sha256, const tbenc::Layout& layout);
  ~Cache() override;

  bool is_of(const Digest& manifest_sha256, const tbenc::Layout& layout) const {
    return manifest_sha256_ == manifest_sha256 && layout_ == layout;
  }
  const tbenc::Layout& layout() const { return layout_; }

  /// The asset's header as it stands here; "header_malformed" where none was stored.
  Result<tbenc::Header> header() const;
  Result<> store_header(const tbenc::Header& header);

  /// Writes bytes of the record `chunk`, which is not present yet, from its byte `at` on. Different chunks may be
  /// written at once. "disk_full", "io_error".
  Result<> store(std::uint64_t chunk, std::size_t at, ByteView piece);
  /// All of the record was stored and has verified: it is present. A crash of the process loses at most the last MiB of
  /// marks.
  void mark(std::uint64_t chunk);
  /// `out` has layout().record_bytes(chunk) bytes; the record must be present.
  Result<> read_record(std::uint64_t chunk, MutableBytes out) const;
  bool is_in_memory() const { return memory_ != nullptr; }
  /// The same where it stands, of a cache in memory; empty for one on a disk.
  ByteView record_in_memory(std::uint64_t chunk) const;
  bool present(std::uint64_t chunk) const;
  /// A record that did not verify: it has to be fetched again.
  void forget(std::uint64_t chunk);
  /// The same for all of them.
  void forget_all();
  /// Every record is present.
  bool complete() const;

  // tbenc::RandomSource, over the whole file, header included.
  std::uint64_t size() const override { return layout_.ciphertext_bytes(); }
  Result<> read_at(std::uint64_t offset, MutableBytes out) const override;
  std::string name() const override { return "ciphertext cache"; }

 private:
  struct Unmap {
    std::size_t bytes;
    void operator()(std::uint8_t* memory) const;
  };
  using Memory = std::unique_ptr<std::uint8_t, Unmap>;

  Cache(CacheFiles files, Memory memory, const Digest& manifest_sha256, const tbenc::Layout& layout);
  Result<> write_at(std::uint64_t offset, ByteView bytes);
  void write_bits(std::uint64_t first_byte, std::uint64_t last_byte);
  void note_dirty(std::uint64_t chunk);
  void flush();

  Digest manifest_sha256_;
  tbenc::Layout layout_;
  Fd fd_, journal_;
  Memory memory_;  ///< instead of fd_ and journal_, for in_memory()
  mutable std::mutex mutex_;
  std::vector<bool> present_;
  std::uint64_t present_count_ = 0;
  std::uint64_t dirty_first_ = 0, dirty_last_ = 0;  ///< bytes of the journal's bits
  std::uint64_t dirty_chunks_ = 0;
};

}  // namespace tb::hydrate
