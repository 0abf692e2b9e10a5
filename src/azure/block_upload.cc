#include "azure/block_upload.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/crc64.h"

namespace tb::azure {
namespace {

constexpr std::size_t kWindowBytes = std::size_t{256} << 10;
/// Of blocks that are made on the way.
constexpr std::uint64_t kMemoryBytes = std::uint64_t{160} << 20;
/// How often blocks that the service has lost are sent anew.
constexpr int kRounds = 3;

Error conflict(const std::string& url, const std::string& what) {
  return Error("blob_conflict", fmt::format("{} is there already, {}", url, what))
      .with_hint(
          "use another asset id; --overwrite replaces it, and breaks what was registered or is being downloaded");
}

std::string read_back(BlockService& service, const std::string& blob, const std::string& etag) {
  Sha256 hash;
  service.read(blob, etag, [&](ByteView piece) { hash.update(piece); });
  return to_hex(hash.finish());
}

/// True if the blob now is what was to be written.
std::optional<BlobState> written_state(BlockService& service, const std::string& blob, std::uint64_t bytes,
                                       const std::string& sha256) {
  auto state = service.state(blob);
  if (!state || state->bytes != bytes || state->sha256 != sha256) return std::nullopt;
  return state;
}

using Write = std::function<BlockService::Written()>;

/// Writes, and looks whenever the outcome is not known. Nothing if the service has lost the blocks.
std::optional<BlobState> write_once(BlockService& service, const std::string& blob, std::uint64_t bytes,
                                    const std::string& sha256, const Write& write) {
  using enum BlockService::Written::How;
  for (int attempt = 1;; ++attempt) {
    const BlockService::Written written = write();
    if (const auto state = written_state(service, blob, bytes, sha256)) {
      if (written.how == kDone && !written.etag.empty() && written.etag != state->etag) {
        throw Error("blob_changed", service.url(blob) + " was replaced as soon as it was written");
      }
      return state;
    }
    switch (written.how) {
      case kDone:
        throw Error("upload_unverified", service.url(blob) + " is not there as it was written");
      case kPreconditionFailed:
        throw conflict(service.url(blob), "with other content that came meanwhile");
      case kBlocksLost:
        return std::nullopt;
      case kUnknown:
        service.pause(attempt, *written.fault);
    }
  }
}

UploadedBlob uploaded(BlockService& service, const std::string& blob, const BlobState& state,
                      const std::string& sha256) {
  return {.url = service.url(blob), .etag = state.etag, .sha256 = sha256, .bytes = state.bytes};
}

// One pass over a file: hashes it in order, names its blocks, and gives those to the sender that the service lacks.
class FilePass {
 public:
  FilePass(BlockService& service, std::string blob, const tbenc::RandomSource& file, BlockPlan plan,
           const BlobUploadOptions& options)
      : service_(service), blob_(std::move(blob)), file_(file), plan_(plan), options_(options) {}

  /// Names of all blocks; the file's SHA-256 is then sha256().
  std::vector<std::string> run() {
    std::map<std::string, std::uint64_t> held;
    for (HeldBlock& block : service_.uncommitted(blob_)) held.emplace(std::move(block.id), block.bytes);
    std::vector<std::string> ids;
    BlockSender sender(service_, blob_, options_.send);
    Sha256 hash;
    Bytes window(kWindowBytes);
    for (std::uint32_t number = 0; number < plan_.count(); ++number) {
      if (service_.stop().stop_requested()) throw Error("cancelled", "interrupted");
      const Block block = plan_.block(number);
      Crc64 crc;
      for (std::uint64_t at = 0; at < block.bytes; at += window.size()) {
        const MutableBytes piece(window.data(), std::min<std::uint64_t>(window.size(), block.bytes - at));
        value_or_throw(file_.read_at(block.offset + at, piece));
        hash.update(piece);
        crc.update(piece);
      }
      ids.push_back(plan_.id(number, Sha256(hash).finish()));
      const auto found = held.find(ids.back());
      if (found != held.end() && found->second == block.bytes) {
        ++skipped_;
        sender.skip(block.bytes);
        continue;
      }
      ++sent_;
      sent_bytes_ += block.bytes;
      sender.submit({.id = ids.back(),
                     .bytes = block.bytes,
                     .crc64 = crc.value(),
                     .read = [this, block](std::uint64_t offset, MutableBytes out) {
                       value_or_throw(file_.read_at(block.offset + offset, out));
                     }});
    }
    sender.finish();
    sha256_ = to_hex(hash.finish());
    return ids;
  }

