#include "sentinel/runtime/output_budget.h"

#include <algorithm>
#include <utility>

namespace tb::sentinel::runtime {

bool OutputBudget::take(std::uint64_t bytes, std::int64_t now_ms) {
  if (earned_ms_ < 0) earned_ms_ = now_ms;
  const auto passed_ms = static_cast<std::uint64_t>(std::max<std::int64_t>(0, now_ms - earned_ms_));
  // Whole bytes only: the rest of the time is kept for the next.
  const std::uint64_t earned = passed_ms * bytes_per_second_ / 1000;
  if (earned > 0) {
    left_bytes_ = std::min(burst_bytes_, left_bytes_ + earned);
    earned_ms_ = now_ms;
  }
  if (bytes > left_bytes_) {
    left_out_bytes_ += bytes;
    return false;
  }
  left_bytes_ -= bytes;
  return true;
}

std::uint64_t OutputBudget::take_left_out() {
  return std::exchange(left_out_bytes_, 0);
}

}  // namespace tb::sentinel::runtime
