// The URL of a KMS: what is taken is an origin, a mount and a key, which give the same URL again, and nothing that a
// URL parser could read in another way.
#include "controlplane/transit_kek.h"
#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  const std::string url(tb::as_text({data, bytes}));
  const auto source = tb::controlplane::parse_transit(url);
  if (!source) return 0;
  FUZZ_CHECK(source->origin + "/" + source->mount + "/" + source->key == url);
  FUZZ_CHECK(url.find_first_of("?#@%\\ \"") == std::string::npos);
  FUZZ_CHECK(!source->mount.empty() && !source->key.empty());
  FUZZ_CHECK(url.find("/../") == std::string::npos && url.find("/./") == std::string::npos);
  return 0;
}
