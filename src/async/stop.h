// Stopping: std::stop_source and std::stop_token say that work should end; this adds the sleep that hears it.
#pragma once

#include <chrono>
#include <stop_token>

namespace tb::async {

/// Sleeps for `time` or until a stop is requested; true if the whole time passed, false if stopped.
bool sleep_unless_stopped(const std::stop_token& stop, std::chrono::milliseconds time);

}  // namespace tb::async
