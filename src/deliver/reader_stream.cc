#include "deliver/reader_stream.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "deliver/pipe_pages.h"

namespace tb::deliver {
namespace {

/// Small chunks travel together: a piece fills a huge page.
constexpr std::size_t kPieceBytes = kHugePageBytes;
/// Pieces beside those that the threads have in hands: one in the pipe and one that waits for it. More bring nothing.
constexpr std::size_t kPiecesAhead = 2;
/// How long a piece may lie open before the thread that stands by looks after it.
constexpr std::chrono::milliseconds kStandBy{5};

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

  Result<Written> run(const StreamPlan& plan) {
    for (std::size_t i = 0; i < plan.pieces; ++i) pieces_.push_back(std::make_unique<Piece>(piece_bytes(layout_)));
    {
      std::vector<std::jthread> threads;
      or_finish([&] {
        for (unsigned i = 0; i < plan.threads; ++i)
          threads.emplace_back([this] { or_finish([this] { take_turns(); }); });
        stand_by();
      });
    }
    if (!outcome_) return Written::kAll;
    return std::move(*outcome_);
  }

 private:
  struct Forward {
    std::stop_source* to;
    void operator()() const { to->request_stop(); }
  };
  /// A piece of the stream. Whoever opens it has it to himself, then whoever puts it into the pipe.
  struct Piece {
    explicit Piece(std::size_t bytes) : pages(bytes) {}
    PipePages pages;
    std::size_t filled = 0, put = 0;
    Result<> opened;
    bool ready = false;
  };

  template <typename Work>
  void or_finish(Work work) {
    try {
      work();
    } catch (const std::bad_alloc&) {
      finish(fail("out_of_memory", "no memory for a piece of the stream"));
    } catch (const Error& error) {
      finish(fail(Error(error)));
    } catch (const std::exception& error) {
      finish(fail("internal", error.what()));
    }
  }

  Piece& piece_at(std::uint64_t number) { return *pieces_[number % pieces_.size()]; }
  bool can_put() { return !putting_ && turn_ < next_ && piece_at(turn_).ready; }
  bool can_open() const { return !outcome_ && next_ < pieces_of(layout_) && next_ < turn_ + pieces_.size(); }
  bool over() const { return outcome_ || turn_ == pieces_of(layout_); }

  /// Whoever changes what the others wait for looks for his own next work afterwards, so that no more than one of them
  /// has to be woken.
  void take_turns() {
    std::unique_lock lock(mutex_);
    while (!over()) {
      if (can_put() && put_turn(lock, can_open() ? IfFull::kReturn : IfFull::kWait)) continue;
      if (can_open()) {
        const std::uint64_t number = next_++;
        lock.unlock();
        open_piece(number);
        lock.lock();
        piece_at(number).ready = true;
      } else if (!can_put()) {
        changed_.wait(lock, [&] { return over() || can_put() || can_open(); });
      }
    }
  }

  void stand_by() {
    std::unique_lock lock(mutex_);
    while (!over_changed_.wait_for(lock, kStandBy, [&] { return over(); })) {
      if (can_put()) put_turn(lock, IfFull::kWait);
    }
  }

  /// Puts the piece whose turn it is, without the lock. False if there is more of it, or the stream is over.
  bool put_turn(std::unique_lock<std::mutex>& lock, IfFull if_full) {
    Piece& piece = piece_at(turn_);
    putting_ = true;
    lock.unlock();
    auto put = put_into_pipe(piece, if_full);
    // What came before a chunk that failed has been put there: the error stands at its own place in the stream.
    if (put && *put == Written::kAll && !piece.opened) put = fail(std::move(piece.opened.error()));
    const bool goes_on = put && (*put == Written::kAll || *put == Written::kPart);
    if (!goes_on) finish(put);
    lock.lock();
    putting_ = false;
    if (!goes_on || *put == Written::kPart) return false;
    pass_turn(piece);
    return true;
  }

  void open_piece(std::uint64_t number) {
    Piece& piece = piece_at(number);
    const std::uint64_t first = number * chunks_in_piece(layout_);
    const std::uint64_t last = std::min(first + chunks_in_piece(layout_), layout_.chunk_count());
    piece.filled = piece.put = 0;
    for (std::uint64_t chunk = first; chunk < last; ++chunk) {
      const std::size_t bytes = layout_.chunk_plain_bytes(chunk);
      piece.opened = source_.open_chunk(chunk, piece.pages.span().subspan(piece.filled, bytes), ended_.get_token());
      if (!piece.opened) break;
      piece.filled += bytes;
    }
  }

  Result<Written> put_into_pipe(Piece& piece, IfFull if_full) {
    ByteView rest = piece.pages.view().subspan(piece.put, piece.filled - piece.put);
    auto put = gives_ ? end_.give(rest, stop_fd_, if_full) : end_.write(rest, stop_fd_, if_full);
    piece.put = piece.filled - rest.size();
    if (gives_) piece.pages.gave(piece.put);
    if (gives_ && rest.empty()) piece.pages.let_go();
    return put;
  }

  void pass_turn(Piece& piece) {
    piece.ready = false;
    ++turn_;
    if (over()) {
      wake_all();
    } else {
      changed_.notify_one();
    }
  }
  void wake_all() {
    changed_.notify_all();
    over_changed_.notify_all();
  }
  void finish(Result<Written> outcome) {
    {
      const std::lock_guard lock(mutex_);
      if (!outcome_) outcome_ = std::move(outcome);
      wake_all();
    }
    ended_.request_stop();
  }

  asset::ChunkSource& source_;
  const tbenc::Layout layout_;
  PipeEnd& end_;
  const int stop_fd_;
  const bool gives_;
  std::vector<std::unique_ptr<Piece>> pieces_;  ///< piece n of the stream stands at n % size()
  std::mutex mutex_;                            ///< of what follows, and of each piece's `ready`
  std::condition_variable changed_;             ///< something to put or to open
  std::condition_variable over_changed_;        ///< for who stands by
  std::uint64_t next_ = 0;                      ///< the piece to be opened next
  std::uint64_t turn_ = 0;                      ///< the piece to be put next
  bool putting_ = false;
  std::optional<Result<Written>> outcome_;  ///< why it ended before its end
  std::stop_source ended_;
  std::stop_callback<Forward> forward_;
};

}  // namespace

StreamPlan plan_stream(const tbenc::Layout& layout, unsigned cores) {
  const std::uint64_t piece = std::max<std::uint64_t>(1, piece_bytes(layout)), record = layout.chunk_bytes();
  const std::uint64_t all = std::max<std::uint64_t>(1, pieces_of(layout));
  const std::uint64_t ahead = std::min(kPiecesAhead * piece, kStreamBytes);
  const std::uint64_t affordable = std::max<std::uint64_t>(1, (kStreamBytes - ahead) / (piece + record));
  const std::uint64_t threads = std::min({std::uint64_t{std::max(1U, cores)}, affordable, all});
  const std::uint64_t room = (kStreamBytes - std::min(kStreamBytes, threads * record)) / piece;
  const std::uint64_t pieces = std::min({threads + kPiecesAhead, std::max(threads, room), all});
  return {static_cast<unsigned>(threads), static_cast<std::size_t>(pieces)};
}

Result<Written> stream_to_reader(asset::ChunkSource& source, PipeEnd& end, int stop_fd, const std::stop_token& stop,
                                 const Kernel& kernel) {
  const StreamPlan plan = plan_stream(source.layout(), std::thread::hardware_concurrency());
  return Stream(source, end, stop_fd, stop, kernel).run(plan);
}

}  // namespace tb::deliver
