// Asking a server of this very machine whether it is ready: what the programs' own health checks do, so that an image
// without a shell and without curl can have one.
#pragma once

#include <string>

#include "http/listen.h"

namespace tb::http {

struct OwnServer {
  ListenAddress address;      ///< as it listens: every address stands for loopback
  std::string tls_cert_path;  ///< PEM of its own certificate: it is trusted and nothing else; empty: plain HTTP
  std::string tls_name;       ///< a name in that certificate
};

/// The URL at which this machine reaches it: scheme, host, port.
std::string own_url(const OwnServer& server);

/// GET `path` within 5 seconds. Throws the client's errors.
struct OwnAnswer {
  int status = 0;
  std::string body;
};
OwnAnswer ask_own(const OwnServer& server, const std::string& path);

}  // namespace tb::http
