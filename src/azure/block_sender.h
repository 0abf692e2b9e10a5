// Blocks on their way over several connections: a bounded queue in front of as many workers. Whoever submits waits
// while all are busy, so no more than `parallel` blocks and one are held at a time.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "async/rate_limit.h"
#include "azure/block_service.h"

namespace tb::azure {

struct OutgoingBlock {
  std::string id;
  std::uint64_t bytes = 0;
  std::uint64_t crc64 = 0;
  /// Fills `out` from an offset in the block; any thread, again after a fault. Throws what reading throws.
  std::function<void(std::uint64_t offset, MutableBytes out)> read;
};

struct SendOptions {
  unsigned parallel = 4;
  std::shared_ptr<async::RateLimit> limit;            ///< nullptr: none
  std::function<void(std::uint64_t bytes)> progress;  ///< blocks done so far, their bytes; one at a time
};

class BlockSender {
 public:
  /// `service` outlives the object.
  BlockSender(BlockService& service, std::string blob, SendOptions options);
  /// Ends what is in hand, and joins.
  ~BlockSender();
  BlockSender(const BlockSender&) = delete;
  BlockSender& operator=(const BlockSender&) = delete;

  /// Waits for a worker. Throws the first fault of any block.
  void submit(OutgoingBlock block);
  /// As if a block had been sent: for the progress.
  void skip(std::uint64_t bytes);
  /// Waits until all have arrived. Throws the first fault of any block. Nothing may follow.
  void finish();

 private:
  void serve();
  void send(const OutgoingBlock& block);

  BlockService& service_;
  const std::string blob_;
  const SendOptions options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<OutgoingBlock> waiting_;
  unsigned idle_ = 0, busy_ = 0;
  std::uint64_t done_bytes_ = 0;
  bool ended_ = false;
  std::optional<Error> fault_;
  std::stop_source stop_;  ///< the service's, and the first fault's: a block that waits for its next attempt goes too
  std::stop_callback<std::function<void()>> follow_{service_.stop(), [this] { stop_.request_stop(); }};
  std::vector<std::jthread> workers_;
};

}  // namespace tb::azure
