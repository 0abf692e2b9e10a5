#include "azure/block_sender.h"

#include <algorithm>

#include "base/crc64.h"

namespace tb::azure {
namespace {

constexpr std::size_t kWindowBytes = std::size_t{256} << 10;

/// For a service that does not know CRC64, made on the worker: the bytes must still be those whose CRC64 was taken
/// while the whole was hashed.
std::array<std::uint8_t, 16> md5_of(const OutgoingBlock& block) {
  Md5 md5;
  Crc64 crc;
  Bytes window(static_cast<std::size_t>(std::min<std::uint64_t>(kWindowBytes, block.bytes)));
  for (std::uint64_t at = 0; at < block.bytes; at += window.size()) {
    const MutableBytes piece(window.data(), std::min<std::uint64_t>(window.size(), block.bytes - at));
    block.read(at, piece);
    md5.update(piece);
    crc.update(piece);
  }
  if (crc.value() != block.crc64) throw Error("source_changed", "what is uploaded was changed meanwhile");
  return md5.finish();
}

}  // namespace

BlockSender::BlockSender(BlockService& service, std::string blob, SendOptions options)
    : service_(service), blob_(std::move(blob)), options_(std::move(options)) {
  for (unsigned i = 0; i < std::max(1U, options_.parallel); ++i) workers_.emplace_back([this] { serve(); });
}

BlockSender::~BlockSender() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    waiting_.clear();
  }
  stop_.request_stop();
  changed_.notify_all();
}

void BlockSender::submit(OutgoingBlock block) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return fault_ || idle_ > waiting_.size(); });
  if (fault_) throw Error(*fault_);
  waiting_.push_back(std::move(block));
  changed_.notify_all();
}

void BlockSender::skip(std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  done_bytes_ += bytes;
  if (options_.progress) options_.progress(done_bytes_);
}

void BlockSender::finish() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return fault_ || (waiting_.empty() && busy_ == 0); });
  ended_ = true;
  changed_.notify_all();
  if (fault_) throw Error(*fault_);
}

void BlockSender::serve() {
  std::unique_lock lock(mutex_);
  ++idle_;
  changed_.notify_all();
  for (;;) {
    changed_.wait(lock, [&] { return ended_ || fault_ || !waiting_.empty(); });
    if (fault_ || waiting_.empty()) return;
    const OutgoingBlock block = std::move(waiting_.front());
    waiting_.pop_front();
    --idle_;
    ++busy_;
    lock.unlock();
    std::optional<Error> fault;
    try {
      send(block);
    } catch (const Error& error) {
      fault = error;
    } catch (const std::bad_alloc&) {
      fault = Error("out_of_memory", "no memory for a block");
    }
    lock.lock();
    ++idle_;
    --busy_;
    if (fault) {
      if (!fault_) fault_ = std::move(fault);
      stop_.request_stop();
    } else {
      done_bytes_ += block.bytes;
      if (options_.progress) options_.progress(done_bytes_);
    }
    changed_.notify_all();
  }
}

void BlockSender::send(const OutgoingBlock& block) {
  const BlockService::BlockSums sums{.crc64 = block.crc64, .md5 = [&] { return md5_of(block); }};
  // At once; after a refusal, which may have come in the middle of the bytes, only when the store is ready for them.
  bool again = false;
  service_.put_block(
      blob_, block.id, block.bytes, sums,
      [&]() -> http::ClientBody {
        return http::PulledBody{.length = block.bytes,
                                .read =
                                    [this, &block](std::uint64_t offset, MutableBytes out) {
                                      if (options_.limit) options_.limit->take(out.size(), stop_.get_token());
                                      block.read(offset, out);
                                    },
                                .ask_first = std::exchange(again, true)};
      },
      stop_.get_token());
}

}  // namespace tb::azure
