#include "base/clock.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <ctime>

namespace tb {
namespace {

using namespace std::chrono;

std::int64_t ms_of(clockid_t id) {
  timespec ts{};
  clock_gettime(id, &ts);
  return std::int64_t{ts.tv_sec} * 1000 + ts.tv_nsec / 1000000;
}

/// Reads exactly `digits` decimal digits at `pos` and moves on; -1 if they are not there.
int digits(std::string_view text, std::size_t& pos, int count) {
  int value = 0;
  for (int i = 0; i < count; ++i, ++pos) {
    if (pos >= text.size() || text[pos] < '0' || text[pos] > '9') return -1;
    value = value * 10 + (text[pos] - '0');
  }
  return value;
}

bool literal(std::string_view text, std::size_t& pos, char c) {
  return pos < text.size() && text[pos] == c && ++pos > 0;
}

}  // namespace

UnixMs unix_ms_now() {
  return ms_of(CLOCK_REALTIME);
}
std::int64_t boot_ms_now() {
  return ms_of(CLOCK_BOOTTIME);
}

std::string to_rfc3339(UnixMs time, bool with_ms) {
  constexpr UnixMs kLast = 253'402'300'799'999;  // of the year 9999
  const auto point = sys_time<milliseconds>(milliseconds(std::clamp(time, UnixMs{0}, kLast)));
  const auto day = floor<days>(point);
  const year_month_day date(day);
  const hh_mm_ss clock(point - day);
  std::string out = with_ms ? "0000-00-00T00:00:00.000Z" : "0000-00-00T00:00:00Z";
  const auto put = [&out](std::size_t end, std::int64_t value) {  // over the zeros that end there
    for (; value != 0; value /= 10) out[--end] = static_cast<char>('0' + value % 10);
  };
  put(4, int{date.year()});
  put(7, unsigned{date.month()});
  put(10, unsigned{date.day()});
  put(13, clock.hours().count());
  put(16, clock.minutes().count());
  put(19, clock.seconds().count());
  if (with_ms) put(23, clock.subseconds().count());
  return out;
}

Result<UnixMs> from_rfc3339(std::string_view text) {
  const auto refuse = [&] { return fail("bad_time", fmt::format("'{}' is not an RFC 3339 time", text.substr(0, 40))); };
  std::size_t pos = 0;
  const int y = digits(text, pos, 4);
  if (y < 1970 || !literal(text, pos, '-')) return refuse();
  const int mo = digits(text, pos, 2);
  if (mo < 1 || mo > 12 || !literal(text, pos, '-')) return refuse();
  const int d = digits(text, pos, 2);
  if (d < 1 || !(literal(text, pos, 'T') || literal(text, pos, 't'))) return refuse();
  const int h = digits(text, pos, 2);
  if (h < 0 || h > 23 || !literal(text, pos, ':')) return refuse();
  const int mi = digits(text, pos, 2);
  if (mi < 0 || mi > 59 || !literal(text, pos, ':')) return refuse();
  const int s = digits(text, pos, 2);
  if (s < 0 || s > 59) return refuse();
  int ms = 0;
  if (literal(text, pos, '.')) {
    int scale = 100;
    const std::size_t first = pos;
    for (; pos < text.size() && text[pos] >= '0' && text[pos] <= '9'; ++pos, scale /= 10)
      ms += (text[pos] - '0') * scale;
    if (pos == first || pos - first > 9) return refuse();
  }
  int offset_minutes = 0;
  if (!(literal(text, pos, 'Z') || literal(text, pos, 'z'))) {
    if (pos >= text.size() || (text[pos] != '+' && text[pos] != '-')) return refuse();
    const int sign = text[pos++] == '-' ? -1 : 1;
    const int oh = digits(text, pos, 2);
    if (oh < 0 || oh > 23 || !literal(text, pos, ':')) return refuse();
    const int om = digits(text, pos, 2);
    if (om < 0 || om > 59) return refuse();
    offset_minutes = sign * (oh * 60 + om);
  }
  const year_month_day date(year(y), month(static_cast<unsigned>(mo)), day(static_cast<unsigned>(d)));
  if (pos != text.size() || !date.ok()) return refuse();
  const auto point = sys_days(date) + hours(h) + minutes(mi - offset_minutes) + seconds(s);
  const UnixMs out = duration_cast<milliseconds>(point.time_since_epoch()).count() + ms;
  if (out < 0) return refuse();
  return out;
}

Result<std::int64_t> duration_ms(std::string_view text) {
  const auto refuse = [&] { return fail("bad_duration", fmt::format("'{}' is not a duration", text.substr(0, 40))); };
  std::int64_t number = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (ec != std::errc() || number < 0) return refuse();
  const std::string_view unit = text.substr(static_cast<std::size_t>(end - text.data()));
  std::int64_t scale = 0;
  if (unit == "ms") scale = 1;
  if (unit == "s" || unit.empty()) scale = 1000;
  if (unit == "m") scale = 60'000;
  if (unit == "h") scale = 3'600'000;
  if (unit == "d") scale = 86'400'000;
  if (scale == 0 || number > INT64_MAX / scale) return refuse();
  return number * scale;
}

}  // namespace tb
