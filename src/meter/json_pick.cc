#include "meter/json_pick.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace tb::meter {
namespace {

constexpr std::int64_t kMaxInteger = (std::int64_t{1} << 53) - 1;
constexpr std::uint64_t kFnvOffset = 0xcbf29ce484222325, kFnvPrime = 0x100000001b3;
constexpr std::size_t kShortName = 16;
constexpr std::uint32_t kReplacement = 0xfffd;

bool is_digit(unsigned char c) {
  return c >= '0' && c <= '9';
}
bool is_blank(unsigned char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

#ifdef __SSE2__
/// Marks what ends a plain run among sixteen bytes.
inline __m128i others_at(const char* text) {
  const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text));
  // Signed: bytes over 0x7f are below 0x20 too.
  const __m128i low = _mm_cmplt_epi8(v, _mm_set1_epi8(0x20));
  const __m128i quote = _mm_cmpeq_epi8(v, _mm_set1_epi8('"'));
  const __m128i backslash = _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'));
  return _mm_or_si128(low, _mm_or_si128(quote, backslash));
}
#endif

std::size_t plain_run_from(std::string_view text, std::size_t at) {
  constexpr std::uint64_t kOnes = 0x0101010101010101, kHighs = 0x8080808080808080;
  const auto zero_byte = [](std::uint64_t v) { return (v - kOnes) & ~v & kHighs; };
#ifdef __SSE2__
  const auto others = [&](std::size_t from) { return others_at(text.data() + from); };
  for (; at + 64 <= text.size(); at += 64) {
    const __m128i first = _mm_or_si128(others(at), others(at + 16));
    if (_mm_movemask_epi8(_mm_or_si128(first, _mm_or_si128(others(at + 32), others(at + 48)))) != 0) break;
  }
  for (; at + 16 <= text.size(); at += 16) {
    const int found = _mm_movemask_epi8(others(at));
    if (found != 0) return at + static_cast<std::size_t>(std::countr_zero(static_cast<unsigned>(found)));
  }
#endif
  for (; at + 8 <= text.size(); at += 8) {
    std::uint64_t v = 0;
    std::memcpy(&v, text.data() + at, 8);
    const std::uint64_t below_blank = (v - kOnes * 0x20) & ~v & kHighs;
    if (((v & kHighs) | below_blank | zero_byte(v ^ (kOnes * '"')) | zero_byte(v ^ (kOnes * '\\'))) != 0) break;
  }
  for (; at < text.size(); ++at) {
    const auto c = static_cast<unsigned char>(text[at]);
    if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\') break;
  }
  return at;
}

/// Length of the run at the beginning that holds no quote, backslash, control byte or byte over 0x7f.
inline std::size_t plain_run(std::string_view text) {
#ifdef __SSE2__
  // Most texts are short, and end in the first sixteen.
  if (text.size() >= 16) {
    const int found = _mm_movemask_epi8(others_at(text.data()));
    if (found != 0) return static_cast<std::size_t>(std::countr_zero(static_cast<unsigned>(found)));
    return plain_run_from(text, 16);
  }
#endif
  return plain_run_from(text, 0);
}

/// Most names are of a length that none has who is looked for.
std::uint32_t length_bit(std::size_t name_bytes) {
  return std::uint32_t{1} << std::min<std::size_t>(name_bytes, 31);
}

std::string_view literal_of(unsigned char first) {
  return first == 't' ? "true" : first == 'f' ? "false" : first == 'n' ? "null" : "";
}
Picked::Kind kind_of_literal(unsigned char first) {
  return first == 't' ? Picked::Kind::kTrue : first == 'f' ? Picked::Kind::kFalse : Picked::Kind::kNull;
}

}  // namespace

JsonName::JsonName(std::string_view name) : text(name) {
  if (name.size() >= sizeof first) {
    std::memcpy(&first, name.data(), sizeof first);
    std::memcpy(&last, name.data() + name.size() - sizeof last, sizeof last);
  } else if (name.size() >= 4) {
    std::uint32_t low = 0, high = 0;
    std::memcpy(&low, name.data(), sizeof low);
    std::memcpy(&high, name.data() + name.size() - sizeof high, sizeof high);
    first = low | std::uint64_t{high} << 32;
  } else {
    for (const char c : name) first = first << 8 | static_cast<unsigned char>(c);
  }
}

std::uint64_t JsonName::short_hash() const {
  const std::uint64_t mixed = (first * kFnvPrime) ^ std::rotl(last + text.size(), 29);
  return mixed ^ (mixed * kFnvOffset >> 31);
}

