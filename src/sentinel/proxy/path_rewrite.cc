#include "sentinel/proxy/path_rewrite.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <utility>

namespace tb::sentinel::proxy {
namespace {

/// One character of text as a JSON string would have it.
struct Unit {
  enum Kind { kChar, kNeedMore } kind = kChar;
  unsigned char value = 0;  ///< 0: one that stands in no path of ours
  std::size_t bytes = 1;
};

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// `text` is not empty.
Unit unit_at(std::string_view text) {
  if (text[0] != '\\') return {.value = static_cast<unsigned char>(text[0])};
  if (text.size() < 2) return {Unit::kNeedMore};
  if (text[1] == '/' || text[1] == '\\' || text[1] == '"') {
    return {.value = static_cast<unsigned char>(text[1]), .bytes = 2};
  }
  if (text[1] != 'u') return {.value = 0, .bytes = 2};
  int code = 0;
  for (std::size_t i = 2; i < 6; ++i) {
    if (i >= text.size()) return {Unit::kNeedMore};
    const int digit = hex_digit(text[i]);
    if (digit < 0) return {.value = 0, .bytes = 2};
    code = code * 16 + digit;
  }
  return {.value = static_cast<unsigned char>(code < 0x80 ? code : 0x80), .bytes = 6};
}

bool is_path_char(unsigned char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c >= 0x80 || c == '/' ||
         c == '.' || c == '_' || c == '-' || c == '~' || c == '+' || c == '@' || c == '=' || c == '%';
}

enum class Found { kNo, kYes, kNeedMore };
struct Match {
  Found found = Found::kNo;
  std::size_t bytes = 0;
};

Match match_at(std::string_view path, std::string_view text) {
  std::size_t at = 0;
  for (const char want : path) {
    if (at == text.size()) return {Found::kNeedMore};
    const Unit unit = unit_at(text.substr(at));
    if (unit.kind == Unit::kNeedMore) return {Found::kNeedMore};
    if (unit.value != static_cast<unsigned char>(want)) return {Found::kNo};
    at += unit.bytes;
  }
  return {Found::kYes, at};
}

/// Nonzero in the byte's high bit where a byte of `word` is `c`; what is above the lowest such bit means nothing.
constexpr std::uint64_t bytes_that_are(std::uint64_t word, char c) {
  constexpr std::uint64_t kOnes = 0x0101010101010101;
  const std::uint64_t differs = word ^ (kOnes * static_cast<unsigned char>(c));
  return (differs - kOnes) & ~differs & (kOnes << 7);
}

/// The next byte from `from` on that could begin a path: a slash, or an escape. npos if there is none.
std::size_t next_start(std::string_view text, std::size_t from) {
  static_assert(std::endian::native == std::endian::little);
  for (; from + sizeof(std::uint64_t) <= text.size(); from += sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data() + from, sizeof word);
    const std::uint64_t hits = bytes_that_are(word, '/') | bytes_that_are(word, '\\');
    if (hits != 0) return from + static_cast<std::size_t>(std::countr_zero(hits)) / 8;
  }
  for (; from < text.size(); ++from) {
    if (text[from] == '/' || text[from] == '\\') return from;
  }
  return std::string_view::npos;
}

}  // namespace

HiddenPaths::HiddenPaths(std::vector<std::string> paths, std::string served_name)
    : served_name_(std::move(served_name)) {
  for (std::string& path : paths) {
    while (path.ends_with('/')) path.pop_back();
    const bool plain = std::ranges::all_of(path, [](char c) { return c > 0x20 && c < 0x7f; });
    if (path.size() < 2 || path.size() > kMaxPathBytes || path[0] != '/' || !plain) continue;
    paths_.push_back(std::move(path));
  }
  std::ranges::sort(paths_, [](const std::string& a, const std::string& b) {
    return a.size() != b.size() ? a.size() > b.size() : a < b;
  });
  paths_.erase(std::ranges::unique(paths_).begin(), paths_.end());
  if (paths_.size() > kMaxPaths) paths_.resize(kMaxPaths);
}

std::optional<Refusal> PathRewrite::feed(ByteView in, bool last, std::string& out) {
  if (held_.empty()) {
    scan(as_text(in), last, out);
  } else {
    const std::string whole = std::exchange(held_, {}).append(as_text(in));
    scan(whole, last, out);
  }
  return std::nullopt;
}

bool PathRewrite::may_begin(std::string_view path) const {
  return before_ == '"' || path.find('/', 1) != std::string_view::npos;
}

void PathRewrite::scan(std::string_view text, bool last, std::string& out) {
  std::size_t passed = 0;  // text before it is in `out`, or gone
  std::size_t at = 0;
  const auto hold = [&](std::size_t from) {
    out.append(text.substr(passed, from - passed));
    if (!last) held_ = text.substr(from);
    if (last) out.append(text.substr(from));
  };
  while (at < text.size()) {
    if (in_tail_) {
      const Unit unit = unit_at(text.substr(at));
      if (unit.kind == Unit::kNeedMore) return hold(at);
      if (is_path_char(unit.value)) {
        at += unit.bytes;
        passed = at;
        continue;
      }
      in_tail_ = false;
    }
    const std::size_t start = next_start(text, at);
    if (start == std::string_view::npos) {
      before_ = static_cast<unsigned char>(text.back());
      break;
    }
    if (start > at) before_ = static_cast<unsigned char>(text[start - 1]);
    at = start;
    // Most of what is looked at: the end of a line, a quote, a slash between two words.
    if (text[at] == '\\' && at + 1 < text.size() && text[at + 1] != '/' && text[at + 1] != 'u') {
      before_ = unit_at(text.substr(at, 2)).value;
      at += 2;
      continue;
    }
    const bool within_a_path = before_ < 0x80 && is_path_char(before_);
    std::size_t replaced = 0;
    for (const std::string& path : hidden_.paths()) {
      if (within_a_path) break;
      if (!may_begin(path)) continue;
      const Match match = match_at(path, text.substr(at));
      if (match.found == Found::kNeedMore && !last) return hold(at);
      if (match.found == Found::kYes) {
        replaced = match.bytes;
        break;
      }
    }
    if (replaced > 0) {
      out.append(text.substr(passed, at - passed)).append(hidden_.served_name());
      ++rewritten_;
      at += replaced;
      passed = at;
      in_tail_ = true;
      before_ = 'a';
      continue;
    }
    const Unit unit = unit_at(text.substr(at));
    if (unit.kind == Unit::kNeedMore) {
      if (!last) return hold(at);
      break;
    }
    before_ = unit.value;
    at += unit.bytes;
  }
  out.append(text.substr(passed));
}

}  // namespace tb::sentinel::proxy
