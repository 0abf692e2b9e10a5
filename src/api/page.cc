// Pages as JSON.
#include "api/page.h"

namespace tb::api {

Json Page::to_json() const {
  Json json = Json::object();
  json.set("items", Json(items));
  if (next_cursor) json.set("next_cursor", *next_cursor);
  return json;
}

Page Page::parse(std::string_view text) {
  Json json = value_or_throw(Json::parse(text, {.bytes = std::size_t{64} << 20}));
  const Json* items = json.find("items");
  if (items == nullptr) throw Error("field_missing", "the list lacks items");
  if (!items->is_array()) throw Error("field_invalid", "items of the list must be an array");
  Page out;
  out.items = items->as_array();
  out.next_cursor = value_or_throw(JsonReader(json, "list").optional_string("next_cursor"));
  return out;
}

}  // namespace tb::api
