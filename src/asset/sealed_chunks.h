// A ChunkSource over ciphertext that lies where it can be read at any offset: a file, a cache.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "asset/chunk_source.h"
#include "base/secret.h"
#include "tbenc/chunk.h"
#include "tbenc/random_access.h"
#include "tbenc/source.h"

namespace tb::asset {

class SealedChunks final : public ChunkSource {
 public:
  /// Reads the header once and checks it and the file's size against `known`; without a known plaintext length the end
  /// is not authenticated. Errors of tbenc::read_head.
  static Result<std::shared_ptr<SealedChunks>> open(const FileKey& key,
                                                    std::shared_ptr<const tbenc::RandomSource> source,
                                                    const tbenc::Known& known);

  const tbenc::Layout& layout() const override { return head_.layout; }
  /// One cipher and a small buffer for each call at the same time, kept for the next ones.
  Result<> open_chunk(std::uint64_t index, MutableBytes plain, std::stop_token stop) override;
  bool end_authenticated() const { return head_.end_authenticated; }

 private:
  struct Bench {
    tbenc::ChunkCipher cipher;
    Bytes piece;
  };
  SealedChunks(const FileKey& key, std::shared_ptr<const tbenc::RandomSource> source, const tbenc::FileHead& head);
  std::unique_ptr<Bench> take();
  Result<> open_with(Bench& bench, std::uint64_t index, MutableBytes plain) const;

  tbenc::ChunkCipher cipher_;
  std::shared_ptr<const tbenc::RandomSource> source_;
  tbenc::FileHead head_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Bench>> idle_;
};

}  // namespace tb::asset
