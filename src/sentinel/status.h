// What others may know of the lifecycle at any moment: a snapshot, and its JSON for /status (wire 2.1).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "hydrate/hydration.h"
#include "sentinel/audit.h"
#include "sentinel/lease_keeper.h"
#include "sentinel/runtime/supervisor.h"
#include "sentinel/state.h"

namespace tb::sentinel {

struct Status {
  State state = State::kBoot;
  std::string contract_id, asset_id;
  UnixMs started = 0;
  std::int64_t uptime_ms = 0;
  std::optional<LeaseView> lease;
  hydrate::Progress hydrate;
  std::string delivery_kind;  ///< empty: nothing is delivered
  bool delivery_usable = false;
  std::string manifest_proof;  ///< "mac", "manifest_sha256", …
  std::uint64_t plaintext_bytes = 0;
  runtime::RuntimeView runtime;
  bool runtime_healthy = false;
  bool runtime_by_unix_socket = false;
  bool runtime_shares_user = false;
  std::optional<AuditView> audit;
  std::string audit_fault;             ///< why the control plane did not countersign last time; empty: it did
  std::string error_code, error_hint;  ///< of the last error; empty: none since Ready
};

/// The kept fields; with `full` the new ones too. Never a lease id, hardware id, URL or path.
Json status_json(const Status& status, bool full);
/// "1h2m3s": the kept form of `uptime`.
std::string uptime_text(std::int64_t ms);

}  // namespace tb::sentinel
