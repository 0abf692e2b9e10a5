// JSON that is accepted is written to text that is read as the same; its canonical form, where it has one, is fixed.
#include "base/json.h"
#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  using tb::Json;
  const auto text = tb::as_text({data, bytes});
  const auto value = Json::parse(text, {.bytes = 65536, .depth = 16});
  if (!value) return 0;
  FUZZ_CHECK(bytes <= 65536);
  FUZZ_CHECK(tb::is_utf8(text));

  const std::string dumped = value->dump();
  const auto again = Json::parse(dumped, {.bytes = 6 * 65536});
  FUZZ_CHECK(again.has_value());
  FUZZ_CHECK(again->dump() == dumped);
  const auto pretty = Json::parse(value->pretty(), {.bytes = std::size_t{4} << 20});
  FUZZ_CHECK(pretty.has_value() && pretty->dump() == dumped);

  if (const auto canonical = value->canonical()) {
    const auto reread = Json::parse(*canonical, {.bytes = 6 * 65536, .integers_only = true});
    FUZZ_CHECK(reread.has_value());
    FUZZ_CHECK(reread->canonical() == *canonical);
  }
  return 0;
}
