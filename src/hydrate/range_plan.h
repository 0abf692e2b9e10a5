// Which records to fetch next: what is missing and in nobody's hands, in turn, in ranges of about the wanted request
// size; what a reader waits for goes first. Pure: no clock, no network, no lock (its owner has one).
//
// A record is missing, in somebody's hands, or done. Two bits a record, whatever the asset's size: 300 GiB in chunks of
// 4 MiB are 19 KiB.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "tbenc/layout.h"

namespace tb::hydrate {

/// Records [first_chunk, first_chunk + chunks), which are the bytes [offset, offset + bytes) of the file.
struct Range {
  std::uint64_t first_chunk = 0;
  std::uint64_t chunks = 0;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  bool operator==(const Range&) const = default;
};

class RangePlan {
 public:
  /// Every record is missing. Ranges hold as many whole records as fit into `request_bytes`, one at least. An empty
  /// asset has none: its header is fetched apart.
  RangePlan(const tbenc::Layout& layout, std::uint64_t request_bytes);

  /// The next adjoining missing records from where the last range ended, then from the beginning; they are in the
  /// caller's hands now. Nothing if all are done or in hands.
  std::optional<Range> next();
  /// Puts one record into the caller's hands, whether missing or done; false if it is in somebody's already.
  bool claim(std::uint64_t chunk);
  /// From the caller's hands: it has been verified and is where it belongs. True the first time.
  bool done(std::uint64_t chunk);
  /// From the caller's hands: it is missing again, or still done.
  void give_back(std::uint64_t chunk);
  /// The next range starts here, so that the others follow a reader.
  void focus(std::uint64_t chunk);

  /// Records [first, first + chunks), `chunks` > 0.
  Range range_of(std::uint64_t first, std::uint64_t chunks) const;
  bool is_done(std::uint64_t chunk) const { return done_[chunk]; }
  bool complete() const { return done_count_ == layout_.chunk_count(); }
  std::uint64_t chunks_per_range() const { return chunks_per_range_; }

 private:
  bool is_missing(std::uint64_t chunk) const { return !done_[chunk] && !held_[chunk]; }

  tbenc::Layout layout_;
  std::uint64_t chunks_per_range_ = 1;
  std::vector<bool> done_, held_;
  std::uint64_t done_count_ = 0;
  std::uint64_t missing_count_ = 0;
  std::uint64_t cursor_ = 0;
};

}  // namespace tb::hydrate
