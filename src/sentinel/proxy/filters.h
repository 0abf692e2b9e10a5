// The filters that every request passes: audit, metrics, and whether the gate is open.
#pragma once

#include <atomic>
#include <memory>

#include "obs/metrics.h"
#include "sentinel/api_keys.h"
#include "sentinel/audit.h"
#include "sentinel/proxy/filter.h"

namespace tb::sentinel::proxy {

/// What the lifecycle tells the proxy. Any thread.
class Gate {
 public:
  enum class Door { kNotReady, kOpen, kTraining, kSuspended };
  void set(Door door) { door_ = door; }
  Door door() const { return door_; }

 private:
  std::atomic<Door> door_ = Door::kNotReady;
};

/// What a closed door answers.
Refusal reason_of(Gate::Door door);

/// A record for every request; refuses all (503) while records cannot be written. `log` outlives the filter.
std::unique_ptr<Filter> audit_filter(AuditLog& log);
/// `trustbridge_sentinel_requests_total{code}` and the like.
std::unique_ptr<Filter> metrics_filter(obs::Metrics& metrics);
/// 403 while suspended, 503 while not ready or training.
std::unique_ptr<Filter> gate_filter(const Gate& gate);

}  // namespace tb::sentinel::proxy
