// Reading is RapidJSON's iterative SAX parser with numbers kept as text; what it is lenient about (lone surrogates,
// duplicate names, sizes) is refused here.
#include "base/json.h"

#include <fmt/format.h>
#include <rapidjson/error/en.h>
#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <unordered_set>

#include "base/bytes.h"

namespace tb {
namespace {

constexpr std::int64_t kMaxSafe = (std::int64_t{1} << 53) - 1;

/// `0|-?[1-9][0-9]*` within ±(2^53 − 1), or nothing.
std::optional<std::int64_t> strict_integer(std::string_view text) {
  const std::string_view digits = text.starts_with('-') ? text.substr(1) : text;
  if (digits.empty() || digits.size() > 16 || digits.find_first_not_of("0123456789") != digits.npos) return {};
  if (digits.front() == '0' && text.size() > 1) return {};
  std::int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  if (value > kMaxSafe || value < -kMaxSafe) return {};
  return value;
}

class Builder : public rapidjson::BaseReaderHandler<rapidjson::UTF8<>, Builder> {
 public:
  explicit Builder(const JsonLimits& limits) : limits_(limits) {}

  bool Null() { return add(Json()); }
  bool Bool(bool b) { return add(Json(b)); }
  bool RawNumber(const char* s, rapidjson::SizeType n, bool) {
    std::string text(s, n);
    if (limits_.integers_only && !strict_integer(text))
      return refuse(fmt::format("the number {} is no integer within 2^53 - 1", text.substr(0, 40)));
    return add(Json::number_from_text(std::move(text)));
  }
  bool String(const char* s, rapidjson::SizeType n, bool) {
    if (!is_utf8({s, n})) return refuse("a string holds a lone surrogate or invalid UTF-8");
    return add(Json(std::string(s, n)));
  }
  bool Key(const char* s, rapidjson::SizeType n, bool) {
    std::string name(s, n);
    if (!is_utf8(name)) return refuse("a name holds a lone surrogate or invalid UTF-8");
    if (limits_.ascii_names_only && !std::ranges::all_of(name, [](char c) { return c >= 0x20 && c <= 0x7e; }))
      return refuse("a name has a character outside printable ASCII");
    if (!names_.back().insert(name).second) return refuse(fmt::format("the name '{}' is repeated", name.substr(0, 64)));
    pending_.back() = std::move(name);
    return true;
  }
  bool StartObject() { return open(Json::object()); }
  bool StartArray() { return open(Json::array()); }
  bool EndObject(rapidjson::SizeType) { return close(); }
  bool EndArray(rapidjson::SizeType) { return close(); }

  Json take() { return std::move(root_); }
  const std::string& why() const { return why_; }

 private:
  bool refuse(std::string why) {
    why_ = std::move(why);
    return false;
  }
  bool open(Json container) {
    if (static_cast<int>(stack_.size()) >= limits_.depth)
      return refuse(fmt::format("deeper than {} levels", limits_.depth));
    if (++values_ > limits_.values) return refuse(fmt::format("more than {} values", limits_.values));
    stack_.push_back(std::move(container));
    names_.emplace_back();
    pending_.emplace_back();
    return true;
  }
  bool close() {
    Json done = std::move(stack_.back());
    stack_.pop_back();
    names_.pop_back();
    pending_.pop_back();
    --values_;  // counted when opened
    return add(std::move(done));
  }
  bool add(Json value) {
    if (++values_ > limits_.values) return refuse(fmt::format("more than {} values", limits_.values));
    if (stack_.empty()) {
      root_ = std::move(value);
    } else if (stack_.back().is_object()) {
      stack_.back().as_object().emplace_back(std::move(pending_.back()), std::move(value));
    } else {
      stack_.back().as_array().push_back(std::move(value));
    }
    return true;
  }

  const JsonLimits& limits_;
  Json root_;
  std::vector<Json> stack_;
  std::vector<std::unordered_set<std::string>> names_;
  std::vector<std::string> pending_;
  std::size_t values_ = 0;
  std::string why_;
};

void write_string(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20)
          out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
        else
          out += c;
    }
  }
  out += '"';
}

// RFC 8785 3.2.3 sorts names by UTF-16 code units, which differs from byte order above U+FFFF only.
std::u16string utf16(std::string_view s) {
  std::u16string out;
  for (std::size_t i = 0; i < s.size();) {
    const auto lead = static_cast<unsigned char>(s[i]);
    const std::size_t n = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    std::uint32_t p = n == 1 ? lead : lead & (0xFFU >> (n + 1));
    for (std::size_t k = 1; k < n && i + k < s.size(); ++k)
      p = (p << 6) | (static_cast<unsigned char>(s[i + k]) & 0x3FU);
    i += n;
    if (p >= 0x10000) {
      out += static_cast<char16_t>(0xD800 + ((p - 0x10000) >> 10));
      out += static_cast<char16_t>(0xDC00 + ((p - 0x10000) & 0x3FF));
    } else {
      out += static_cast<char16_t>(p);
    }
  }
  return out;
}

struct Style {
  bool canonical = false;
  bool pretty = false;
};

