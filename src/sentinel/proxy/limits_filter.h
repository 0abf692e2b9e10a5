// Holds the subject of a request to its limits: 429 with Retry-After, and the x-ratelimit fields that OpenAI's clients
// read. Tokens per minute and budgets are the metering filter's.
#pragma once

#include <memory>

#include "obs/metrics.h"
#include "sentinel/proxy/filter.h"

namespace tb::sentinel::proxy {

/// After the filter that says who asks. `trustbridge_sentinel_rate_limited_total{limit}`.
std::unique_ptr<Filter> limits_filter(obs::Metrics& metrics);

}  // namespace tb::sentinel::proxy
