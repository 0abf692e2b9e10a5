#include "async/rate_limit.h"

#include <time.h>

#include <algorithm>

#include "async/stop.h"
#include "base/error.h"

namespace tb::async {
namespace {

using std::chrono::nanoseconds;

// A year: far beyond any sleep that is meant, and far from the end of the clock's range.
constexpr double kMaxNs = 365.0 * 24 * 3600 * 1e9;

nanoseconds cost(std::uint64_t bytes, double ns_per_byte) {
  return nanoseconds(static_cast<std::int64_t>(std::min(static_cast<double>(bytes) * ns_per_byte, kMaxNs)));
}

nanoseconds boot_time() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return std::chrono::seconds(now.tv_sec) + nanoseconds(now.tv_nsec);
}

}  // namespace

RateLimit::Time RateLimit::Time::real() {
  return {boot_time, [](const std::stop_token& stop, nanoseconds time) {
            return sleep_unless_stopped(stop, std::chrono::ceil<std::chrono::milliseconds>(time));
          }};
}

RateLimit::RateLimit(std::uint64_t bytes_per_second, std::uint64_t burst_bytes, Time time)
    : ns_per_byte_(1e9 / static_cast<double>(std::max<std::uint64_t>(bytes_per_second, 1))),
      burst_(cost(burst_bytes, ns_per_byte_)),
      time_(std::move(time)),
      earned_at_(time_.now()) {}

RateLimit::RateLimit(std::uint64_t bytes_per_second)
    : RateLimit(bytes_per_second, std::max<std::uint64_t>(bytes_per_second / 10, std::uint64_t{64} << 10)) {}

void RateLimit::take(std::uint64_t bytes, std::stop_token stop) {
  nanoseconds wait;
  {
    const std::lock_guard lock(mutex_);
    const nanoseconds now = time_.now();
    earned_at_ = std::max(earned_at_, now) + cost(bytes, ns_per_byte_);
    wait = earned_at_ - now - burst_;
  }
  if (stop.stop_requested() || (wait > nanoseconds::zero() && !time_.sleep(stop, wait))) {
    throw Error("cancelled", "stopped while waiting for bandwidth");
  }
}

}  // namespace tb::async
