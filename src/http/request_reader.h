// Bytes of one HTTP/1.1 request to a Request: Beast's parser, and above it the refusals that Beast leaves out
// (encodings other than chunked, lists of lengths, trailers, missing or repeated Host, targets that are not a plain
// path). Internal to http/: the one header here that shows Beast. Pure: no sockets, so it can be fuzzed.
#pragma once

#include <boost/beast/http/basic_parser.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "http/message.h"

namespace tb::http {

class RequestReader final : public boost::beast::http::basic_parser<true> {
 public:
  explicit RequestReader(std::size_t header_bytes);

  /// Parses from the front of `data`, which must hold everything not consumed before. Stops after the head, so that
  /// the body's fate can be decided; later calls parse the body. Returns the bytes consumed; 0 with an unfinished
  /// request means: more is needed. Throws "bad_request", "bad_query", "header_too_large", "http_version_unsupported".
  std::size_t feed(std::string_view data);

  bool head_done() const { return is_header_done(); }
  bool all_done() const { return is_done(); }
  bool has_body() const { return chunked() || declared_bytes() > 0; }
  /// Of Content-Length; 0 if there is none.
  std::uint64_t declared_bytes() const;
  /// True if the client expects 100 (Continue) before it sends the body.
  bool expects_continue() const { return expects_continue_; }
  bool may_keep_alive() const { return keep_alive() && http_1_1_; }
  bool http_1_1() const { return http_1_1_; }
  Request& request() { return request_; }
  /// The body bytes parsed since the last call.
  std::string take_body() { return std::exchange(body_, {}); }
  const std::string& body() const { return body_; }

 private:
  using error_code = boost::system::error_code;
  using view = boost::beast::string_view;
  void on_request_impl(boost::beast::http::verb, view method, view target, int version, error_code& ec) override;
  void on_response_impl(int, view, int, error_code&) override {}
  void on_field_impl(boost::beast::http::field, view name, view value, error_code& ec) override;
  void on_header_impl(error_code& ec) override;
  void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code&) override {}
  std::size_t on_body_impl(view body, error_code&) override;
  void on_chunk_header_impl(std::uint64_t, view, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, view body, error_code&) override;
  void on_finish_impl(error_code&) override {}

  void refuse(std::string_view reason, std::string message, error_code& ec);
  void check_head(error_code& ec);

  Request request_;
  std::string body_;
  std::optional<Error> refusal_;
  bool head_seen_ = false;
  bool http_1_1_ = false;
  bool expects_continue_ = false;
};

}  // namespace tb::http
