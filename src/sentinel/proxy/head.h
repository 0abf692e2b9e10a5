// Heads of HTTP/1.1 messages, read strictly: pure functions over bytes, no sockets, so that fuzzers and sanitizer
// builds can drive them alone.
//
// Two parsers that disagree about where a message ends are how requests are smuggled. Whatever leaves room for two
// readings is refused here rather than repaired: bare LF, line folding, blanks around a name, doubled or listed
// lengths, a length together with an encoding, encodings other than `chunked`, control bytes, a missing or doubled
// Host.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace tb::sentinel::proxy {

/// Why a message is not taken: what the client is answered.
struct Refusal {
  int status = 400;
  std::string_view code;        ///< stable, e.g. "bad_request"
  std::string_view message;     ///< fixed text, nothing of the request in it
  int retry_after_seconds = 0;  ///< 0: the answer does not say
};

struct Field {
  std::string name;   ///< as it came
  std::string value;  ///< without blanks around it
};
using Fields = std::vector<Field>;

constexpr char to_lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}
/// Eight bytes, the letters A to Z of them made small.
constexpr std::uint64_t to_lower(std::uint64_t bytes) {
  constexpr std::uint64_t kOnes = 0x0101010101010101;
  const std::uint64_t low = bytes & kOnes * 0x7f;
  const std::uint64_t is_letter =
      (low + kOnes * (0x80 - 'A')) & ~(low + kOnes * (0x80 - 'Z' - 1)) & ~bytes & kOnes * 0x80;
  return bytes | is_letter >> 2;
}
/// Of texts of one length.
constexpr bool equal_fold_sized(std::string_view a, std::string_view b) {
  if (!std::is_constant_evaluated() && a.size() >= 8) {
    const auto differs = [&](std::size_t at) {
      std::uint64_t x = 0, y = 0;
      std::memcpy(&x, a.data() + at, 8);
      std::memcpy(&y, b.data() + at, 8);
      return to_lower(x) != to_lower(y);
    };
    for (std::size_t at = 0; at + 8 < a.size(); at += 8) {
      if (differs(at)) return false;
    }
    return !differs(a.size() - 8);
  }
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (to_lower(a[i]) != to_lower(b[i])) return false;
  }
  return true;
}
/// ASCII case-insensitive equality.
constexpr bool equal_fold(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  // The cases of a letter differ in one bit; most names that are compared differ in their first.
  if (!a.empty() && ((a.front() ^ b.front()) & ~0x20) != 0) return false;
  return equal_fold_sized(a, b);
}

/// Header names, looked up by their length first. Lower case.
template <std::size_t N>
class NameSet {
 public:
  constexpr explicit NameSet(std::array<std::string_view, N> names) : names_(names) {
    std::ranges::sort(names_, {}, [](std::string_view name) { return name.size(); });
    for (std::size_t i = N; i-- > 0;) first_[names_[i].size()] = static_cast<std::uint8_t>(i);
    for (std::size_t size = kLengths; size-- > 0;) {
      if (first_[size] == kNone) first_[size] = size + 1 == kLengths ? N : first_[size + 1];
    }
  }
  /// Its place among the names by length, or N.
  constexpr std::size_t find(std::string_view name) const {
    if (name.size() + 1 >= kLengths) return N;
    for (std::size_t i = first_[name.size()]; i < first_[name.size() + 1]; ++i) {
      if (equal_fold(name, names_[i])) return i;
    }
    return N;
  }
  constexpr bool contains(std::string_view name) const { return find(name) < N; }

 private:
  static constexpr std::size_t kLengths = 40;
  static constexpr std::uint8_t kNone = 255;
  static constexpr auto all_none() {
    std::array<std::uint8_t, kLengths> out{};
    out.fill(kNone);
    return out;
  }
  std::array<std::string_view, N> names_;
  std::array<std::uint8_t, kLengths> first_ = all_none();
};
/// First field of that name, or nullptr.
const Field* find_field(const Fields& fields, std::string_view name);
/// The comma-separated, non-empty members of every field of that name.
std::vector<std::string_view> list_members(const Fields& fields, std::string_view name);

/// How a body's end is known.
enum class Framing { kNone, kLength, kChunked, kUntilClose };

struct RequestHead {
  std::string method;
  std::string target;  ///< raw, as in the request line
  int minor = 1;       ///< HTTP/1.minor, 0 or 1
  Fields fields;
  Framing framing = Framing::kNone;
  std::uint64_t length = 0;  ///< of the body, where framing is kLength
  bool keep_alive = true;
  bool expects_continue = false;
};

struct ResponseHead {
  int status = 0;
  int minor = 1;
  Fields fields;
  Framing framing = Framing::kNone;
  std::uint64_t length = 0;
  bool keep_alive = true;
};

inline constexpr std::size_t kMaxHeadBytes = 64 * 1024;
inline constexpr std::size_t kMaxFields = 256;

struct HeadEnd {
  enum Kind { kNeedMore, kFound, kBareLf, kTooLarge } kind = kNeedMore;
  std::size_t bytes = 0;  ///< of the head, its empty line included, where kFound
};
/// Looks for the empty line that ends a head. A bare LF is told as soon as it is seen, so that nobody waits for more.
/// `known`: so many bytes were looked through before.
HeadEnd find_head_end(std::string_view bytes, std::size_t known = 0);

/// `bytes` is one whole head as find_head_end gave it. Into a head that was used before: its memory is used again.
std::optional<Refusal> read_request_head(std::string_view bytes, RequestHead& head);
std::optional<Refusal> read_response_head(std::string_view bytes, std::string_view method, ResponseHead& head);
std::expected<RequestHead, Refusal> parse_request_head(std::string_view bytes);
/// `method` is that of the request: an answer to HEAD has no body.
std::expected<ResponseHead, Refusal> parse_response_head(std::string_view bytes, std::string_view method);

}  // namespace tb::sentinel::proxy
