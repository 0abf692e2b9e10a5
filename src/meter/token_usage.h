// What one answer of a model cost, as it goes into the audit record, the ledger and the budgets.
#pragma once

#include <cstdint>

namespace tb::meter {

struct TokenUsage {
  std::int64_t input_tokens = 0, output_tokens = 0;
  bool estimated = false;  ///< counted from the stream's chunks: the runtime gave no numbers of its own
  bool disputed = false;   ///< the runtime's numbers and our own count exclude each other
};

/// Sums of many answers.
struct TokenCounts {
  std::int64_t input = 0, output = 0;
  bool operator==(const TokenCounts&) const = default;
};

}  // namespace tb::meter
