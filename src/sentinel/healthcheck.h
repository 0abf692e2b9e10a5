// `trustbridge-sentinel healthcheck`: what an orchestrator runs inside of the container to ask whether the sentinel
// there is ready, and how far it is.
#pragma once

#include <string>
#include <vector>

#include "http/listen.h"

namespace tb::sentinel {

/// Without arguments: exit status 0 if the health port's /readyz answers 200, else 1, and a line that says why.
/// `--progress [http://HOST:PORT]`: prints "STATE BYTES" (of /status), for scripts that wait; the URL must be loopback.
int healthcheck(const std::vector<std::string>& arguments, const http::ListenAddress& health_address);

/// "Hydrate 1048576" of what /status answers; empty if it is no such answer. Pure.
std::string progress_of(std::string_view status);

}  // namespace tb::sentinel
