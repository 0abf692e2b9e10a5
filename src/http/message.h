// HTTP requests and responses as plain values: what handlers see and give. No Beast, no sockets.
#pragma once

#include <any>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/result.h"

namespace tb::http {

/// Header fields in their order; names compare without case.
class Headers {
 public:
  using Entry = std::pair<std::string, std::string>;

  Headers() = default;
  Headers(std::initializer_list<Entry> entries) : entries_(entries) {}
  void add(std::string_view name, std::string_view value);
  /// Replaces all fields of that name by one.
  void set(std::string_view name, std::string_view value);
  void erase(std::string_view name);
  /// The first field of that name, or nullptr.
  const std::string* find(std::string_view name) const;
  /// The first field's value, or "".
  std::string_view get(std::string_view name) const;
  std::size_t count(std::string_view name) const;
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  std::vector<Entry> entries_;
};

/// Equal without regard to ASCII case.
bool equal_ignoring_case(std::string_view a, std::string_view b);

/// The parameters of a query string, percent-decoded, in their order; '+' stands for itself.
class Query {
 public:
  /// `text` is what follows '?'. "bad_query" for a broken percent escape, a name-less parameter, a byte outside
  /// printable ASCII, or more than 64 parameters. A parameter without '=' has the value "".
  static Result<Query> parse(std::string_view text);
  /// The only value of `name`; nullopt if absent. Throws "bad_query" if it is repeated.
  std::optional<std::string> one(std::string_view name) const;
  std::size_t count(std::string_view name) const;
  const std::vector<std::pair<std::string, std::string>>& entries() const { return entries_; }
  /// Throws "bad_query" naming the first parameter that is not in `known` or stands there twice.
  void only(std::span<const std::string_view> known) const;
  void only(std::initializer_list<std::string_view> known) const { only(std::span(known.begin(), known.size())); }

 private:
  std::vector<std::pair<std::string, std::string>> entries_;
};

/// Takes a request body piece by piece, on a worker thread, one call at a time. Throws Error to refuse. Destroyed
/// without the handler having been called if the client goes away or the body is refused.
class BodySink {
 public:
  virtual ~BodySink() = default;
  virtual void write(ByteView piece) = 0;
};

struct Request {
  std::string method;  ///< as sent; HEAD reaches a GET handler as "HEAD"
  std::string target;  ///< raw, with the query: may hold a signature, never log it
  std::string path;    ///< raw, before '?'
  Query query;
  Headers headers;
  std::string body;                     ///< wiped by the server after the handler
  std::shared_ptr<BodySink> body_sink;  ///< set instead of `body` for routes with open_body
  std::string peer_address;             ///< IP in text form, from the socket, never from a header
  std::uint16_t peer_port = 0;
  bool peer_is_loopback = false;
  std::string client_cert_sha256;                           ///< 64 hex digits of the verified client certificate, or ""
  std::vector<std::pair<std::string, std::string>> params;  ///< of the route's pattern
  std::any caller;                                          ///< set by the gate: who asks; opaque to http

  /// Parameter of the pattern; throws "internal" if the pattern has none of that name.
  const std::string& param(std::string_view name) const;
  /// The token of `Authorization: Bearer …`, or "" (also if the header is repeated).
  std::string_view bearer_token() const;
};

/// `length` bytes of an open file, sent with bounded memory.
struct FileBody {
  Fd fd;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

class LateAnswer;

struct Response {
  int status = 200;
  Headers headers;                             ///< Content-Length, Connection and Date are the server's own
  std::string body;                            ///< wiped after it was sent
  std::optional<FileBody> file;                ///< instead of `body`
  std::shared_ptr<LateAnswer> late = nullptr;  ///< instead of all of it: http/late_answer.h
};

Response text(int status, std::string body, std::string_view content_type = "text/plain; charset=utf-8");
Response json(int status, const Json& body);
/// application/problem+json (RFC 9457) {type, title, status, detail, code, hint}: status by the error table, `code` the
/// reason. Of the server's own faults (5xx, its files) only fixed text is shown: the story is for the log.
Response problem(const Error& error);
/// The standard phrase of a status ("Not Found"), or "" if unknown.
std::string_view status_phrase(int status);

}  // namespace tb::http
