// WWW-Authenticate: whatever a registry says, what is taken has no control characters, and Bearer has a realm.
#include <algorithm>

#include "fuzz.h"
#include "oci/challenge.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  const auto challenge = tb::oci::parse_challenge(tb::as_text({data, bytes}));
  if (!challenge) return 0;
  if (challenge->scheme == tb::oci::Challenge::Scheme::kBearer) FUZZ_CHECK(!challenge->realm.empty());
  for (const auto* field : {&challenge->realm, &challenge->service, &challenge->scope}) {
    FUZZ_CHECK(std::ranges::all_of(*field, [](char c) { return c >= 0x20 && c < 0x7f; }));
  }
  return 0;
}
