// The provider's side of the control plane's HTTP interface (docs/spec/wire.md 1.2): one object, one token.
//
// Rules kept for all clients: https unless the host is loopback or --allow-insecure-http, no redirects, answers
// bounded, 429, 5xx and network errors retried after 2, 4 and 8 s (or what Retry-After says) where a repeat is
// harmless.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/crypto.h"
#include "base/json.h"
#include "cli/console.h"
#include "cli/settings.h"
#include "http/client.h"

namespace tb::cli {

struct Answer {
  int status = 0;
  http::Headers headers;
  Json body;  ///< null if the answer had none
};

enum class Repeat { kHarmless, kNever };

class ControlPlane {
 public:
  /// Throws "usage" if no endpoint or no token file is set, and the errors of reading the token.
  ControlPlane(const Settings& settings, const Console& console);
  ~ControlPlane();

  Answer get(const std::string& path);
  /// `body` null sends none.
  Answer send(const std::string& method, const std::string& path, const Json& body, Repeat repeat);
  /// As send, for a body that holds a key.
  Answer send_secret(const std::string& method, const std::string& path, SecretString body, Repeat repeat);
  /// All pages of a list.
  Json::Array list(const std::string& path);
  /// One exchange as it is, with the token added: no retries, any status. For uploads.
  http::ClientResponse exchange(http::ClientRequest request, const std::string& path);
  /// With `?tenant=` where one is set and the route is of a tenant's things: get, send and list add it themselves.
  std::string in_tenant(const std::string& path) const;
  /// Waits as a retry would; throws "cancelled" after an interrupt.
  void pause(int attempt, const http::ClientResponse* answer);

  /// Throws the error that an answer stands for; does nothing for 2xx.
  static void require_success(const http::ClientResponse& answer);

 private:
  struct Impl;
  Answer run(const std::string& method, const std::string& path, const std::function<http::ClientBody()>& body,
             Repeat repeat);
  std::unique_ptr<Impl> impl_;
};

/// Percent-encodes one part of a path: ids from the command line go nowhere else than into their own part.
std::string path_part(std::string_view text);

}  // namespace tb::cli
