// What orchestrators, monitors and writers of clients ask.
#include "controlplane/handlers.h"
#include "controlplane/openapi.h"

namespace tb::controlplane {

http::Response handle_healthz(const http::Request&, Deps&) {
  return http::text(200, "ok\n");
}

http::Response handle_readyz(const http::Request&, Deps& deps) {
  if (deps.stopping) return http::text(503, "stopping\n");
  try {
    deps.store.check();
  } catch (const Error& error) {
    deps.log.error("the store cannot be read", error);
    return http::text(503, "store unavailable\n");
  }
  return http::text(200, "ready\n");
}

http::Response handle_metrics(const http::Request&, Deps& deps) {
  deps.metrics.gauge("tb_cp_leases_active", "leases that hold a seat now, on all nodes")
      .set(static_cast<double>(deps.store.count_active_leases(deps.clock())));
  deps.metrics.gauge("tb_cp_event_log_records", "records of the event log, on all nodes")
      .set(static_cast<double>(deps.store.event_tree().size()));
  return http::text(200, deps.metrics.prometheus_text(), "text/plain; version=0.0.4");
}

http::Response handle_openapi(const http::Request&, Deps&) {
  return http::text(200, std::string(kOpenApi), "application/json");
}

}  // namespace tb::controlplane
