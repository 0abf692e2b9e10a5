#include "hydrate/range_plan.h"

#include <algorithm>

#include "tbenc/header.h"

namespace tb::hydrate {

RangePlan::RangePlan(const tbenc::Layout& layout, std::uint64_t request_bytes) : layout_(layout) {
  const std::uint64_t record = std::uint64_t{layout.chunk_bytes()} + tbenc::kRecordOverhead;
  const std::uint64_t chunks = layout.chunk_count();
  chunks_per_range_ = std::max<std::uint64_t>(1, request_bytes / record);
  range_count_ = chunks / chunks_per_range_ + (chunks % chunks_per_range_ != 0 ? 1 : 0);
}

Range RangePlan::range(std::uint64_t index) const {
  Range range;
  range.first_chunk = index * chunks_per_range_;
  range.chunks = std::min(chunks_per_range_, layout_.chunk_count() - range.first_chunk);
  range.offset = layout_.record_offset(range.first_chunk);
  const std::uint64_t last = range.first_chunk + range.chunks - 1;
  range.bytes = layout_.record_offset(last) + layout_.record_bytes(last) - range.offset;
  return range;
}

}  // namespace tb::hydrate
