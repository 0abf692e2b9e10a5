// What stands in a grant whose signature has verified, the versions beside it, and origins: refused by name, or written
// again as it was read.
#include "api/grant.h"
#include "api/version.h"
#include "base/error.h"
#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  using namespace tb;
  const auto text = as_text({data, bytes});
  try {
    const auto grant = api::LeaseGrant::parse(text);
    const std::string written = grant.to_json().dump();
    FUZZ_CHECK(api::LeaseGrant::parse(written).to_json().dump() == written);
  } catch (const Error& error) {
    FUZZ_CHECK(error.reason == "grant_refused");
  }
  const std::string origin = api::origin_of(text);
  FUZZ_CHECK(origin.empty() || api::origin_of(origin) == origin);
  FUZZ_CHECK(!api::is_older(text, text));
  FUZZ_CHECK(!(api::is_older(text, "1.2.3") && api::is_older("1.2.3", text)));
  return 0;
}