JsonPaths::JsonPaths(const std::vector<std::string_view>& paths, const std::vector<std::string_view>& anywhere,
                     const std::vector<int>& numbers)
    : nodes_(1) {
  for (const std::string_view name : anywhere) {
    anywhere_.emplace_back(name);
    anywhere_lengths_ |= length_bit(name.size());
  }
  for (std::size_t number = 0; number < paths.size(); ++number) {
    std::string_view rest = paths[number];
    int node = 0;
    while (!rest.empty()) {
      const bool is_item = rest.starts_with("[]");
      const std::string_view name = is_item ? rest.substr(0, 2) : rest.substr(0, rest.find_first_of(".["));
      rest.remove_prefix(name.size());
      if (rest.starts_with('.')) rest.remove_prefix(1);
      int next = is_item ? item(node) : child(node, JsonName(name));
      if (next == kNowhere) {
        next = static_cast<int>(nodes_.size());
        Node& parent = nodes_[static_cast<std::size_t>(node)];
        if (is_item) {
          parent.item = next;
        } else {
          parent.children.emplace_back(name, next);
          parent.lengths |= length_bit(name.size());
        }
        nodes_.emplace_back();
      }
      node = next;
    }
    nodes_[static_cast<std::size_t>(node)].path = numbers.empty() ? static_cast<int>(number) : numbers[number];
  }
}

bool JsonPaths::may_know(int node, std::size_t name_bytes) const {
  const std::uint32_t here = node == kNowhere ? 0 : nodes_[static_cast<std::size_t>(node)].lengths;
  return ((here | anywhere_lengths_) & length_bit(name_bytes)) != 0;
}

int JsonPaths::child(int node, const JsonName& name) const {
  if (node == kNowhere) return kNowhere;
  const Node& here = nodes_[static_cast<std::size_t>(node)];
  for (const auto& [have, to] : here.children) {
    if (have == name) return to;
  }
  return kNowhere;
}

bool JsonPaths::is_anywhere(const JsonName& name) const {
  return std::ranges::find(anywhere_, name) != anywhere_.end();
}

bool Picked::is_integer(std::int64_t& value) const {
  if (kind != Kind::kNumber || !whole() || text == "-0") return false;
  const char* const stop = text.data() + text.size();
  const auto [at, fault] = std::from_chars(text.data(), stop, value);
  return fault == std::errc() && at == stop && value >= -kMaxInteger && value <= kMaxInteger;
}

void JsonPick::reset() {
  state_ = State::kValue;
  fault_ = {};
  offset_ = settled_end_ = members_ = 0;
  outermost_object_ = saw_anywhere_ = in_member_value_ = is_name_ = false;
  stack_.clear();
  name_hashes_.clear();
  high_surrogate_ = 0;
  utf8_left_ = 0;
  utf8_low_ = 0x80;
  utf8_high_ = 0xbf;
}

bool JsonPick::fail(std::string_view why) {
  if (fault_.empty()) fault_ = why;
  return false;
}

bool JsonPick::number_could_end() const {
  return state_ == State::kZero || state_ == State::kInteger || state_ == State::kFraction ||
         state_ == State::kExponentDigits;
}

bool JsonPick::feed(std::string_view piece) {
  if (failed()) return false;
  for (std::size_t at = 0; at < piece.size();) {
    if (state_ == State::kString && utf8_left_ == 0 && high_surrogate_ == 0) {
      const std::size_t run = plain_run(piece.substr(at));
      if (run > 0) {
        keep(piece.substr(at, run));
        at += run;
        offset_ += run;
        continue;
      }
    } else if (state_ == State::kCommaOrEnd && piece[at] == ',') {
      state_ = stack_.back().object ? State::kName : State::kValue;
      ++at;
      ++offset_;
      continue;
    } else if (const std::size_t taken = take_token(piece.substr(at)); taken > 0) {
      if (failed()) return false;
      at += taken;
      continue;
    }
    if (!step(static_cast<unsigned char>(piece[at]))) return false;
    ++at;
    ++offset_;
  }
  return true;
}

