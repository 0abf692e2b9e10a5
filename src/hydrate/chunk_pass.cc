#include "hydrate/chunk_pass.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "hydrate/retry.h"

namespace tb::hydrate {
namespace {

constexpr std::uint64_t kMostBufferBytes = std::uint64_t{512} << 20;

/// What the threads of a pass share: the next range, the first error, and whose turn it is at an in-order sink.
class Shared {
 public:
  Shared(const ChunkPass& pass, std::stop_token outer)
      : pass_(pass),
        in_order_(pass.sink != nullptr && pass.sink->in_order()),
        // One chunk a range keeps the threads' chunks adjacent: the window of reordering is one chunk for each of them.
        plan_(pass.layout, in_order_ ? 1 : pass.request_bytes),
        outer_(std::move(outer)),
        forward_(outer_, [this] { stop_.request_stop(); }) {}

  std::stop_token stop() const { return stop_.get_token(); }
  std::uint64_t range_count() const { return plan_.range_count(); }

  std::optional<Range> next_range() {
    const std::uint64_t index = next_.fetch_add(1);
    if (index >= plan_.range_count() || stop().stop_requested()) return std::nullopt;
    return plan_.range(index);
  }

  void deliver(std::uint64_t chunk, ByteView plain) {
    if (pass_.sink == nullptr) return;
    if (!in_order_) return value_or_throw(pass_.sink->chunk(chunk, plain));
    std::unique_lock lock(mutex_);
    if (!turn_changed_.wait(lock, stop(), [&] { return turn_ == chunk; }))
      throw Error("cancelled", "the pass has ended");
    value_or_throw(pass_.sink->chunk(chunk, plain));
    ++turn_;
    turn_changed_.notify_all();
  }

  void failed(const Error& error) {
    const std::lock_guard lock(error_mutex_);
    if (!error_) error_ = error;
    stop_.request_stop();
  }

  void rethrow() const {
    if (outer_.stop_requested()) throw Error("cancelled", "the download was stopped");
    if (error_) throw Error(*error_);
  }

 private:
  const ChunkPass& pass_;
  bool in_order_;
  RangePlan plan_;
  std::atomic<std::uint64_t> next_ = 0;
  std::mutex mutex_, error_mutex_;
  std::condition_variable_any turn_changed_;
  std::uint64_t turn_ = 0;
  std::optional<Error> error_;
  std::stop_source stop_;
  std::stop_token outer_;
  std::stop_callback<std::function<void()>> forward_;
};

/// One thread's buffers and its work.
class Worker {
 public:
  Worker(const ChunkPass& pass, Shared& shared)
      : pass_(pass),
        shared_(shared),
        cipher_(pass.cipher.clone()),
        record_(pass.layout.chunk_bytes() + tbenc::kRecordOverhead),
        plain_(pass.layout.chunk_bytes()) {}

  void run() {
    while (const auto range = shared_.next_range()) do_range(*range);
  }

 private:
  void do_range(const Range& range) {
    const std::uint64_t end = range.first_chunk + range.chunks;
    for (std::uint64_t chunk = range.first_chunk; chunk < end;) {
      if (from_cache(chunk)) {
        ++chunk;
        continue;
      }
      std::uint64_t last = chunk + 1;
      while (last < end && !is_cached(last)) ++last;
      from_source(chunk, last);
      chunk = last;
    }
  }

  bool is_cached(std::uint64_t chunk) const { return pass_.cache != nullptr && pass_.cache->present(chunk); }
  std::size_t record_bytes(std::uint64_t chunk) const {
    return static_cast<std::size_t>(pass_.layout.record_bytes(chunk));
  }
  MutableBytes plain(std::uint64_t chunk) { return plain_.span().first(pass_.layout.chunk_plain_bytes(chunk)); }

  bool from_cache(std::uint64_t chunk) {
    if (!is_cached(chunk)) return false;
    const MutableBytes record = record_.span().first(record_bytes(chunk));
    auto opened = pass_.cache->read_record(chunk, record);
    if (opened) opened = cipher_.open(chunk, record, plain(chunk));
    if (!opened) {
      if (pass_.source == nullptr) throw std::move(opened.error());
      pass_.cache->forget(chunk);
      return false;
    }
    shared_.deliver(chunk, plain(chunk));
    if (pass_.meter != nullptr) pass_.meter->add(record.size(), true);
    return true;
  }

  /// Chunks [first, last) from the blob, each opened as its last byte arrives. What came before a fault is kept: the
  /// next attempt asks for the rest only.
  void from_source(std::uint64_t first, std::uint64_t last) {
    if (pass_.source == nullptr) throw Error("internal", "a chunk is in no cache and there is no blob");
    const std::uint64_t end = pass_.layout.record_offset(last - 1) + pass_.layout.record_bytes(last - 1);
    std::uint64_t chunk = first;
    std::size_t filled = 0;
    Retry retry(pass_.backoff, shared_.stop());
    const auto take = [&](ByteView piece) {
      retry.progressed();
      while (!piece.empty()) {
        const std::size_t wanted = record_bytes(chunk) - filled;
        const std::size_t taken = std::min(wanted, piece.size());
        std::ranges::copy(piece.first(taken), record_.data() + filled);
        filled += taken;
        piece = piece.subspan(taken);
        if (taken < wanted) return;
        accept(chunk);
        ++chunk;
        filled = 0;
      }
    };
    while (chunk < last) {
      const std::uint64_t from = pass_.layout.record_offset(chunk) + filled;
      try {
        pass_.source->fetch(from, end - from, take, shared_.stop());
      } catch (const blob::FetchError& error) {
        retry.wait_or_rethrow(error, error.retry_after_ms);
      } catch (const Error& error) {
        retry.wait_or_rethrow(error, std::nullopt);
      }
    }
  }

  void accept(std::uint64_t chunk) {
    const ByteView record = record_.view().first(record_bytes(chunk));
    value_or_throw(cipher_.open(chunk, record, plain(chunk)));
    if (pass_.cache != nullptr) value_or_throw(pass_.cache->write_record(chunk, record));
    shared_.deliver(chunk, plain(chunk));
    if (pass_.meter != nullptr) pass_.meter->add(record.size(), false);
  }

  const ChunkPass& pass_;
  Shared& shared_;
  tbenc::ChunkCipher cipher_;
  WipedBuffer record_, plain_;
};

}  // namespace

void ChunkPass::run(std::stop_token stop) {
  Shared shared(*this, std::move(stop));
  const std::uint64_t affordable =
      std::max<std::uint64_t>(1, kMostBufferBytes / (2 * std::uint64_t{layout.chunk_bytes()}));
  const std::uint64_t threads = std::min({std::uint64_t{connections}, affordable, shared.range_count()});
  const auto work = [this, &shared] {
    try {
      Worker(*this, shared).run();
    } catch (const Error& error) {
      shared.failed(error);
    } catch (const std::exception& error) {
      shared.failed(Error("internal", error.what()));
    }
  };
  {
    std::vector<std::jthread> pool;
    for (std::uint64_t i = 1; i < threads; ++i) pool.emplace_back(work);
    if (threads > 0) work();
  }
  shared.rethrow();
}

}  // namespace tb::hydrate