  const std::string& sha256() const { return sha256_; }
  std::uint32_t sent() const { return sent_; }
  std::uint32_t skipped() const { return skipped_; }
  std::uint64_t sent_bytes() const { return sent_bytes_; }

 private:
  BlockService& service_;
  std::string blob_;
  const tbenc::RandomSource& file_;
  BlockPlan plan_;
  const BlobUploadOptions& options_;
  std::string sha256_;
  std::uint32_t sent_ = 0, skipped_ = 0;
  std::uint64_t sent_bytes_ = 0;
};

}  // namespace

Standing standing_of(BlockService& service, const std::string& blob, std::uint64_t bytes, const std::string& sha256,
                     bool overwrite) {
  auto state = service.state(blob);
  if (!state) return {};
  if (state->bytes == bytes && !sha256.empty()) {
    const std::string there = state->sha256.empty() ? read_back(service, blob, state->etag) : state->sha256;
    if (there == sha256) return {.same = true, .state = std::move(*state)};
  }
  if (!overwrite) throw conflict(service.url(blob), "with other content");
  return {.precondition = {.etag = state->etag}};
}

UploadedBlob upload_file(BlockService& service, const std::string& blob, const tbenc::RandomSource& file,
                         const std::string& sha256, const BlobUploadOptions& options) {
  const BlockPlan plan = value_or_throw(BlockPlan::make(file.size(), options.block_bytes));
  const Standing standing = standing_of(service, blob, file.size(), sha256, options.overwrite);
  if (standing.same) {
    UploadedBlob there = uploaded(service, blob, standing.state, sha256);
    there.already_there = true;
    return there;
  }
  for (int round = 1;; ++round) {
    FilePass pass(service, blob, file, plan, options);
    std::vector<std::string> ids;
    try {
      ids = pass.run();
    } catch (const Error& error) {
      // A file that changes under the sender's hands is refused by the service as damaged: name the cause.
      if (error.code() != Code::kCancelled) value_or_throw(file.check_unchanged());
      throw;
    }
    value_or_throw(file.check_unchanged());
    if (pass.sha256() != sha256) {
      throw Error("ciphertext_digest_mismatch", file.name() + " has another SHA-256 than its manifest says");
    }
    const auto state = write_once(service, blob, file.size(), sha256,
                                  [&] { return service.put_block_list(blob, ids, sha256, standing.precondition); });
    if (state) {
      UploadedBlob done = uploaded(service, blob, *state, sha256);
      done.sent_bytes = pass.sent_bytes();
      done.blocks_sent = pass.sent();
      done.blocks_skipped = pass.skipped();
      return done;
    }
    if (round == kRounds) {
      throw Error("upload_blocks_lost", "the store has lost blocks of this upload: something else writes to that blob");
    }
  }
}

UploadedBlob upload_text(BlockService& service, const std::string& blob, const std::string& text, bool overwrite) {
  const std::string sha256 = sha256_hex(text);
  const Standing standing = standing_of(service, blob, text.size(), sha256, overwrite);
  if (standing.same) {
    UploadedBlob there = uploaded(service, blob, standing.state, sha256);
    there.already_there = true;
    return there;
  }
  const auto state = write_once(service, blob, text.size(), sha256, [&] {
    return service.put_blob(blob, text, "application/json", standing.precondition);
  });
  if (!state) throw Error("upload_blocks_lost", "the store does not take " + service.url(blob));
  UploadedBlob done = uploaded(service, blob, *state, sha256);
  done.sent_bytes = text.size();
  return done;
}

// ---- made on the way ----

unsigned BlockStream::most_parallel(std::uint64_t block_bytes) {
  return static_cast<unsigned>(std::max<std::uint64_t>(2, kMemoryBytes / block_bytes) - 1);
}

struct BlockStream::Spare {
  std::mutex mutex;
  std::vector<Bytes> buffers;
};

std::shared_ptr<Bytes> BlockStream::buffer(std::uint64_t bytes) {
  Bytes taken;
  {
    const std::lock_guard lock(spare_->mutex);
    if (!spare_->buffers.empty()) {
      taken = std::move(spare_->buffers.back());
      spare_->buffers.pop_back();
    }
  }
  taken.clear();
  taken.reserve(bytes);
  return {new Bytes(std::move(taken)), [spare = spare_](Bytes* done) {
            const std::unique_ptr<Bytes> owner(done);
            const std::lock_guard lock(spare->mutex);
            spare->buffers.push_back(std::move(*done));
          }};
}

BlockStream::BlockStream(BlockService& service, std::string blob, std::uint64_t total_bytes,
                         const BlobUploadOptions& options)
    : service_(service),
      blob_(std::move(blob)),
      plan_(value_or_throw(BlockPlan::make(total_bytes, options.block_bytes))),
      spare_(std::make_shared<Spare>()),
      sender_(service_, blob_, [&] {
        SendOptions send = options.send;
        send.parallel = std::min(send.parallel, most_parallel(plan_.block_bytes()));
        return send;
      }()) {
  random_bytes(tag_);
}

Result<> BlockStream::write(ByteView bytes) {
  try {
    while (!bytes.empty()) {
      if (ids_.size() == plan_.count()) return fail("source_changed", "more came than was to be uploaded");
      const std::uint64_t room = plan_.block(static_cast<std::uint32_t>(ids_.size())).bytes;
      if (!block_) block_ = buffer(room);
      const auto piece = bytes.first(std::min<std::uint64_t>(bytes.size(), room - block_->size()));
      block_->insert(block_->end(), piece.begin(), piece.end());
      bytes = bytes.subspan(piece.size());
      if (block_->size() == room) send_block();
    }
    return {};
  } catch (const Error& error) {
    return fail(error);
  }
}

void BlockStream::send_block() {
  Crc64 crc;
  crc.update(*block_);
  ids_.push_back(plan_.id(static_cast<std::uint32_t>(ids_.size()), tag_));
  OutgoingBlock out{.id = ids_.back(), .bytes = block_->size(), .crc64 = crc.value()};
  out.read = [block = std::move(block_)](std::uint64_t offset, MutableBytes into) {
    std::copy_n(block->begin() + static_cast<std::ptrdiff_t>(offset), into.size(), into.begin());
  };
  block_.reset();
  sender_.submit(std::move(out));
}

void BlockStream::finish() {
  if (ids_.size() != plan_.count()) throw Error("source_changed", "less came than was to be uploaded");
  sender_.finish();
}

UploadedBlob BlockStream::commit(const std::string& sha256, const Precondition& precondition) {
  const auto state = write_once(service_, blob_, plan_.total_bytes(), sha256,
                                [&] { return service_.put_block_list(blob_, ids_, sha256, precondition); });
  if (!state)
    throw Error("upload_blocks_lost", "the store has lost blocks of this upload: something else writes to that blob");
  UploadedBlob done = uploaded(service_, blob_, *state, sha256);
  done.sent_bytes = plan_.total_bytes();
  done.blocks_sent = plan_.count();
  return done;
}

}  // namespace tb::azure
