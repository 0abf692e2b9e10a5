#include "meter/usage_rule.h"

#include <algorithm>

namespace tb::meter {

TokenUsage weigh_usage(const AnswerTally& tally, const UsageBounds& bounds) {
  const std::int64_t own_count =
      std::max(tally.seen, tokens_of_bytes(tally.text_bytes)) + tokens_of_bytes(tally.unread_bytes);
  TokenUsage out;
  const bool silent = !tally.input && !tally.output;
  out.disputed = tally.usage_malformed;
  out.estimated = silent || tally.usage_malformed || tally.cut || !tally.usage_latest;
  if (silent || tally.usage_malformed) {
    out.input_tokens = bounds.input_estimate;
    out.output_tokens = own_count;
  } else {
    out.input_tokens = tally.input.value_or(bounds.input_estimate);
    out.output_tokens = tally.output.value_or(0);
    // Numbers that came before the last of the text are behind what was seen since.
    if (!tally.usage_latest) out.output_tokens = std::max(out.output_tokens, tally.seen);
  }
  const std::int64_t input = std::clamp<std::int64_t>(out.input_tokens, 0, bounds.input_most);
  const std::int64_t output = std::min(std::max(out.output_tokens, tally.certain), bounds.output_most);
  out.disputed = out.disputed || (!silent && (input != out.input_tokens || output != out.output_tokens));
  out.input_tokens = input;
  out.output_tokens = output;
  return out;
}

}  // namespace tb::meter
