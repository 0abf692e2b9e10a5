// The two filters that know the sentinel: audit, and whether the gate is open.
#pragma once

#include <atomic>
#include <memory>

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
/// 403 while suspended, 503 while not ready or training.
std::unique_ptr<Filter> gate_filter(const Gate& gate);

}  // namespace tb::sentinel::proxy
