// The proxy's filter that counts tokens: it reads requests and answers as they pass, holds budgets, and says what each
// request cost. Nothing of it waits for a disk; what is durable is the ledger's business (usage_service.h).
#pragma once

#include <memory>

#include "meter/budget.h"
#include "meter/token_usage.h"
#include "obs/metrics.h"
#include "sentinel/proxy/filter.h"
#include "sentinel/underway.h"

namespace tb::sentinel {

struct MeteringOptions {
  std::int64_t context_tokens = 131'072;  ///< most that one sequence can have, TB_MODEL_CONTEXT_TOKENS
  std::int64_t drain_ms = 60'000;         ///< how long an answer is read on for its numbers when its client has left
  Clock clock = unix_ms_now;              ///< server-anchored
};

/// Tokens that were billed since the start, as the metrics count them.
meter::TokenCounts metered_tokens(obs::Metrics& metrics);

/// Sets `model` and `usage` of each exchange. What it refers to outlives it.
std::unique_ptr<proxy::Filter> metering_filter(meter::Budgets& budgets, UnderwayBook& underway, obs::Metrics& metrics,
                                               MeteringOptions options);

}  // namespace tb::sentinel