/// A name, a string, a whole number or a literal that lies in `rest` to its end, and in plain bytes, is taken at once:
/// gives its length. Else nothing has changed, and it is read byte by byte.
std::size_t JsonPick::take_token(std::string_view rest) {
  const bool is_name = state_ == State::kName || state_ == State::kNameOrEnd;
  if (!is_name && state_ != State::kValue && state_ != State::kItemOrEnd) return 0;
  const auto c = static_cast<unsigned char>(rest.front());
  if (c == '"') {
    const std::size_t run = plain_run(rest.substr(1));
    if (run + 2 > rest.size() || rest[run + 1] != '"') return 0;
    const std::string_view text = rest.substr(1, run);
    if (!is_name) {
      place_value();
      offset_ += run + 2;
      end_scalar(Picked::Kind::kString, text.substr(0, kKeptBytes), run);
      return run + 2;
    }
    name_begin_ = offset_;
    if (stack_.size() == 1 && (run > kShortName || run == 0)) {
      hash_ = kFnvOffset;
      for (const char byte : text) hash_ = (hash_ ^ static_cast<unsigned char>(byte)) * kFnvPrime;
    }
    offset_ += run + 1;
    if (!end_name(run <= kKeptBytes ? text : std::string_view())) return run + 1;
    ++offset_;
    if (run + 2 == rest.size() || rest[run + 2] != ':') return run + 2;
    ++offset_;
    state_ = State::kValue;
    return run + 3;
  }
  if (is_name) return 0;
  if (const std::string_view literal = literal_of(c); !literal.empty()) {
    if (!rest.starts_with(literal)) return 0;
    place_value();
    offset_ += literal.size();
    end_scalar(kind_of_literal(c), {}, 0);
    return literal.size();
  }
  const std::size_t sign = c == '-' ? 1 : 0;
  std::size_t end = sign;
  while (end < rest.size() && is_digit(static_cast<unsigned char>(rest[end]))) ++end;
  if (end == sign || end == rest.size() || (rest[sign] == '0' && end > sign + 1)) return 0;
  const auto after = static_cast<unsigned char>(rest[end]);
  if (after != ',' && after != '}' && after != ']' && !is_blank(after)) return 0;
  place_value();
  offset_ += end;
  end_scalar(Picked::Kind::kNumber, rest.substr(0, std::min(end, kKeptBytes)), end);
  return end;
}

bool JsonPick::step(unsigned char c) {
  switch (state_) {
    case State::kString:
      return string_byte(c);
    case State::kEscape:
      return escape_byte(c);
    case State::kHex:
      return hex_digit(c);
    case State::kLiteral:
      if (c != static_cast<unsigned char>(literal_[literal_at_])) return fail("is not JSON");
      if (++literal_at_ < literal_.size()) return true;
      ++offset_;
      end_scalar(kind_of_literal(static_cast<unsigned char>(literal_[0])), {}, 0);
      --offset_;
      return true;
    case State::kMinus:
    case State::kZero:
    case State::kInteger:
    case State::kPoint:
    case State::kFraction:
    case State::kExponent:
    case State::kExponentSign:
    case State::kExponentDigits:
      return number_byte(c);
    default:
      break;
  }
  if (is_blank(c)) return true;
  switch (state_) {
    case State::kItemOrEnd:
      if (c == ']') return close();
      [[fallthrough]];
    case State::kValue:
      return begin_value(c);
    case State::kNameOrEnd:
      if (c == '}') return close();
      [[fallthrough]];
    case State::kName:
      if (c != '"') return fail("is not JSON");
      is_name_ = true;
      name_begin_ = offset_;
      kept_bytes_ = kept_total_ = 0;
      hash_ = kFnvOffset;
      state_ = State::kString;
      return true;
    case State::kColon:
      if (c != ':') return fail("is not JSON");
      state_ = State::kValue;
      return true;
    case State::kCommaOrEnd:
      if (c == (stack_.back().object ? '}' : ']')) return close();
      if (c != ',') return fail("is not JSON");
      state_ = stack_.back().object ? State::kName : State::kValue;
      return true;
    default:
      return fail("has bytes after its end");
  }
}

/// A value begins here: where it stands in its paths.
void JsonPick::place_value() {
  if (!stack_.empty() && !stack_.back().object) {
    node_ = paths_->item(stack_.back().node);
    name_begin_ = offset_;
  } else if (stack_.empty()) {
    node_ = 0;
    name_begin_ = offset_;
  }
  begin_ = offset_;
  kept_bytes_ = kept_total_ = 0;
  is_name_ = false;
  if (stack_.size() == 1) in_member_value_ = true;
}

