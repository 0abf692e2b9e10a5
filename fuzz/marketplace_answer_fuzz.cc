// An answer of the marketplace's gives one answer for each event, whatever it holds; only one that says so is accepted.
#include <string>

#include "azure/marketplace_wire.h"
#include "base/error.h"
#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  const auto text = std::string_view(reinterpret_cast<const char*>(data), bytes);
  const tb::azure::MarketplaceResource resource{.id = "r", .plan = "p"};
  const std::vector<tb::meter::HourEvent> events = {{.dimension = "tokens", .hour = 1795651200000, .quantity = 17},
                                                    {.dimension = "tokens", .hour = 1795654800000, .quantity = 5}};
  using Kind = tb::meter::EventAnswer::Kind;
  try {
    const auto answers = tb::azure::parse_batch_answer(text, resource, events);
    FUZZ_CHECK(answers.size() == events.size());
    for (const auto& answer : answers) {
      if (answer.kind == Kind::kAccepted) FUZZ_CHECK(text.find("17") != text.npos || text.find('5') != text.npos);
    }
  } catch (const tb::Error& error) {
    FUZZ_CHECK(error.reason == "answer_malformed");
  }
  try {
    const auto sum = tb::azure::parse_submitted(text, resource, "tokens", 1795651200000);
    FUZZ_CHECK(sum.quantity >= 0 && sum.count >= 0);
  } catch (const tb::Error& error) {
    FUZZ_CHECK(error.reason == "answer_malformed");
  }
  return 0;
}
