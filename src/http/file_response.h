// A file as the answer to GET and HEAD: ranges, ETag and the conditional headers (RFC 9110 sections 13 and 14).
#pragma once

#include <string>
#include <string_view>

#include "http/message.h"

namespace tb::http {

struct FileRepresentation {
  std::uint64_t size = 0;
  std::string etag;  ///< quoted, strong: "\"…\""
  std::string content_type = "application/octet-stream";
};

/// 200, 206, 304, 412 or 416 as `request`'s Range, If-Range, If-Match and If-None-Match say. Takes the file over.
Response file_response(const Request& request, Fd file, const FileRepresentation& representation);

}  // namespace tb::http
