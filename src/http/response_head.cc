#include "http/response_head.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <ctime>

namespace tb::http {

namespace {

bool is_name(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f && c != ':'; });
}

bool is_value(std::string_view text) {
  return std::ranges::all_of(text, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte == '\t' || (byte >= 0x20 && byte != 0x7f);
  });
}

/// Fields that the server decides.
bool is_own(std::string_view name) {
  constexpr std::array<std::string_view, 5> kOwn{"Connection", "Content-Length", "Date", "Keep-Alive",
                                                 "Transfer-Encoding"};
  return std::ranges::any_of(kOwn, [&](std::string_view own) { return equal_ignoring_case(own, name); });
}

}  // namespace

std::string http_date(UnixMs time) {
  constexpr std::string_view kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr std::string_view kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::time_t seconds = time / 1000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT", kDays[utc.tm_wday], utc.tm_mday, kMonths[utc.tm_mon],
                     utc.tm_year + 1900, utc.tm_hour, utc.tm_min, utc.tm_sec);
}

std::string response_head(const Response& response, std::optional<std::uint64_t> content_length, bool close,
                          UnixMs now) {
  std::string head;
  const auto add = std::back_inserter(head);
  fmt::format_to(add, "HTTP/1.1 {} {}\r\nDate: {}\r\n", response.status, status_phrase(response.status),
                 http_date(now));
  for (const auto& [name, value] : response.headers.entries()) {
    if (!is_name(name) || !is_value(value)) throw Error("internal", "an answer's header field is malformed");
    if (!is_own(name)) fmt::format_to(add, "{}: {}\r\n", name, value);
  }
  if (!response.headers.find("Cache-Control")) head += "Cache-Control: no-store\r\n";
  if (!response.headers.find("X-Content-Type-Options")) head += "X-Content-Type-Options: nosniff\r\n";
  if (content_length) fmt::format_to(add, "Content-Length: {}\r\n", *content_length);
  if (close) head += "Connection: close\r\n";
  head += "\r\n";
  return head;
}

}  // namespace tb::http
