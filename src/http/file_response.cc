#include "http/file_response.h"

#include "http/range.h"

namespace tb::http {

namespace {

/// True if a list of entity tags holds `etag` (or is "*"). Weak tags match only where `weak` comparison is allowed.
bool lists_etag(std::string_view list, std::string_view etag, bool weak) {
  while (!list.empty()) {
    const std::size_t comma = list.find(',');
    std::string_view item = list.substr(0, comma);
    list = comma == std::string_view::npos ? std::string_view() : list.substr(comma + 1);
    const auto from = item.find_first_not_of(" \t");
    if (from == std::string_view::npos) continue;
    item = item.substr(from, item.find_last_not_of(" \t") - from + 1);
    if (item == "*") return true;
    if (weak && item.starts_with("W/")) item.remove_prefix(2);
    if (item == etag) return true;
  }
  return false;
}

}  // namespace

Response file_response(const Request& request, Fd file, const FileRepresentation& representation) {
  Response response;
  response.headers.add("ETag", representation.etag);
  response.headers.add("Accept-Ranges", "bytes");
  if (const auto* tags = request.headers.find("If-Match"); tags && !lists_etag(*tags, representation.etag, false)) {
    Response refused = problem(Error("precondition_failed", "the file has another ETag"));
    refused.headers.add("ETag", representation.etag);
    return refused;
  }
  if (const auto* tags = request.headers.find("If-None-Match"); tags && lists_etag(*tags, representation.etag, true)) {
    response.status = 304;
    return response;
  }
  RangeChoice choice;
  const auto* if_range = request.headers.find("If-Range");
  if (request.method == "GET" && request.headers.count("Range") == 1 &&
      (!if_range || *if_range == representation.etag)) {
    choice = choose_range(request.headers.get("Range"), representation.size);
  }
  if (choice.outcome == RangeOutcome::kUnsatisfiable) {
    Response refused = problem(Error("range_unsatisfiable", "the range lies outside the file"));
    refused.headers.add("Content-Range", content_range({std::nullopt, representation.size}));
    return refused;
  }
  FileBody body{std::move(file), 0, representation.size};
  if (choice.outcome == RangeOutcome::kPartial) {
    response.status = 206;
    response.headers.add("Content-Range", content_range({choice.range, representation.size}));
    body.offset = choice.range.first;
    body.length = choice.range.bytes();
  }
  response.headers.add("Content-Type", representation.content_type);
  response.file = std::move(body);
  return response;
}

}  // namespace tb::http
