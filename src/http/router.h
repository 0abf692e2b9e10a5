// All routes of a program in one table: method, pattern, who may, body limit, handler. Matching is exact on the raw
// path.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "http/message.h"

namespace tb::http {

using Handler = std::function<Response(const Request&)>;

struct Route {
  std::string method;                  ///< "GET" answers HEAD too
  std::string pattern;                 ///< "/api/v1/contracts/{id}/suspend": {name} is one non-empty segment
  std::string who;                     ///< handed to the gate; opaque to http
  std::uint64_t body_limit_bytes = 0;  ///< longer bodies get 413
  Handler handler;
  /// If set, the body is not gathered in memory: this makes a sink for it (on a worker, after the gate, before the
  /// first byte), and the handler is called after the last byte with Request::body_sink.
  std::function<std::unique_ptr<BodySink>(const Request&)> open_body = {};
};

/// Called on a worker with the request's head before its body is read (one that came along with the head is there
/// already) and before open_body: authenticates, sets Request::caller, throws Error to refuse.
using Gate = std::function<void(Request&, const Route&)>;

class Router {
 public:
  Router() = default;
  /// Throws "internal" for a malformed or repeated pattern: a bug of the program.
  explicit Router(std::vector<Route> routes, Gate gate = {});

  struct Match {
    const Route* route = nullptr;  ///< nullptr: nothing there, or (with `allow`) not by this method
    std::vector<std::pair<std::string, std::string>> params;
    std::string allow;  ///< "GET, HEAD, POST" if the path is known for other methods only
  };
  Match match(std::string_view method, std::string_view path) const;
  const std::vector<Route>& routes() const { return routes_; }
  const Gate& gate() const { return gate_; }

 private:
  std::vector<Route> routes_;
  std::vector<std::vector<std::string>> segments_;  ///< of each route's pattern
  Gate gate_;
};

/// True if a raw path can be matched at all: '/' first, only A–Z a–z 0–9 and -._~!$&'()*+,=:@ in its segments, no '//',
/// no "." or ".." segment, at most 2048 bytes. So no '%', '\', ';', control or non-ASCII byte.
bool is_plain_path(std::string_view path);

}  // namespace tb::http
