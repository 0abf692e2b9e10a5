// Byte ranges (RFC 9110 section 14), as pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace tb::http {

/// first..last, both included; first ≤ last.
struct ByteRange {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  std::uint64_t bytes() const { return last - first + 1; }
  bool operator==(const ByteRange&) const = default;
};

enum class RangeOutcome {
  kWhole,          ///< no Range, another unit, malformed, or several ranges: the whole representation, 200
  kPartial,        ///< 206
  kUnsatisfiable,  ///< well-formed but outside: 416
};

struct RangeChoice {
  RangeOutcome outcome = RangeOutcome::kWhole;
  ByteRange range;  ///< of kPartial, cut to the representation's end
};

/// What a Range header's value asks of a representation of `size` bytes: `bytes=a-b`, `bytes=a-` and `bytes=-n`.
RangeChoice choose_range(std::string_view header, std::uint64_t size);

/// "bytes=first-last": the value of a Range header.
std::string range_header(ByteRange range);

/// A Content-Range value.
struct ContentRange {
  std::optional<ByteRange> range;      ///< nullopt: "bytes */total"
  std::optional<std::uint64_t> total;  ///< nullopt: "bytes a-b/*"
  bool operator==(const ContentRange&) const = default;
};

/// Strict: exactly `bytes a-b/total`, `bytes a-b/*` or `bytes */total`, a ≤ b < total; else "bad_content_range".
Result<ContentRange> parse_content_range(std::string_view value);
std::string content_range(const ContentRange& value);

}  // namespace tb::http