bool JsonPick::begin_value(unsigned char c) {
  place_value();
  if (c == '{') return open(true);
  if (c == '[') return open(false);
  if (c == '"') {
    state_ = State::kString;
    return true;
  }
  literal_ = literal_of(c);
  if (!literal_.empty()) {
    literal_at_ = 1;
    state_ = State::kLiteral;
    return true;
  }
  if (c != '-' && !is_digit(c)) return fail("is not JSON");
  state_ = c == '-' ? State::kMinus : c == '0' ? State::kZero : State::kInteger;
  keep(static_cast<char>(c));
  return true;
}

bool JsonPick::open(bool object) {
  if (stack_.size() >= kMaxDepth) return fail("is nested too deeply");
  if (stack_.empty()) {
    outermost_object_ = object;
    settled_end_ = offset_ + 1;
  }
  if (stack_.capacity() == 0) stack_.reserve(kUsualDepth);
  stack_.push_back({.object = object, .node = node_, .name_begin = name_begin_, .begin = begin_});
  state_ = object ? State::kNameOrEnd : State::kItemOrEnd;
  return true;
}

bool JsonPick::close() {
  const Frame frame = stack_.back();
  stack_.pop_back();
  node_ = frame.node;
  begin_ = frame.begin;
  name_begin_ = frame.name_begin;
  if (stack_.empty()) members_ = frame.items;
  ++offset_;
  const Picked::Kind kind = frame.object ? Picked::Kind::kObject : Picked::Kind::kArray;
  if (const int path = paths_->path(node_); path != JsonPaths::kNowhere) {
    tell({.path = path, .kind = kind, .items = frame.items, .first_item = frame.first_item});
  }
  end_value(kind);
  --offset_;
  return true;
}

void JsonPick::keep(char c) {
  ++kept_total_;
  if (kept_bytes_ < kKeptBytes) kept_[kept_bytes_++] = c;
  if (is_name_) hash_ = (hash_ ^ static_cast<unsigned char>(c)) * kFnvPrime;
}

void JsonPick::keep(std::string_view run) {
  kept_total_ += run.size();
  const std::size_t more = std::min(run.size(), kKeptBytes - kept_bytes_);
  std::copy_n(run.begin(), more, kept_.begin() + static_cast<std::ptrdiff_t>(kept_bytes_));
  kept_bytes_ += more;
  if (!is_name_) return;
  for (const char c : run) hash_ = (hash_ ^ static_cast<unsigned char>(c)) * kFnvPrime;
}

void JsonPick::keep_code_point(std::uint32_t code) {
  if (code < 0x80) return keep(static_cast<char>(code));
  if (code < 0x800) {
    keep(static_cast<char>(0xc0 | (code >> 6)));
  } else {
    if (code < 0x10000) {
      keep(static_cast<char>(0xe0 | (code >> 12)));
    } else {
      keep(static_cast<char>(0xf0 | (code >> 18)));
      keep(static_cast<char>(0x80 | ((code >> 12) & 0x3f)));
    }
    keep(static_cast<char>(0x80 | ((code >> 6) & 0x3f)));
  }
  keep(static_cast<char>(0x80 | (code & 0x3f)));
}

bool JsonPick::string_byte(unsigned char c) {
  if (utf8_left_ > 0) {
    if (c < utf8_low_ || c > utf8_high_) return fail("is not UTF-8");
    utf8_low_ = 0x80;
    utf8_high_ = 0xbf;
    --utf8_left_;
    keep(static_cast<char>(c));
    return true;
  }
  if (c == '\\') {
    state_ = State::kEscape;
    return true;
  }
  // A high surrogate that no low one follows is JSON all the same, and some clients cut strings there.
  if (std::exchange(high_surrogate_, 0) != 0) keep_code_point(kReplacement);
  if (c == '"') return end_string();
  if (c < 0x20) return fail("is not JSON");
  if (c >= 0x80) {
    if (c < 0xc2 || c > 0xf4) return fail("is not UTF-8");
    utf8_left_ = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
    utf8_low_ = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    utf8_high_ = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
  }
  keep(static_cast<char>(c));
  return true;
}

bool JsonPick::escape_byte(unsigned char c) {
  if (c == 'u') {
    code_ = 0;
    hex_left_ = 4;
    state_ = State::kHex;
    return true;
  }
  if (std::exchange(high_surrogate_, 0) != 0) keep_code_point(kReplacement);
  constexpr std::string_view kFrom = "\"\\/bfnrt", kTo = "\"\\/\b\f\n\r\t";
  const std::size_t at = kFrom.find(static_cast<char>(c));
  if (at == std::string_view::npos) return fail("is not JSON");
  keep(kTo[at]);
  state_ = State::kString;
  return true;
}

