#include "deliver/reader_stream.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "deliver/pipe_pages.h"

namespace tb::deliver {
namespace {

/// Small chunks travel together: a piece fills a huge page.
constexpr std::size_t kPieceBytes = kHugePageBytes;

std::uint64_t chunks_in_piece(const tbenc::Layout& layout) {
  return std::max<std::uint64_t>(1, kPieceBytes / layout.chunk_bytes());
}

std::size_t piece_bytes(const tbenc::Layout& layout) {
  return static_cast<std::size_t>(
      std::min(layout.plaintext_bytes(), chunks_in_piece(layout) * std::uint64_t{layout.chunk_bytes()}));
}

std::uint64_t pieces_of(const tbenc::Layout& layout) {
  return (layout.chunk_count() + chunks_in_piece(layout) - 1) / chunks_in_piece(layout);
}

class Stream {
 public:
  Stream(asset::ChunkSource& source, PipeEnd& end, int stop_fd, const std::stop_token& stop, const Kernel& kernel)
      : source_(source),
        layout_(source.layout()),
        end_(end),
        stop_fd_(stop_fd),
        // Without huge pages fresh memory costs more than the copy that it saves.
        gives_(kernel.vmsplice && kernel.anonymous_huge_pages),
        forward_(stop, Forward{&ended_}) {}

  Result<Written> run(unsigned threads) {
    {
      std::vector<std::jthread> others;
      for (unsigned i = 1; i < threads; ++i) others.emplace_back([this] { work(); });
      work();
    }
    if (!outcome_) return Written::kAll;
    return std::move(*outcome_);
  }

 private:
  struct Forward {
    std::stop_source* to;
    void operator()() const { to->request_stop(); }
  };

  void work() {
    try {
      PipePages pages(piece_bytes(layout_));
      while (const auto piece = next_piece()) do_piece(*piece, pages);
    } catch (const std::bad_alloc&) {
      finish(fail("out_of_memory", "no memory for a piece of the stream"));
    } catch (const Error& error) {
      finish(fail(Error(error)));
    } catch (const std::exception& error) {
      finish(fail("internal", error.what()));
    }
  }

  std::optional<std::uint64_t> next_piece() {
    const std::lock_guard lock(mutex_);
    if (outcome_ || next_ == pieces_of(layout_)) return std::nullopt;
    return next_++;
  }

  void do_piece(std::uint64_t piece, PipePages& pages) {
    const std::uint64_t first = piece * chunks_in_piece(layout_);
    const std::uint64_t last = std::min(first + chunks_in_piece(layout_), layout_.chunk_count());
    std::size_t filled = 0;
    Result<> opened;
    for (std::uint64_t chunk = first; chunk < last; ++chunk) {
      const std::size_t bytes = layout_.chunk_plain_bytes(chunk);
      opened = source_.open_chunk(chunk, pages.span().subspan(filled, bytes), ended_.get_token());
      if (!opened) break;
      filled += bytes;
    }
    if (!wait_for_turn(piece)) return;
    auto put = put_into_pipe(pages, filled);
    if (put && *put == Written::kAll && opened) return pass_turn();
    // What came before a chunk that failed has been put there: the error stands at its own place in the stream.
    finish(put && *put == Written::kAll ? Result<Written>(fail(std::move(opened.error()))) : std::move(put));
  }

  Result<Written> put_into_pipe(PipePages& pages, std::size_t bytes) {
    if (!gives_) return end_.write(pages.span().first(bytes), stop_fd_);
    std::size_t given = 0;
    auto put = end_.give(pages.span().first(bytes), stop_fd_, given);
    pages.let_go(given);
    return put;
  }

  /// False if the stream has ended before.
  bool wait_for_turn(std::uint64_t piece) {
    std::unique_lock lock(mutex_);
    turn_changed_.wait(lock, [&] { return outcome_ || turn_ == piece; });
    return !outcome_;
  }
  void pass_turn() {
    const std::lock_guard lock(mutex_);
    ++turn_;
    turn_changed_.notify_all();
  }
  void finish(Result<Written> outcome) {
    {
      const std::lock_guard lock(mutex_);
      if (!outcome_) outcome_ = std::move(outcome);
      turn_changed_.notify_all();
    }
    ended_.request_stop();
  }

  asset::ChunkSource& source_;
  const tbenc::Layout layout_;
  PipeEnd& end_;
  const int stop_fd_;
  const bool gives_;
  std::mutex mutex_;  ///< of next_, turn_ and outcome_
  std::condition_variable turn_changed_;
  std::uint64_t next_ = 0, turn_ = 0;
  std::optional<Result<Written>> outcome_;  ///< why it ended before its end
  std::stop_source ended_;
  std::stop_callback<Forward> forward_;
};

}  // namespace

unsigned stream_threads(const tbenc::Layout& layout, unsigned cores) {
  const std::uint64_t held = 2 * std::max<std::uint64_t>(piece_bytes(layout), layout.chunk_bytes());
  const std::uint64_t affordable = std::max<std::uint64_t>(1, kStreamBytes / held);
  return static_cast<unsigned>(
      std::min({std::uint64_t{std::max(1U, cores)}, affordable, std::max<std::uint64_t>(1, pieces_of(layout))}));
}

Result<Written> stream_to_reader(asset::ChunkSource& source, PipeEnd& end, int stop_fd, const std::stop_token& stop,
                                 const Kernel& kernel) {
  const unsigned threads = stream_threads(source.layout(), std::thread::hardware_concurrency());
  return Stream(source, end, stop_fd, stop, kernel).run(threads);
}

}  // namespace tb::deliver
