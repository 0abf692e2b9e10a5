#include "controlplane/housekeeping.h"

#include "async/stop.h"

namespace tb::controlplane {

void purge_all(store::Store& store, const Clock& clock, const obs::Log& log, const std::stop_token& stop) {
  try {
    for (bool more = true; more && !stop.stop_requested();) {
      const store::Purged purged = store.purge(clock());
      more = purged.more;
      if (purged.leases > 0) log.info("old leases taken away", {{"leases", purged.leases}});
    }
  } catch (const Error& error) {
    // The disk is full, or the database away: the next time does it.
    log.error("housekeeping failed", error, obs::Level::kWarn);
  }
}

Housekeeping::Housekeeping(store::Store& store, Clock clock, obs::Log log, std::int64_t every_ms)
    : thread_([&store, clock = std::move(clock), log = std::move(log), every_ms](const std::stop_token& stop) {
        do {
          purge_all(store, clock, log, stop);
        } while (async::sleep_unless_stopped(stop, std::chrono::milliseconds(every_ms)));
      }) {}

}  // namespace tb::controlplane
