#include "oci/challenge.h"

#include <algorithm>

#include "http/message.h"

namespace tb::oci {
namespace {

constexpr std::size_t kMaxFieldBytes = 8192;

bool is_token_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

class FieldReader {
 public:
  explicit FieldReader(std::string_view text) : text_(text) {}
  bool at_end() const { return at_ == text_.size(); }
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) ++at_;
  }
  bool take(char c) {
    if (at_end() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  std::string token() {
    const std::size_t from = at_;
    while (at_ < text_.size() && is_token_char(text_[at_])) ++at_;
    return std::string(text_.substr(from, at_ - from));
  }
  /// A token or a quoted string; nothing if it is neither.
  std::optional<std::string> value() {
    if (!take('"')) {
      std::string out = token();
      if (out.empty()) return std::nullopt;
      return out;
    }
    std::string out;
    while (!at_end()) {
      char c = text_[at_++];
      if (c == '"') return out;
      if (c == '\\') {
        if (at_end()) return std::nullopt;
        c = text_[at_++];
      }
      if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7f) return std::nullopt;
      out += c;
    }
    return std::nullopt;
  }
  std::size_t position() const { return at_; }
  void back_to(std::size_t position) { at_ = position; }

 private:
  std::string_view text_;
  std::size_t at_ = 0;
};

// The parameters up to the next scheme or the end; false if they are malformed.
bool read_parameters(FieldReader& reader, Challenge& out) {
  for (;;) {
    reader.skip_space();
    const std::size_t before = reader.position();
    const std::string name = reader.token();
    reader.skip_space();
    if (name.empty() || !reader.take('=')) {
      reader.back_to(before);
      return true;
    }
    reader.skip_space();
    auto value = reader.value();
    if (!value) return false;
    std::string* place = nullptr;
    if (http::equal_ignoring_case(name, "realm")) place = &out.realm;
    if (http::equal_ignoring_case(name, "service")) place = &out.service;
    if (http::equal_ignoring_case(name, "scope")) place = &out.scope;
    if (place != nullptr) {
      if (!place->empty()) return false;
      *place = std::move(*value);
    }
    reader.skip_space();
    if (!reader.take(',')) return reader.at_end();
  }
}

}  // namespace

std::optional<Challenge> parse_challenge(std::string_view field) {
  if (field.size() > kMaxFieldBytes) return std::nullopt;
  FieldReader reader(field);
  std::optional<Challenge> basic;
  for (;;) {
    do reader.skip_space();
    while (reader.take(','));
    if (reader.at_end()) return basic;
    const std::string scheme = reader.token();
    if (scheme.empty()) return std::nullopt;
    Challenge out;
    if (!read_parameters(reader, out)) return std::nullopt;
    if (http::equal_ignoring_case(scheme, "Bearer") && !out.realm.empty()) {
      out.scheme = Challenge::Scheme::kBearer;
      return out;
    }
    if (http::equal_ignoring_case(scheme, "Basic") && !basic) basic = std::move(out);
  }
}

}  // namespace tb::oci
