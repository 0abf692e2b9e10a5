#include "async/backoff.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/crypto.h"

namespace tb::async {

double unit_random() {
  std::array<std::uint8_t, 8> bytes{};
  random_bytes(bytes);
  return static_cast<double>(load_be64(bytes.data()) >> 11) * 0x1p-53;
}

std::optional<std::int64_t> next_delay(const BackoffPolicy& policy, int attempt, const UnitRandom& random,
                                       std::optional<std::int64_t> retry_after_ms) {
  if (attempt >= policy.attempts) return std::nullopt;
  const double grown = static_cast<double>(policy.first_ms) * std::pow(policy.factor, std::max(attempt, 1) - 1);
  const double capped = std::min(grown, static_cast<double>(policy.max_ms));
  const double spread = capped * policy.jitter * (2 * random() - 1);
  const auto own = static_cast<std::int64_t>(std::clamp(capped + spread, 0.0, static_cast<double>(policy.max_ms)));
  if (!retry_after_ms) return own;
  return std::max(own, std::clamp<std::int64_t>(*retry_after_ms, 0, policy.max_retry_after_ms));
}

}  // namespace tb::async
