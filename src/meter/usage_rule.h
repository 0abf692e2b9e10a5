// What is billed for one answer (docs/metering.md, decision 35): the runtime's own numbers where they can be true, else
// the nearest that can be, and our own count where it gave none.
#pragma once

#include "meter/answer_body.h"
#include "meter/token_usage.h"

namespace tb::meter {

/// Between what numbers the truth lies, known before the answer came.
struct UsageBounds {
  std::int64_t input_estimate = 0;  ///< our own guess, for a runtime that gives no numbers
  std::int64_t input_most = 0;
  std::int64_t output_most = 0;  ///< of all sequences together
};

TokenUsage weigh_usage(const AnswerTally& tally, const UsageBounds& bounds);

/// Bytes of text as tokens, for want of a tokenizer: a quarter, rounded up.
constexpr std::int64_t tokens_of_bytes(std::uint64_t bytes) {
  return static_cast<std::int64_t>(bytes / 4 + (bytes % 4 != 0 ? 1 : 0));
}

}  // namespace tb::meter
