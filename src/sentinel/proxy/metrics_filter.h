// What Prometheus hears of each request. GenAI metrics have the names of OpenTelemetry's semantic conventions (in
// development since 2024) as its Prometheus exporter would write them; ours begin with `trustbridge_sentinel_`.
// Labels are bounded: the operation is that of the route, the model the served name, never what a client wrote.
#pragma once

#include <memory>
#include <string>

#include "obs/metrics.h"
#include "sentinel/proxy/filter.h"

namespace tb::sentinel::proxy {

/// Stands before the filters whose findings it counts (metering): on_end comes in reverse order. `metrics` outlives it.
std::unique_ptr<Filter> metrics_filter(obs::Metrics& metrics, std::string served_model_name);

}  // namespace tb::sentinel::proxy
