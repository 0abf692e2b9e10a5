// A set of keys is taken or refused, nothing else; what is taken can be asked for by name and verifies no garbage.
#include "base/error.h"
#include "fuzz.h"
#include "jose/verify_key.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  const auto input = std::string_view(reinterpret_cast<const char*>(data), bytes);
  try {
    const auto keys = tb::jose::VerifyKeySet::parse(input);
    FUZZ_CHECK(keys.size() > 0 && keys.size() <= 256);
    FUZZ_CHECK(keys.find("") == nullptr);
    if (const auto* key = keys.find("k")) {
      for (const char* alg : {"RS256", "PS256", "ES256", "EdDSA", "none", "HS256"}) {
        FUZZ_CHECK(!key->verifies(alg, tb::as_bytes(input), tb::Bytes(64, 7)));
      }
    }
  } catch (const tb::Error& error) {
    FUZZ_CHECK(error.reason == "jwk_refused");
  }
  return 0;
}
