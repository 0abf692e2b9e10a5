// What orchestrators, monitors and writers of clients ask.
#include "controlplane/handlers.h"
#include "controlplane/openapi.h"

namespace tb::controlplane {

http::Response handle_healthz(const http::Request&, Deps&) {
  return http::text(200, "ok\n");
}

http::Response handle_readyz(const http::Request&, Deps& deps) {
  try {
    deps.store.check();
  } catch (const Error& error) {
    deps.log.error("the store cannot be read", error);
    return http::text(503, "store unavailable\n");
  }
  return http::text(200, "ready\n");
}

http::Response handle_metrics(const http::Request&, Deps& deps) {
  return http::text(200, deps.metrics.prometheus_text(), "text/plain; version=0.0.4");
}

http::Response handle_openapi(const http::Request&, Deps&) {
  return http::text(200, std::string(kOpenApi), "application/json");
}

}  // namespace tb::controlplane
