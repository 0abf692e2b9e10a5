#include "sentinel/health.h"

namespace tb::sentinel {
namespace {

http::Response ready_or_not(bool ready, const char* yes, State state) {
  if (ready) return http::text(200, yes);
  return http::text(503, "Not ready: " + std::string(state_name(state)));
}

bool may_see_all(const http::Request& request, const ApiKeys* keys) {
  if (request.peer_is_loopback) return true;
  if (keys == nullptr) return false;
  const auto key = keys->check(request.bearer_token());
  return key && key->may_see_status;
}

void set_gauges(obs::Metrics& metrics, const Status& status) {
  for (const State state : kStates) {
    metrics
        .gauge("trustbridge_sentinel_state", "1 for the state that holds", {{"state", std::string(state_name(state))}})
        .set(state == status.state ? 1 : 0);
  }
  for (const auto& [measure, value] : status.isolation.as_object()) {
    if (!value.is_bool()) continue;
    metrics.gauge("trustbridge_sentinel_isolation", "1 for a measure that holds the runtime", {{"measure", measure}})
        .set(value.as_bool() ? 1 : 0);
  }
  metrics.gauge("trustbridge_sentinel_uptime_seconds", "since the start")
      .set(static_cast<double>(status.uptime_ms) / 1000);
  metrics.gauge("trustbridge_sentinel_hydrated_bytes", "ciphertext bytes that have verified")
      .set(static_cast<double>(status.hydrate.bytes));
  metrics.gauge("trustbridge_sentinel_hydrate_total_bytes", "ciphertext bytes of the asset")
      .set(static_cast<double>(status.hydrate.total));
  metrics.gauge("trustbridge_sentinel_hydrate_from_cache_bytes", "of the verified bytes: read from the cache")
      .set(static_cast<double>(status.hydrate.from_cache_bytes));
  metrics.gauge("trustbridge_sentinel_hydrate_bytes_per_second", "over the last ten seconds")
      .set(status.hydrate.bytes_per_second);
  metrics.gauge("trustbridge_sentinel_hydrate_eta_seconds", "until all has come at that rate; -1: not known")
      .set(status.hydrate.eta_seconds.value_or(-1));
  metrics.gauge("trustbridge_sentinel_hydrate_retries", "range requests that were made again")
      .set(static_cast<double>(status.hydrate.retries));
  metrics.gauge("trustbridge_sentinel_hydrate_cache_faults", "records that the cache could not keep")
      .set(static_cast<double>(status.hydrate.cache_faults));
  metrics.gauge("trustbridge_sentinel_runtime_restarts", "of the supervised runtime")
      .set(static_cast<double>(status.runtime.restarts));
  metrics.gauge("trustbridge_sentinel_lease_seconds", "until the lease ends; 0 without one")
      .set(status.lease ? static_cast<double>(status.lease->expires_in_ms) / 1000 : 0);
  if (status.last_suspension) {
    metrics
        .gauge("trustbridge_sentinel_last_suspension_seconds",
               "from hearing of the end to having no plaintext, in the last suspension")
        .set(static_cast<double>(status.last_suspension->plaintext_gone_ms) / 1000);
  }
  metrics.gauge("trustbridge_sentinel_enforcement", "0 none, 1 warn, 2 throttle, 3 drain")
      .set(static_cast<double>(status.enforcement.grade));
  if (!status.audit) return;
  metrics.gauge("trustbridge_sentinel_audit_writable", "0 while requests are refused because records cannot be kept")
      .set(status.audit->writable ? 1 : 0);
  metrics.gauge("trustbridge_sentinel_audit_records", "durable records of this audit log")
      .set(static_cast<double>(status.audit->records));
  metrics.gauge("trustbridge_sentinel_audit_countersigned_records", "of them: countersigned by the control plane")
      .set(static_cast<double>(status.audit->countersigned));
  metrics.gauge("trustbridge_sentinel_audit_pending_records", "records that are not durable yet")
      .set(static_cast<double>(status.audit->pending));
}

}  // namespace

http::Router health_router(std::function<Status()> snapshot, obs::Metrics& metrics, const ApiKeys* keys) {
  const auto get = [](std::string pattern, http::Handler handler) {
    return http::Route{.method = "GET",
                       .pattern = std::move(pattern),
                       .who = "anyone",
                       .body_limit_bytes = 0,
                       .handler = std::move(handler)};
  };
  const auto works = [](const http::Request&) { return http::text(200, "OK"); };
  const auto health = [snapshot](const http::Request&) {
    const State state = snapshot().state;
    return ready_or_not(is_ready(state), "OK", state);
  };
  const auto readiness = [snapshot](const http::Request&) {
    const State state = snapshot().state;
    return ready_or_not(is_serving_or_loading(state), "Ready", state);
  };
  const auto started = [snapshot](const http::Request&) {
    const Status status = snapshot();
    return ready_or_not(status.delivery_usable, "Ready", status.state);
  };
  const auto status = [snapshot, keys](const http::Request& request) {
    return http::json(200, status_json(snapshot(), may_see_all(request, keys)));
  };
  const auto prometheus = [snapshot, keys, &metrics](const http::Request& request) {
    const Status now = snapshot();
    set_gauges(metrics, now);
    if (may_see_all(request, keys))
      return http::text(200, metrics.prometheus_text(), "text/plain; version=0.0.4; charset=utf-8");
    return http::text(200, std::string("trustbridge_sentinel_ready ") + (is_ready(now.state) ? "1\n" : "0\n"),
                      "text/plain; version=0.0.4; charset=utf-8");
  };
  return http::Router({get("/health", health), get("/readiness", readiness), get("/status", status),
                       get("/metrics", prometheus), get("/livez", works), get("/healthz", works),
                       get("/startupz", started), get("/readyz", health)});
}

}  // namespace tb::sentinel
