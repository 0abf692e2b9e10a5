// JSON values, a strict reader and two writers. No JSON library's header is seen outside json.cc.
//
// parse() always refuses: duplicate names at any depth, invalid UTF-8, lone surrogates, a byte order mark, bytes after
// the value, depth over JsonLimits::depth, more than JsonLimits::bytes. Numbers keep their text: is_integer() is true
// only for `0|-?[1-9][0-9]*` within ±(2^53 − 1).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"

namespace tb {

struct JsonLimits {
  std::size_t bytes = std::size_t{1} << 20;
  int depth = 16;
  bool integers_only = false;                 ///< refuse numbers that are not is_integer()
  bool ascii_names_only = false;              ///< refuse names outside printable ASCII (0x20..0x7e)
  std::size_t values = std::size_t{1} << 20;  ///< most values in one document: bounds memory
};

class Json {
 public:
  using Array = std::vector<Json>;
  using Member = std::pair<std::string, Json>;
  using Object = std::vector<Member>;  ///< in the order of the document
  struct Number {
    std::string text;
  };

  // Defined in json.cc: every file that holds a Json would instantiate them otherwise.
  Json();  ///< null
  Json(const Json& other);
  Json(Json&& other) noexcept;
  Json& operator=(const Json& other);
  Json& operator=(Json&& other) noexcept;
  ~Json();
  Json(std::nullptr_t);
  Json(bool value);
  Json(const char* value);
  Json(std::string value);
  Json(std::string_view value);
  Json(std::int64_t value);
  Json(std::uint64_t value);
  Json(int value);
  Json(unsigned value);
  Json(Array value);
  Json(Object value);
  /// For figures in reports only; canonical() refuses it.
  static Json real(double value);
  static Json number_from_text(std::string text);
  static Json object();
  static Json array();

  bool is_null() const { return std::holds_alternative<std::nullptr_t>(value_); }
  bool is_bool() const { return std::holds_alternative<bool>(value_); }
  bool is_string() const { return std::holds_alternative<std::string>(value_); }
  bool is_number() const { return std::holds_alternative<Number>(value_); }
  bool is_integer() const;
  bool is_array() const { return std::holds_alternative<Array>(value_); }
  bool is_object() const { return std::holds_alternative<Object>(value_); }

  // Each needs the matching is_*(): a std::bad_variant_access otherwise is a bug of the caller.
  bool as_bool() const { return std::get<bool>(value_); }
  const std::string& as_string() const { return std::get<std::string>(value_); }
  std::int64_t as_integer() const;
  double as_double() const;
  const std::string& number_text() const { return std::get<Number>(value_).text; }  ///< as it stood in the document
  const Array& as_array() const { return std::get<Array>(value_); }
  Array& as_array() { return std::get<Array>(value_); }
  const Object& as_object() const { return std::get<Object>(value_); }
  Object& as_object() { return std::get<Object>(value_); }

  /// Member of an object, or nullptr (also if this is no object).
  const Json* find(std::string_view name) const;
  /// Adds or replaces a member; this must be an object.
  Json& set(std::string_view name, Json value);
  /// Removes a member if it is there.
  void erase(std::string_view name);
  /// Appends to an array.
  Json& push(Json value);

  /// "json_malformed" with what and where.
  static Result<Json> parse(std::string_view text, const JsonLimits& limits = {});
  /// Compact text, members in their order.
  std::string dump() const;
  /// Indented by two, for people.
  std::string pretty() const;
  /// RFC 8785. "json_not_canonical" for numbers other than integers within ±(2^53 − 1).
  Result<std::string> canonical() const;

 private:
  std::variant<std::nullptr_t, bool, Number, std::string, Array, Object> value_ = nullptr;
};

/// Strict typed reading of one object, collecting nothing: the first fault is the error, and it names the field.
/// `what` is the object's name in messages ("manifest", "authorize request").
class JsonReader {
 public:
  JsonReader(const Json& object, std::string_view what) : object_(object), what_(what) {}

  Result<std::string> string(std::string_view name) const;  ///< required
  Result<std::int64_t> integer(std::string_view name, std::int64_t min, std::int64_t max) const;
  Result<bool> boolean(std::string_view name) const;
  Result<std::optional<std::string>> optional_string(std::string_view name) const;  ///< null counts as absent
  Result<std::optional<std::int64_t>> optional_integer(std::string_view name, std::int64_t min, std::int64_t max) const;
  Result<std::optional<bool>> optional_boolean(std::string_view name) const;
  Result<std::vector<std::string>> strings(std::string_view name) const;  ///< absent: empty
  /// "unknown_field" naming the first member that is not in `known`.
  Result<> only(std::initializer_list<std::string_view> known) const;

 private:
  const Json& object_;
  std::string what_;
};

}  // namespace tb
