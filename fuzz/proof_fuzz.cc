// A proof of a sentinel's key, as a stranger may send it: refused with a reason, or bound to exactly the request that was
// expected, and then by a key that is on the curve.
#include "base/error.h"
#include "fuzz.h"
#include "jose/proof.h"

namespace {

constexpr std::int64_t kNow = 1800000000;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  using namespace tb;
  const auto text = as_text({data, bytes});
  const jose::ProofExpectation expected{
      .method = "POST", .url = "https://cp.example/x", .now_seconds = kNow, .bearer_token = "t"};
  try {
    const jose::Proof proof = jose::verify_proof(text, expected);
    FUZZ_CHECK(proof.jti.size() >= 16 && proof.jti.size() <= 64);
    FUZZ_CHECK(proof.issued_at_seconds >= kNow - 60 && proof.issued_at_seconds <= kNow + 60);
    FUZZ_CHECK(jose::PublicKey::from_jwk(proof.key.to_jwk()) == proof.key);
    jose::ProofExpectation other = expected;
    other.method = "GET";
    bool refused = false;
    try {
      (void)jose::verify_proof(text, other);
    } catch (const Error&) {
      refused = true;
    }
    FUZZ_CHECK(refused);
  } catch (const Error& error) {
    FUZZ_CHECK(error.reason == "proof_refused" || error.reason == "proof_stale");
  }
  const std::string url = jose::comparable_url(text);
  FUZZ_CHECK(jose::comparable_url(url) == url);
  return 0;
}
