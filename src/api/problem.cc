// Problems as JSON, and as the errors that they stand for.
#include "api/problem.h"

namespace tb::api {

Json Problem::to_json() const {
  Json json = Json::object();
  json.set("type", "about:blank");
  json.set("status", status);
  json.set("code", code);
  json.set("detail", detail);
  if (!hint.empty()) json.set("hint", hint);
  return json;
}

std::optional<Problem> Problem::parse(std::string_view text) {
  auto json = Json::parse(text, {.bytes = 65536});
  if (!json || !json->is_object()) return std::nullopt;
  const Json* code = json->find("code");
  if (code == nullptr || !code->is_string()) return std::nullopt;
  const JsonReader reader(*json, "problem");
  Problem out;
  out.code = code->as_string();
  out.status = static_cast<int>(reader.optional_integer("status", 100, 599).value_or(500).value_or(500));
  out.detail = reader.optional_string("detail").value_or("").value_or("");
  out.hint = reader.optional_string("hint").value_or("").value_or("");
  return out;
}

Error Problem::to_error() const {
  Error error(code, detail.empty() ? "the control plane refused: " + code : detail);
  if (!hint.empty()) error.own_hint = hint;
  return error;
}

}  // namespace tb::api
