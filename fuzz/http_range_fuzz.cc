// Range and Content-Range values: what is chosen lies inside the representation; what is accepted is
// written to a value that is read as the same.
#include "fuzz.h"
#include "http/range.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  using namespace tb::http;
  const auto value = tb::as_text({data, bytes});
  for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1000}, ~std::uint64_t{0}}) {
    const auto choice = choose_range(value, size);
    if (choice.outcome != RangeOutcome::kPartial) continue;
    FUZZ_CHECK(choice.range.first <= choice.range.last);
    FUZZ_CHECK(choice.range.last < size);
    const auto again = choose_range(range_header(choice.range), size);
    FUZZ_CHECK(again.outcome == RangeOutcome::kPartial && again.range == choice.range);
  }
  if (const auto accepted = parse_content_range(value)) {
    const auto again = parse_content_range(content_range(*accepted));
    FUZZ_CHECK(again && *again == *accepted);
    if (accepted->range) {
      FUZZ_CHECK(accepted->range->first <= accepted->range->last);
      FUZZ_CHECK(!accepted->total || accepted->range->last < *accepted->total);
    }
  }
  return 0;
}
