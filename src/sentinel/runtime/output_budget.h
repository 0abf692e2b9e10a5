// How much of what a runtime prints reaches the log: a hostile one would print the weights, and logs are carried to
// disks and to other machines. Pure: time goes in.
#pragma once

#include <cstdint>

namespace tb::sentinel::runtime {

class OutputBudget {
 public:
  /// Over any time t at most burst_bytes + t × bytes_per_second pass.
  OutputBudget(std::uint64_t burst_bytes, std::uint64_t bytes_per_second)
      : burst_bytes_(burst_bytes), bytes_per_second_(bytes_per_second), left_bytes_(burst_bytes) {}

  /// True if a line of `bytes` may pass at `now_ms`, which never goes back; else it counts as left out.
  bool take(std::uint64_t bytes, std::int64_t now_ms);
  /// What was left out since this was asked for last.
  std::uint64_t take_left_out();

 private:
  std::uint64_t burst_bytes_, bytes_per_second_, left_bytes_;
  std::uint64_t left_out_bytes_ = 0;
  std::int64_t earned_ms_ = -1;  ///< until when what is left has been earned
};

}  // namespace tb::sentinel::runtime
