#include "http/range.h"

#include <fmt/format.h>

#include <charconv>

namespace tb::http {

namespace {

/// Digits only, no sign, fits in 64 bits.
std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  if (text.empty()) return std::nullopt;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
  }
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

RangeChoice choose_range(std::string_view header, std::uint64_t size) {
  constexpr std::string_view kUnit = "bytes=";
  if (!header.starts_with(kUnit)) return {};
  const std::string_view spec = header.substr(kUnit.size());
  const std::size_t dash = spec.find('-');
  if (dash == std::string_view::npos) return {};
  const std::string_view left = spec.substr(0, dash);
  const std::string_view right = spec.substr(dash + 1);
  if (left.empty()) {
    const auto suffix = number(right);
    if (!suffix) return {};
    if (*suffix == 0 || size == 0) return {RangeOutcome::kUnsatisfiable, {}};
    return {RangeOutcome::kPartial, {size - std::min(*suffix, size), size - 1}};
  }
  const auto first = number(left);
  const auto last = right.empty() ? std::optional(UINT64_MAX) : number(right);
  if (!first || !last || *last < *first) return {};
  if (*first >= size) return {RangeOutcome::kUnsatisfiable, {}};
  return {RangeOutcome::kPartial, {*first, std::min(*last, size - 1)}};
}

std::string range_header(ByteRange range) {
  return fmt::format("bytes={}-{}", range.first, range.last);
}

Result<ContentRange> parse_content_range(std::string_view value) {
  constexpr std::string_view kUnit = "bytes ";
  const auto bad = [] { return fail("bad_content_range", "the Content-Range is malformed"); };
  if (!value.starts_with(kUnit)) return bad();
  value.remove_prefix(kUnit.size());
  const std::size_t slash = value.find('/');
  if (slash == std::string_view::npos) return bad();
  const std::string_view where = value.substr(0, slash);
  const std::string_view total = value.substr(slash + 1);
  ContentRange out;
  if (total != "*") {
    out.total = number(total);
    if (!out.total) return bad();
  }
  if (where == "*") {
    if (!out.total) return bad();
    return out;
  }
  const std::size_t dash = where.find('-');
  if (dash == std::string_view::npos) return bad();
  const auto first = number(where.substr(0, dash));
  const auto last = number(where.substr(dash + 1));
  // The last possible byte number is kept out: its count would not fit in 64 bits for 0-(2^64-1).
  if (!first || !last || *last < *first || *last == UINT64_MAX || (out.total && *last >= *out.total)) return bad();
  out.range = ByteRange{*first, *last};
  return out;
}

std::string content_range(const ContentRange& value) {
  const std::string where = value.range ? fmt::format("{}-{}", value.range->first, value.range->last) : "*";
  return fmt::format("bytes {}/{}", where, value.total ? std::to_string(*value.total) : "*");
}

}  // namespace tb::http
