// For tests only: a stand-in of ours for every endpoint that this folder talks to but the store itself: it takes
// whatever comes, remembers it, and gives what the test wants.
#pragma once

#include <fmt/format.h>

#include <functional>
#include <mutex>
#include <string>

#include "http/server.h"

namespace tb::azure {

class TokenServer {
  template <typename F>
  auto with(F&& read) const {
    const std::lock_guard lock(mutex_);
    return read();
  }

 public:
  std::string origin() const { return fmt::format("http://127.0.0.1:{}", server_.port()); }
  void answer(int status, std::string body) {
    const std::lock_guard lock(mutex_);
    status_ = status;
    body_ = std::move(body);
  }
  int requests() const {
    return with([&] { return requests_; });
  }
  /// With the query.
  std::string last_path() const {
    return with([&] { return last_.target; });
  }
  std::string last_body() const {
    return with([&] { return last_.body; });
  }
  std::string last_header(std::string_view name) const {
    return with([&] { return std::string(last_.headers.get(name)); });
  }

 private:
  http::Router router() {
    const auto handler = [this](const http::Request& request) {
      const std::lock_guard lock(mutex_);
      ++requests_;
      last_.target = request.target;
      last_.body = request.body;
      last_.headers = request.headers;
      return http::text(status_, body_);
    };
    std::vector<http::Route> routes;
    for (const auto* pattern : {"/", "/{a}", "/{a}/", "/{a}/{b}", "/{a}/{b}/{c}", "/{a}/{b}/{c}/{d}"}) {
      for (const auto* method : {"GET", "POST"}) {
        routes.push_back(
            {.method = method, .pattern = pattern, .who = "", .body_limit_bytes = 65536, .handler = handler});
      }
    }
    return http::Router(std::move(routes));
  }

  mutable std::mutex mutex_;
  int status_ = 200;
  std::string body_ = R"({"token_type":"Bearer","expires_in":"3599","access_token":"token-1"})";
  int requests_ = 0;
  http::Request last_;
  http::Server server_{http::ServerConfig{}, router()};
};

}  // namespace tb::azure
