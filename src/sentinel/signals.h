// SIGTERM and SIGINT as a stop request.
#pragma once

#include <stop_token>

namespace tb::sentinel {

/// To be called before any thread is started: blocks both signals in all of them, and ignores SIGPIPE.
void hold_signals();
/// From now on the first of them requests a stop; the second one ends the process at once (130).
void stop_on_signals(const std::stop_source& stop);

}  // namespace tb::sentinel
