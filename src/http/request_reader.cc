#include "http/request_reader.h"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/error.hpp>

#include <algorithm>

#include "http/router.h"

namespace tb::http {

namespace beast = boost::beast;

namespace {

constexpr std::size_t kMaxFields = 100;
// The longest line of a chunk's size that is waited for.
constexpr std::size_t kMaxChunkLine = 4096;

std::string_view std_view(beast::string_view v) {
  return {v.data(), v.size()};
}

}  // namespace

RequestReader::RequestReader(std::size_t header_bytes) {
  header_limit(static_cast<std::uint32_t>(header_bytes));
  body_limit(boost::none);  // decided by the route
  eager(false);
}

std::uint64_t RequestReader::declared_bytes() const {
  const auto length = content_length();
  return length ? *length : 0;
}

std::size_t RequestReader::feed(std::string_view data) {
  error_code ec;
  if (head_done()) eager(true);
  const bool in_body = head_done();
  const std::size_t used = put(boost::asio::const_buffer(data.data(), data.size()), ec);
  if (refusal_) throw *refusal_;
  if (!ec) return used;
  if (ec == beast::http::error::need_more) {
    if (in_body && used == 0 && data.size() > kMaxChunkLine) throw Error("bad_request", "malformed chunk");
    return used;
  }
  if (ec == beast::http::error::header_limit) throw Error("header_too_large", "the request's header is too large");
  if (ec == beast::http::error::bad_version) throw Error("http_version_unsupported", "this is no HTTP/1.1 request");
  throw Error("bad_request", "malformed HTTP request: " + ec.message());
}

void RequestReader::refuse(std::string_view reason, std::string message, error_code& ec) {
  refusal_.emplace(reason, std::move(message));
  ec = beast::http::error::bad_field;
}

void RequestReader::on_request_impl(beast::http::verb, view method, view target, int version, error_code&) {
  request_.method = std_view(method);
  request_.target = std_view(target);
  http_1_1_ = version == 11;
}

void RequestReader::on_field_impl(beast::http::field, view name, view value, error_code& ec) {
  if (head_seen_) return refuse("bad_request", "trailers are not accepted", ec);
  if (request_.headers.entries().size() == kMaxFields) {
    return refuse("header_too_large", "the request has too many header fields", ec);
  }
  request_.headers.add(std_view(name), std_view(value));
}

void RequestReader::on_header_impl(error_code& ec) {
  head_seen_ = true;
  check_head(ec);
}

void RequestReader::check_head(error_code& ec) {
  const Headers& headers = request_.headers;
  const std::size_t lengths = headers.count("Content-Length");
  const std::size_t encodings = headers.count("Transfer-Encoding");
  if (lengths + encodings > 1) return refuse("bad_request", "more than one length of the body is given", ec);
  if (lengths == 1) {
    const std::string_view value = headers.get("Content-Length");
    if (!std::ranges::all_of(value, [](char c) { return c >= '0' && c <= '9'; })) {
      return refuse("bad_request", "Content-Length is no number", ec);
    }
  }
  if (encodings == 1 && (!equal_ignoring_case(headers.get("Transfer-Encoding"), "chunked") || !http_1_1_)) {
    return refuse("bad_request", "no transfer encoding but chunked is known", ec);
  }
  if (headers.count("Host") > 1 || (http_1_1_ && headers.count("Host") == 0)) {
    return refuse("bad_request", "exactly one Host header is required", ec);
  }
  if (headers.count("Expect") > 0) {
    if (headers.count("Expect") > 1 || !equal_ignoring_case(headers.get("Expect"), "100-continue")) {
      return refuse("bad_request", "no expectation but 100-continue is known", ec);
    }
    expects_continue_ = http_1_1_;
  }
  const std::size_t mark = std::min(request_.target.find('?'), request_.target.size());
  request_.path = request_.target.substr(0, mark);
  if (!is_plain_path(request_.path)) return refuse("bad_request", "the path is not written plainly", ec);
  if (mark < request_.target.size()) {
    auto query = Query::parse(std::string_view(request_.target).substr(mark + 1));
    if (!query) return refuse(query.error().reason, query.error().message, ec);
    request_.query = std::move(*query);
  }
}

std::size_t RequestReader::on_body_impl(view body, error_code&) {
  body_.append(body.data(), body.size());
  return body.size();
}

std::size_t RequestReader::on_chunk_body_impl(std::uint64_t, view body, error_code&) {
  body_.append(body.data(), body.size());
  return body.size();
}

}  // namespace tb::http
