#include "sentinel/proxy/h2_request.h"

#include <algorithm>
#include <array>
#include <utility>

namespace tb::sentinel::proxy {
namespace {

/// Of one connection of HTTP/1.1: they mean nothing here (RFC 9113 8.2.2), and much in the text that we make.
constexpr NameSet kOfConnections(std::to_array<std::string_view>({"connection", "http2-settings", "keep-alive",
                                                                  "proxy-connection", "transfer-encoding", "upgrade"}));

bool is_name(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  });
}

bool is_value(std::string_view text) {
  return std::ranges::none_of(text, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte < 0x20 && byte != '\t') || byte == 0x7f;
  });
}

/// A word of the request line.
bool is_word(std::string_view text) {
  return !text.empty() && is_value(text) && text.find_first_of(" \t") == std::string_view::npos;
}

}  // namespace

H2Request::Taken H2Request::take_pseudo(std::string_view name, std::string_view value) {
  if (!is_word(value)) return Taken::kMalformed;
  if (name == ":scheme") return Taken::kYes;  // how the client came is known from its socket
  std::string* const word = name == ":method"      ? &method_
                            : name == ":path"      ? &target_
                            : name == ":authority" ? &authority_
                                                   : nullptr;
  if (word == nullptr || !word->empty()) return Taken::kMalformed;
  word->assign(value);
  return Taken::kYes;
}

H2Request::Taken H2Request::take(std::string_view name, std::string_view value) {
  const bool pseudo = name.starts_with(':');
  if (!is_value(value) || (!pseudo && !is_name(name)) || kOfConnections.contains(name)) return Taken::kMalformed;
  bytes_ += name.size() + value.size() + 4;
  if (bytes_ > kMaxHeadBytes) {
    too_large_ = true;
    return bytes_ > kMostBytes ? Taken::kTooMuch : Taken::kYes;
  }
  if (pseudo) return take_pseudo(name, value);
  if (name == "te") return value == "trailers" ? Taken::kYes : Taken::kMalformed;
  if (name == "host") {
    if (std::exchange(has_host_, true)) return Taken::kMalformed;
    host_.assign(value);
    return Taken::kYes;
  }
  if (name == "cookie") {
    if (!cookie_.empty()) cookie_.append("; ");
    cookie_.append(value);
    return Taken::kYes;
  }
  has_length_ = has_length_ || name == "content-length";
  fields_.append(name).append(": ").append(value).append("\r\n");
  return Taken::kYes;
}

std::string H2Request::text(bool ends) const {
  std::string out = method_;
  out.append(" ").append(target_.empty() ? authority_ : target_).append(" HTTP/1.1\r\n");
  // Two that differ both go on: two are refused.
  if (!authority_.empty()) out.append("Host: ").append(authority_).append("\r\n");
  if (has_host_ && !(!authority_.empty() && equal_fold(host_, authority_))) {
    out.append("Host: ").append(host_).append("\r\n");
  }
  if (too_large_) out.append("x: ").append(kMaxHeadBytes, 'x').append("\r\n");
  out.append(fields_);
  if (!cookie_.empty()) out.append("cookie: ").append(cookie_).append("\r\n");
  if (!ends && !has_length_) out.append("Transfer-Encoding: chunked\r\n");
  if (ends && !has_length_ && (method_ == "POST" || method_ == "PUT" || method_ == "PATCH")) {
    out.append("Content-Length: 0\r\n");
  }
  out.append("\r\n");
  return out;
}

}  // namespace tb::sentinel::proxy
