#include "hydrate/chunk_pass.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <thread>
#include <vector>

#include "hydrate/connections.h"

namespace tb::hydrate {
namespace {
constexpr std::uint64_t kMostBufferBytes = std::uint64_t{160} << 20;
constexpr unsigned kMostConnections = 32;
constexpr std::chrono::milliseconds kRound{1000};  ///< of the search for the number of connections
}  // namespace

unsigned ChunkPass::most_threads() const {
  const std::uint64_t affordable = kMostBufferBytes / of_.layout_.record_bytes(0);
  const std::uint64_t wanted = of_.options_.connections == 0 ? kMostConnections : of_.options_.connections;
  return static_cast<unsigned>(std::max<std::uint64_t>(1, std::min({wanted, affordable, of_.layout_.chunk_count()})));
}

void ChunkPass::run(std::stop_token stop) {
  if (of_.table_->complete()) return;
  const std::stop_callback<std::function<void()>> forward(stop, [this] { stop_.request_stop(); });
  const unsigned most = most_threads();
  ConnectionSearch search(most);
  const bool searching = of_.options_.connections == 0;
  {
    std::vector<std::jthread> threads;
    std::unique_lock lock(mutex_);
    allowed_ = searching ? search.connections() : most;
    do {
      while (threads.size() < allowed_) {
        ++running_;
        threads.emplace_back([this, number = static_cast<unsigned>(threads.size())] { work(number); });
      }
      const auto all_ended = [&] { return running_ == 0; };
      if (!searching) {
        changed_.wait(lock, all_ended);
      } else {
        const std::uint64_t before = of_.progress().bytes;
        if (changed_.wait_for(lock, kRound, all_ended)) break;
        search.measured(static_cast<double>(of_.progress().bytes - before));
        allowed_ = search.connections();
        changed_.notify_all();
      }
    } while (running_ != 0);
  }
  if (stop.stop_requested()) throw Error("cancelled", "the download was stopped");
  if (error_) throw Error(*error_);
}

bool ChunkPass::may_go_on(unsigned number) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return number < allowed_ || closing_; });
  return !closing_;
}

void ChunkPass::work(unsigned number) {
  try {
    auto bench = of_.take_bench();
    while (may_go_on(number)) {
      const auto range = of_.table_->next_range(stop_.get_token());
      if (!range) break;
      do_range(*bench, *range);
    }
    of_.return_bench(std::move(bench));
  } catch (const Error& error) {
    failed(error);
  } catch (const std::exception& error) {
    failed(Error("internal", error.what()));
  }
  const std::lock_guard lock(mutex_);
  closing_ = true;
  --running_;
  changed_.notify_all();
}

void ChunkPass::failed(const Error& error) {
  {
    const std::lock_guard lock(mutex_);
    if (!error_) error_ = error;
  }
  stop_.request_stop();
}

class ChunkPass::Place {
 public:
  Place(asset::ChunkSink* sink, std::uint64_t chunk)
      : sink_(sink), chunk_(chunk), bytes_(sink != nullptr ? sink->place(chunk) : MutableBytes{}) {}
  ~Place() {
    if (!bytes_.empty()) sink_->leave(chunk_);
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  std::uint64_t chunk() const { return chunk_; }
  MutableBytes bytes() const { return bytes_; }
  void give(ByteView plain) {
    bytes_ = {};
    if (sink_ != nullptr) value_or_throw(sink_->chunk(chunk_, plain));
  }

 private:
  asset::ChunkSink* sink_;
  std::uint64_t chunk_;
  MutableBytes bytes_;
};

void ChunkPass::do_range(Hydration::Bench& bench, const Range& range) {
  const std::uint64_t end = range.first_chunk + range.chunks;
  std::uint64_t chunk = range.first_chunk;
  const auto is_cached = [&](std::uint64_t i) { return of_.cache_ && of_.cache_->present(i); };
  try {
    while (chunk < end) {
      if (stop_.stop_requested()) throw Error("cancelled", "the pass has ended");
      if (is_cached(chunk) || kind_ == Kind::kFromCache) {
        Place place(sink_, chunk);
        if (const auto plain = of_.from_cache(bench, chunk, place.bytes(), kind_ != Kind::kFromCache)) {
          deliver(place, *plain, true);
          ++chunk;
          continue;
        }
      }
      std::uint64_t last = chunk + 1;
      while (last < end && !is_cached(last)) ++last;
      std::optional<Place> place;
      std::optional<Hydration::Arrival> arrival;
      const auto on_piece = [&](std::uint64_t got, std::size_t at, ByteView piece) {
        if (!arrival) arrival.emplace(of_, bench, got, place.emplace(sink_, got).bytes());
        if (!arrival->take(at, piece)) return;
        deliver(*place, arrival->plain(), false);
        arrival.reset();
        chunk = got + 1;
      };
      of_.fetcher().run(of_.table_->range_of(chunk, last - chunk), on_piece, stop_.get_token());
    }
  } catch (...) {
    for (; chunk < end; ++chunk) of_.table_->abandoned(chunk);
    throw;
  }
}

/// Readers that wait for the chunk come first: what the sink does with it may depend on their answers.
void ChunkPass::deliver(Place& place, MutableBytes plain, bool from_cache) {
  if (of_.table_->finished(place.chunk(), plain) && kind_ == Kind::kFirst)
    of_.meter_.add(of_.layout_.record_bytes(place.chunk()), from_cache);
  place.give(plain);
}

}  // namespace tb::hydrate
