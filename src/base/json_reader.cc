#include <fmt/format.h>

#include <algorithm>

#include "base/json.h"

namespace tb {
namespace {

std::unexpected<Error> missing(std::string_view what, std::string_view name) {
  return fail("field_missing", fmt::format("{}: '{}' is missing", what, name));
}
std::unexpected<Error> invalid(std::string_view what, std::string_view name, std::string_view wanted) {
  return fail("field_invalid", fmt::format("{}: '{}' must be {}", what, name, wanted));
}

template <typename T>
Result<T> required(Result<std::optional<T>> value, std::string_view what, std::string_view name) {
  std::optional<T> got = TRY(std::move(value));
  if (!got) return missing(what, name);
  return *std::move(got);
}

}  // namespace

Result<std::optional<std::string>> JsonReader::optional_string(std::string_view name) const {
  const Json* v = object_.find(name);
  if (v == nullptr || v->is_null()) return std::nullopt;
  if (!v->is_string()) return invalid(what_, name, "a string");
  return v->as_string();
}

Result<std::optional<std::int64_t>> JsonReader::optional_integer(std::string_view name, std::int64_t min,
                                                                 std::int64_t max) const {
  const Json* v = object_.find(name);
  if (v == nullptr || v->is_null()) return std::nullopt;
  if (!v->is_integer() || v->as_integer() < min || v->as_integer() > max)
    return invalid(what_, name, fmt::format("an integer from {} to {}", min, max));
  return v->as_integer();
}

Result<std::optional<bool>> JsonReader::optional_boolean(std::string_view name) const {
  const Json* v = object_.find(name);
  if (v == nullptr || v->is_null()) return std::nullopt;
  if (!v->is_bool()) return invalid(what_, name, "true or false");
  return v->as_bool();
}

Result<std::string> JsonReader::string(std::string_view name) const {
  return required(optional_string(name), what_, name);
}
Result<std::int64_t> JsonReader::integer(std::string_view name, std::int64_t min, std::int64_t max) const {
  return required(optional_integer(name, min, max), what_, name);
}
Result<bool> JsonReader::boolean(std::string_view name) const {
  return required(optional_boolean(name), what_, name);
}

Result<std::vector<std::string>> JsonReader::strings(std::string_view name) const {
  const Json* v = object_.find(name);
  if (v == nullptr || v->is_null()) return std::vector<std::string>{};
  if (!v->is_array() || !std::ranges::all_of(v->as_array(), &Json::is_string)) return invalid(what_, name, "a list of strings");
  std::vector<std::string> out;
  for (const Json& item : v->as_array()) out.push_back(item.as_string());
  return out;
}

Result<> JsonReader::only(std::initializer_list<std::string_view> known) const {
  if (!object_.is_object()) return fail("field_invalid", fmt::format("{}: must be an object", what_));
  for (const auto& [name, value] : object_.as_object())
    if (std::ranges::find(known, name) == known.end())
      return fail("unknown_field", fmt::format("{}: unknown field '{}'", what_, name.substr(0, 64)));
  return {};
}

}  // namespace tb
