// One asset into a container: the ciphertext as a blob of blocks, then the manifest, both made only where nothing is,
// or in place of just what was seen (`overwrite`). What the service answers is looked at afterwards, and a write whose
// answer was lost is never repeated before looking.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "azure/block_sender.h"
#include "tbenc/sink.h"
#include "tbenc/source.h"

namespace tb::azure {

struct BlobUploadOptions {
  SendOptions send;
  std::uint64_t block_bytes = 0;  ///< 0: as BlockPlan chooses
  bool overwrite = false;
};

struct UploadedBlob {
  std::string url, etag, sha256;
  std::uint64_t bytes = 0;
  std::uint64_t sent_bytes = 0;
  std::uint32_t blocks_sent = 0, blocks_skipped = 0;  ///< skipped: the service had them from an earlier attempt
  bool already_there = false;
};

/// What is under a name, compared with what shall be there. Throws "blob_conflict" for other content without
/// `overwrite`; a blob of that length without our note of its SHA-256 is read and hashed.
struct Standing {
  bool same = false;
  BlobState state;            ///< of `same`
  Precondition precondition;  ///< of the write, if not
};
Standing standing_of(BlockService& service, const std::string& blob, std::uint64_t bytes, const std::string& sha256,
                     bool overwrite);

/// A file, whose SHA-256 must turn out to be `sha256` (hex): else "ciphertext_digest_mismatch" or, if it was written to
/// meanwhile, "source_changed", and nothing appears. Blocks of an earlier attempt are used if their names prove them to
/// be of this content. Throws the errors of BlockService, "blob_conflict", "upload_blocks_lost", "cancelled".
UploadedBlob upload_file(BlockService& service, const std::string& blob, const tbenc::RandomSource& file,
                         const std::string& sha256, const BlobUploadOptions& options);

/// A text, in one piece.
UploadedBlob upload_text(BlockService& service, const std::string& blob, const std::string& text, bool overwrite);

/// Content that is made on the way, once, in order: held in memory until the service has it, in parallel + 1 blocks.
class BlockStream final : public tbenc::Sink {
 public:
  /// `total_bytes` are to come. Nothing is asked yet. Throws as BlockPlan.
  BlockStream(BlockService& service, std::string blob, std::uint64_t total_bytes, const BlobUploadOptions& options);
  Result<> write(ByteView bytes) override;
  /// Sends the last block and waits until the service has all. Throws the fault of any.
  void finish();
  /// Makes the blob appear. `sha256` (hex) is that of all that was written.
  UploadedBlob commit(const std::string& sha256, const Precondition& precondition);

  /// So many blocks of `block_bytes` at once keep within the memory that uploads may take.
  static unsigned most_parallel(std::uint64_t block_bytes);

 private:
  struct Spare;  ///< buffers that the service has done with: from the allocator anew they would scatter over its arenas
  std::shared_ptr<Bytes> buffer(std::uint64_t bytes);
  void send_block();
  BlockService& service_;
  const std::string blob_;
  const BlockPlan plan_;
  Digest tag_{};  ///< of this run alone: its blocks are never taken for another's
  std::vector<std::string> ids_;
  std::shared_ptr<Spare> spare_;
  std::shared_ptr<Bytes> block_;
  BlockSender sender_;
};

}  // namespace tb::azure
