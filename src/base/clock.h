// Wall clock and boot clock, and RFC 3339 UTC times.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace tb {

/// Milliseconds since 1970-01-01T00:00:00Z.
using UnixMs = std::int64_t;
UnixMs unix_ms_now();
/// Milliseconds since boot, suspended time included (CLOCK_BOOTTIME): never set back.
std::int64_t boot_ms_now();

/// What policy and stores ask for the time, so that tests can move it.
using Clock = std::function<UnixMs()>;

/// "2026-11-22T08:09:05Z"; with_ms: "2026-11-22T08:09:05.161Z".
std::string to_rfc3339(UnixMs time, bool with_ms = false);
/// RFC 3339 with Z or a numeric offset, years 1970 to 9999; else "bad_time".
Result<UnixMs> from_rfc3339(std::string_view text);
/// "30s", "5m", "2h", "7d", "1500ms" or a bare number of seconds, to milliseconds; else "bad_duration".
Result<std::int64_t> duration_ms(std::string_view text);

}  // namespace tb
