#include "hydrate/range_plan.h"

#include <algorithm>

#include "tbenc/header.h"

namespace tb::hydrate {

RangePlan::RangePlan(const tbenc::Layout& layout, std::uint64_t request_bytes)
    : layout_(layout), done_(layout.chunk_count()), held_(layout.chunk_count()), missing_count_(layout.chunk_count()) {
  const std::uint64_t record = std::uint64_t{layout.chunk_bytes()} + tbenc::kRecordOverhead;
  chunks_per_range_ = std::max<std::uint64_t>(1, request_bytes / record);
}

Range RangePlan::range_of(std::uint64_t first, std::uint64_t chunks) const {
  const std::uint64_t last = first + chunks - 1;
  const std::uint64_t offset = layout_.record_offset(first);
  return {first, chunks, offset, layout_.record_offset(last) + layout_.record_bytes(last) - offset};
}

std::optional<Range> RangePlan::next() {
  if (missing_count_ == 0) return std::nullopt;
  const std::uint64_t count = layout_.chunk_count();
  std::uint64_t first = cursor_ < count ? cursor_ : 0;
  while (!is_missing(first)) first = first + 1 < count ? first + 1 : 0;
  std::uint64_t end = first;
  while (end < count && end - first < chunks_per_range_ && is_missing(end)) held_[end++] = true;
  missing_count_ -= end - first;
  cursor_ = end;
  return range_of(first, end - first);
}

bool RangePlan::claim(std::uint64_t chunk) {
  if (held_[chunk]) return false;
  if (!done_[chunk]) --missing_count_;
  held_[chunk] = true;
  return true;
}

bool RangePlan::done(std::uint64_t chunk) {
  if (!held_[chunk]) return false;
  held_[chunk] = false;
  if (done_[chunk]) return false;
  done_[chunk] = true;
  ++done_count_;
  return true;
}

void RangePlan::give_back(std::uint64_t chunk) {
  if (!held_[chunk]) return;
  held_[chunk] = false;
  if (!done_[chunk]) ++missing_count_;
}

void RangePlan::focus(std::uint64_t chunk) {
  cursor_ = chunk;
}

}  // namespace tb::hydrate