bool write(std::string& out, const Json& v, const Style& style, std::size_t level) {
  const auto newline = [&](std::size_t n) {
    if (style.pretty) out += "\n" + std::string(n * 2, ' ');
  };
  if (v.is_null()) {
    out += "null";
  } else if (v.is_bool()) {
    out += v.as_bool() ? "true" : "false";
  } else if (v.is_string()) {
    write_string(out, v.as_string());
  } else if (v.is_number()) {
    if (style.canonical && !v.is_integer()) return false;
    out += v.number_text();
  } else if (v.is_array()) {
    out += '[';
    bool first = true;
    for (const Json& item : v.as_array()) {
      if (!std::exchange(first, false)) out += ',';
      newline(level + 1);
      if (!write(out, item, style, level + 1)) return false;
    }
    if (!first) newline(level);
    out += ']';
  } else {
    std::vector<const Json::Member*> members;
    for (const auto& member : v.as_object()) members.push_back(&member);
    if (style.canonical) {
      const bool ascii = std::ranges::all_of(
          members, [](auto* m) { return std::ranges::all_of(m->first, [](char c) { return c >= 0; }); });
      if (ascii)
        std::ranges::sort(members, {}, [](auto* m) -> std::string_view { return m->first; });
      else
        std::ranges::sort(members, {}, [](auto* m) { return utf16(m->first); });
    }
    out += '{';
    bool first = true;
    for (const auto* member : members) {
      if (!std::exchange(first, false)) out += ',';
      newline(level + 1);
      write_string(out, member->first);
      out += style.pretty ? ": " : ":";
      if (!write(out, member->second, style, level + 1)) return false;
    }
    if (!first) newline(level);
    out += '}';
  }
  return true;
}

}  // namespace

Json::Json() = default;
Json::Json(const Json& other) = default;
Json::Json(Json&& other) noexcept = default;
Json& Json::operator=(const Json& other) = default;
Json& Json::operator=(Json&& other) noexcept = default;
Json::~Json() = default;
Json::Json(std::nullptr_t) {}
Json::Json(bool value) : value_(value) {}
Json::Json(const char* value) : value_(std::string(value)) {}
Json::Json(std::string value) : value_(std::move(value)) {}
Json::Json(std::string_view value) : value_(std::string(value)) {}
Json::Json(std::int64_t value) : value_(Number{std::to_string(value)}) {}
Json::Json(std::uint64_t value) : value_(Number{std::to_string(value)}) {}
Json::Json(int value) : value_(Number{std::to_string(value)}) {}
Json::Json(unsigned value) : value_(Number{std::to_string(value)}) {}
Json::Json(Array value) : value_(std::move(value)) {}
Json::Json(Object value) : value_(std::move(value)) {}

Json Json::object() {
  return Json(Object{});
}
Json Json::array() {
  return Json(Array{});
}

Json Json::real(double value) {
  return number_from_text(fmt::format("{}", value));
}

Json Json::number_from_text(std::string text) {
  Json out;
  out.value_ = Number{std::move(text)};
  return out;
}

bool Json::is_integer() const {
  return is_number() && strict_integer(number_text()).has_value();
}
std::int64_t Json::as_integer() const {
  return strict_integer(number_text()).value();
}
double Json::as_double() const {
  return std::strtod(number_text().c_str(), nullptr);
}

const Json* Json::find(std::string_view name) const {
  if (!is_object()) return nullptr;
  for (const auto& [key, value] : as_object())
    if (key == name) return &value;
  return nullptr;
}

Json& Json::set(std::string_view name, Json value) {
  for (auto& [key, old] : as_object())
    if (key == name) {
      old = std::move(value);
      return *this;
    }
  as_object().emplace_back(std::string(name), std::move(value));
  return *this;
}

void Json::erase(std::string_view name) {
  std::erase_if(as_object(), [&](const Member& m) { return m.first == name; });
}

Json& Json::push(Json value) {
  as_array().push_back(std::move(value));
  return *this;
}

Result<Json> Json::parse(std::string_view text, const JsonLimits& limits) {
  if (text.size() > limits.bytes)
    return fail("json_malformed", fmt::format("json: {} bytes, more than the {} allowed", text.size(), limits.bytes));
  if (text.starts_with("\xef\xbb\xbf")) return fail("json_malformed", "json: starts with a byte order mark");
  if (!is_utf8(text)) return fail("json_malformed", "json: not valid UTF-8");
  if (text.find('\0') != text.npos) return fail("json_malformed", "json: holds a NUL byte");
  Builder builder(limits);
  rapidjson::MemoryStream stream(text.data(), text.size());
  rapidjson::Reader reader;
  constexpr unsigned kFlags = rapidjson::kParseIterativeFlag | rapidjson::kParseNumbersAsStringsFlag;
  if (reader.Parse<kFlags>(stream, builder)) return builder.take();
  std::string why = builder.why();
  if (why.empty()) {
    why = rapidjson::GetParseError_En(reader.GetParseErrorCode());
    if (!why.empty()) why.front() = static_cast<char>(std::tolower(why.front()));
    if (why.ends_with('.')) why.pop_back();
  }
  return fail("json_malformed", fmt::format("json: {} (at byte {})", why, reader.GetErrorOffset()));
}

std::string Json::dump() const {
  std::string out;
  write(out, *this, {}, 0);
  return out;
}

std::string Json::pretty() const {
  std::string out;
  write(out, *this, {.pretty = true}, 0);
  return out;
}

Result<std::string> Json::canonical() const {
  std::string out;
  if (!write(out, *this, {.canonical = true}, 0))
    return fail("json_not_canonical", "json: a number is no integer within 2^53 - 1");
  return out;
}

}  // namespace tb
