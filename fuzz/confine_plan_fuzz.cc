// What init of a confined runtime does: whatever is accepted is written as it was read.
#include "fuzz.h"
#include "sentinel/runtime/isolation.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  using tb::sentinel::runtime::ConfinePlan;
  const auto plan = ConfinePlan::parse(std::string_view(reinterpret_cast<const char*>(data), bytes));
  if (!plan) return 0;
  FUZZ_CHECK(!plan->arguments.empty());
  const std::string text = plan->to_json().dump();
  const auto again = ConfinePlan::parse(text);
  FUZZ_CHECK(again.has_value());
  FUZZ_CHECK(again->to_json().dump() == text);
  return 0;
}
