// Lists come in pages: {"items": […], "next_cursor": "…"}; no cursor means the end.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"

namespace tb::api {

inline constexpr std::int64_t kDefaultPageItems = 100;
inline constexpr std::int64_t kMaxPageItems = 200;

struct Page {
  Json::Array items;
  std::optional<std::string> next_cursor;

  Json to_json() const;
  /// Throws an error that names the field.
  static Page parse(std::string_view text);
};

}  // namespace tb::api
