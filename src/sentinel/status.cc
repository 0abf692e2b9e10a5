#include "sentinel/status.h"

#include <fmt/format.h>

namespace tb::sentinel {
namespace {

Json lease_json(const Status& status) {
  if (!status.lease) return nullptr;
  Json out = Json::object();
  out.set("expires_in_seconds", status.lease->expires_in_ms / 1000);
  out.set("renew_after_seconds", status.lease->renew_after_ms / 1000);
  out.set("offline_grace_seconds", status.lease->offline_grace_ms / 1000);
  out.set("renewals", status.lease->renewals);
  out.set("renewal_failing", status.lease->renewal_failing);
  out.set("enforcement", api::grade_name(status.enforcement.grade));
  out.set("notice", status.enforcement.notice);
  return out;
}

Json hydrate_json(const Status& status) {
  Json out = Json::object();
  out.set("bytes", status.hydrate.bytes);
  out.set("total", status.hydrate.total);
  out.set("bytes_per_second", Json::real(status.hydrate.bytes_per_second));
  out.set("eta_seconds", status.hydrate.eta_seconds ? Json::real(*status.hydrate.eta_seconds) : Json());
  out.set("from_cache_bytes", status.hydrate.from_cache_bytes);
  out.set("retries", status.hydrate.retries);
  out.set("cache_faults", status.hydrate.cache_faults);
  return out;
}

Json delivery_json(const Status& status) {
  Json out = Json::object();
  out.set("kind", status.delivery_kind);
  out.set("usable", status.delivery_usable);
  out.set("manifest_proof", status.manifest_proof);
  out.set("plaintext_bytes", status.plaintext_bytes);
  return out;
}

Json runtime_json(const Status& status) {
  Json out = Json::object();
  out.set("supervised", status.runtime.supervised);
  out.set("running", status.runtime.running);
  out.set("healthy", status.runtime_healthy);
  out.set("restarts", status.runtime.restarts);
  out.set("last_end", status.runtime.last_end);
  return out;
}

Json isolation_json(const Status& status) {
  Json out = status.isolation;
  out.set("channel", status.channel);
  out.set("reach", status.reach ? Json(status.reach->value) : Json());
  return out;
}

Json suspension_json(const Status& status) {
  if (!status.last_suspension) return nullptr;
  const SuspensionTimes& times = *status.last_suspension;
  Json out = Json::object();
  out.set("code", times.code);
  out.set("denied_ms", times.denied_ms);
  out.set("closed_ms", times.closed_ms);
  out.set("cut_ms", times.cut_ms);
  out.set("runtime_ended_ms", times.runtime_ended_ms);
  out.set("plaintext_gone_ms", times.plaintext_gone_ms);
  return out;
}

Json audit_json(const Status& status) {
  if (!status.audit) return nullptr;
  Json out = Json::object();
  out.set("writable", status.audit->writable);
  out.set("records", status.audit->records);
  out.set("countersigned_records", status.audit->countersigned);
  out.set("pending_records", status.audit->pending);
  out.set("unrecorded_refusals", status.audit->unrecorded);
  out.set("origin", status.audit->origin);
  out.set("last_fault", status.audit_fault.empty() ? Json() : Json(status.audit_fault));
  return out;
}

}  // namespace

std::string uptime_text(std::int64_t ms) {
  const std::int64_t seconds = ms / 1000;
  if (seconds >= 3600) return fmt::format("{}h{}m{}s", seconds / 3600, seconds / 60 % 60, seconds % 60);
  if (seconds >= 60) return fmt::format("{}m{}s", seconds / 60, seconds % 60);
  return fmt::format("{}s", seconds);
}

Json status_json(const Status& status, bool full) {
  Json out = Json::object();
  out.set("state", state_name(status.state));
  out.set("asset_id", status.asset_id);
  out.set("uptime", uptime_text(status.uptime_ms));
  out.set("uptime_ms", status.uptime_ms);
  out.set("start_time", to_rfc3339(status.started));
  out.set("ready", is_ready(status.state));
  out.set("suspended", status.state == State::kSuspended);
  if (!full) return out;
  out.set("contract_id", status.contract_id);
  out.set("lease", lease_json(status));
  out.set("hydrate", hydrate_json(status));
  out.set("delivery", delivery_json(status));
  out.set("runtime", runtime_json(status));
  out.set("isolation", isolation_json(status));
  out.set("audit", audit_json(status));
  out.set("last_suspension", suspension_json(status));
  Json error;
  if (!status.error_code.empty()) {
    error = Json::object();
    error.set("code", status.error_code);
    error.set("hint", status.error_hint);
  }
  out.set("last_error", std::move(error));
  return out;
}

}  // namespace tb::sentinel
