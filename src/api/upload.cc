// Upload states as JSON.
#include "api/upload.h"

namespace tb::api {

Json UploadState::to_json() const {
  Json json = Json::object();
  json.set("received_bytes", received_bytes);
  json.set("total_bytes", total_bytes);
  json.set("complete", complete);
  return json;
}

UploadState UploadState::from_json(const Json& json) {
  constexpr std::int64_t kMax = (std::int64_t{1} << 53) - 1;
  const JsonReader reader(json, "upload state");
  return {.received_bytes = value_or_throw(reader.integer("received_bytes", 0, kMax)),
          .total_bytes = value_or_throw(reader.integer("total_bytes", 0, kMax)),
          .complete = value_or_throw(reader.boolean("complete"))};
}

}  // namespace tb::api
