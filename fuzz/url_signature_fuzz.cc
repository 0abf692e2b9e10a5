// The query of a signed URL: what is read has one spelling only, and under a key that the fuzzer does not know nothing
// verifies but the query that was signed.
#include "controlplane/url_signature.h"
#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  using namespace tb::controlplane;
  const auto raw = tb::as_text({data, bytes});
  const auto query = parse_signed_query(raw);
  if (!query) return 0;
  FUZZ_CHECK(raw == "kid=" + query->kid + "&lease=" + query->lease_id +
                        "&exp=" + std::to_string(query->expires_at_seconds) + "&sig=" + query->signature);

  std::array<std::uint8_t, 32> key_bytes{};
  key_bytes.fill(0x42);
  const tb::Secret<32> key{std::span<const std::uint8_t, 32>(key_bytes)};
  // The claim says what the query says, as a handler would fill it in, then what was signed.
  BlobClaim claim{.tenant = "acme",
                  .asset_id = "demo",
                  .name = "model.tbenc",
                  .object_digest = "aa",
                  .lease_id = query->lease_id,
                  .expires_at_seconds = query->expires_at_seconds};
  const std::string path = signed_path(key, "k1", claim);
  const bool is_the_signed_one = path.substr(path.find('?') + 1) == raw;
  FUZZ_CHECK(signature_fits(key, "k1", claim, *query) == is_the_signed_one);
  claim.name = "model.manifest.json";
  FUZZ_CHECK(!signature_fits(key, "k1", claim, *query) || !is_the_signed_one);
  return 0;
}
