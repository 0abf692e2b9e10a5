// What others may know of the lifecycle at any moment: a snapshot, and its JSON for /status (wire 2.1).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "hydrate/hydration.h"
#include "obs/finding.h"
#include "sentinel/audit.h"
#include "sentinel/lease_keeper.h"
#include "sentinel/runtime/supervisor.h"
#include "sentinel/state.h"

namespace tb::sentinel {

/// How the last suspension went: milliseconds from when the end was heard of (a hint, or the denial where no hint
/// came).
struct SuspensionTimes {
  std::string code;
  std::int64_t denied_ms = 0;          ///< the control plane's denial was here
  std::int64_t closed_ms = 0;          ///< no request was let in any more
  std::int64_t cut_ms = 0;             ///< no request was under way any more
  std::int64_t runtime_ended_ms = 0;   ///< the supervised runtime had ended
  std::int64_t plaintext_gone_ms = 0;  ///< and what it read was wiped, the key with it
};

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
  api::Enforcement enforcement;
  std::optional<SuspensionTimes> last_suspension;
  std::optional<AuditView> audit;
  std::string audit_fault;             ///< why the control plane did not countersign last time; empty: it did
  Json isolation = Json::object();     ///< isolation_json()
  std::string channel;                 ///< channel_text()
  std::optional<obs::Finding> reach;   ///< of a runtime that is not in a network of its own
  std::string error_code, error_hint;  ///< of the last error; empty: none since Ready
};

/// The kept fields; with `full` the new ones too. Never a lease id, hardware id, URL or path.
Json status_json(const Status& status, bool full);
/// "1h2m3s": the kept form of `uptime`.
std::string uptime_text(std::int64_t ms);

}  // namespace tb::sentinel