bool JsonPick::hex_digit(unsigned char c) {
  const int digit = is_digit(c)            ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
  if (digit < 0) return fail("is not JSON");
  code_ = code_ * 16 + static_cast<std::uint32_t>(digit);
  if (--hex_left_ > 0) return true;
  state_ = State::kString;
  const bool high = code_ >= 0xd800 && code_ < 0xdc00, low = code_ >= 0xdc00 && code_ < 0xe000;
  const std::uint32_t before = std::exchange(high_surrogate_, high ? code_ : 0);
  if (low && before != 0) {
    keep_code_point(0x10000 + ((before - 0xd800) << 10) + (code_ - 0xdc00));
    return true;
  }
  if (before != 0) keep_code_point(kReplacement);
  if (!high) keep_code_point(low ? kReplacement : code_);
  return true;
}

bool JsonPick::end_string() {
  if (is_name_) return end_name(kept_total_ == kept_bytes_ ? kept() : std::string_view());
  ++offset_;
  end_scalar(Picked::Kind::kString, kept(), kept_total_);
  --offset_;
  return true;
}

/// At its closing quote. Empty: too long for any that is looked for.
bool JsonPick::end_name(std::string_view text) {
  const int node = stack_.back().node;
  const bool outermost = stack_.size() == 1;
  node_ = JsonPaths::kNowhere;
  state_ = State::kColon;
  const bool may_know = paths_->may_know(node, text.size());
  if (!outermost && !may_know) return true;
  const JsonName name(text);
  if (may_know) {
    node_ = paths_->child(node, name);
    if (!saw_anywhere_ && paths_->is_anywhere(name)) saw_anywhere_ = true;
  }
  if (!outermost) return true;
  if (!text.empty() && text.size() <= kShortName) hash_ = name.short_hash();
  if (std::ranges::find(name_hashes_, hash_) != name_hashes_.end()) return fail("names a member twice");
  if (name_hashes_.size() >= kMaxNames) return fail("has too many members");
  if (name_hashes_.capacity() == 0) name_hashes_.reserve(kUsualNames);
  name_hashes_.push_back(hash_);
  taker_->on_name(paths_->path(node_), name_begin_, offset_ + 1);
  return true;
}

bool JsonPick::number_byte(unsigned char c) {
  const auto go = [&](State next) {
    state_ = next;
    keep(static_cast<char>(c));
    return true;
  };
  switch (state_) {
    case State::kMinus:
      if (is_digit(c)) return go(c == '0' ? State::kZero : State::kInteger);
      return fail("is not JSON");
    case State::kInteger:
      if (is_digit(c)) return go(State::kInteger);
      [[fallthrough]];
    case State::kZero:
      if (c == '.') return go(State::kPoint);
      if (c == 'e' || c == 'E') return go(State::kExponent);
      break;
    case State::kPoint:
      if (is_digit(c)) return go(State::kFraction);
      return fail("is not JSON");
    case State::kFraction:
      if (is_digit(c)) return go(State::kFraction);
      if (c == 'e' || c == 'E') return go(State::kExponent);
      break;
    case State::kExponent:
      if (c == '+' || c == '-') return go(State::kExponentSign);
      [[fallthrough]];
    case State::kExponentSign:
      if (is_digit(c)) return go(State::kExponentDigits);
      return fail("is not JSON");
    default:
      if (is_digit(c)) return go(State::kExponentDigits);
      break;
  }
  end_scalar(Picked::Kind::kNumber, kept(), kept_total_);
  return step(c);  // the byte after the number belongs to what is around it
}

void JsonPick::end_scalar(Picked::Kind kind, std::string_view text, std::uint64_t text_bytes) {
  if (const int path = paths_->path(node_); path != JsonPaths::kNowhere) {
    tell({.path = path, .kind = kind, .text = text, .text_bytes = text_bytes});
  }
  end_value(kind);
}

void JsonPick::tell(Picked value) {
  value.name_begin = name_begin_;
  value.begin = begin_;
  value.end = offset_;
  taker_->on_value(value);
}

/// What is around the value goes on.
void JsonPick::end_value(Picked::Kind kind) {
  if (stack_.empty()) {
    state_ = State::kDone;
    return;
  }
  Frame& frame = stack_.back();
  if (frame.items++ == 0) frame.first_item = kind;
  if (stack_.size() == 1) {
    settled_end_ = offset_;
    in_member_value_ = false;
  }
  state_ = State::kCommaOrEnd;
}

}  // namespace tb::meter
