// Which byte ranges of the ciphertext to ask for: whole records, about the wanted request size. Pure arithmetic over
// tbenc::Layout, whose every offset is known to fit; nothing is stored per range, so an asset of any size costs nothing
// to plan.
#pragma once

#include <cstdint>

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
  /// As many whole records in each range as fit into `request_bytes`, one at least. An empty asset has no ranges: its
  /// header is fetched apart.
  RangePlan(const tbenc::Layout& layout, std::uint64_t request_bytes);

  std::uint64_t range_count() const { return range_count_; }
  std::uint64_t chunks_per_range() const { return chunks_per_range_; }
  /// `index` < range_count(). Ranges ascend, touch, and cover every record once.
  Range range(std::uint64_t index) const;

 private:
  tbenc::Layout layout_;
  std::uint64_t chunks_per_range_ = 1;
  std::uint64_t range_count_ = 0;
};

}  // namespace tb::hydrate
