// What is done now and then beside the requests: rows that nobody asks for any more are taken away. Several nodes may
// do it at the same time.
#pragma once

#include <thread>

#include "base/clock.h"
#include "obs/log.h"
#include "store/store.h"

namespace tb::controlplane {

class Housekeeping {
 public:
  /// Once soon after the start, then every `every_ms`.
  Housekeeping(store::Store& store, Clock clock, obs::Log log, std::int64_t every_ms = 60'000);

 private:
  std::jthread thread_;
};

/// All that is over at `now`, portion by portion, until `stop`.
void purge_all(store::Store& store, const Clock& clock, const obs::Log& log, const std::stop_token& stop);

}  // namespace tb::controlplane
