// Status line and header fields of an answer, as bytes. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/clock.h"
#include "http/message.h"

namespace tb::http {

/// "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 section 5.6.7).
std::string http_date(UnixMs time);

/// Ends with the empty line. `content_length`: nullopt leaves the field out (204, 304). Adds Date, Connection: close,
/// and, where the answer does not set them itself, `Cache-Control: no-store` and `X-Content-Type-Options: nosniff`.
/// Throws "internal" if a field's name or value holds what would end its line.
std::string response_head(const Response& response, std::optional<std::uint64_t> content_length, bool close,
                          UnixMs now);

}  // namespace tb::http
