// A token and its claims come from a machine that may be hostile, and a JWK set from an issuer's server: each is read
// or refused, and no claims are accepted whose binding, id or time is not there.
#include "attest/token.h"
#include "fuzz.h"

namespace {

using namespace tb;
using namespace tb::attest;

constexpr UnixMs kNow = 1780315200000;

TokenPolicy policy() {
  TokenPolicy out;
  out.issuer = "https://a.test";
  out.binding = {"nonce"};
  out.rules.push_back({.path = {"debug"}, .one_of = {Json(false)}, .mend = "x"});
  return out;
}

void check_claims(std::string_view text) {
  const Digest request{};
  const auto verdict = check_token_claims(text, policy(), request, kNow);
  if (!verdict) {
    FUZZ_CHECK(verdict.error().id.starts_with("token_") && !verdict.error().mend.empty());
    return;
  }
  const auto claims = Json::parse(text);
  FUZZ_CHECK(claims.has_value() && claims->find("nonce") != nullptr && claims->find("exp") != nullptr);
  FUZZ_CHECK(claims->find("debug")->is_bool() && !claims->find("debug")->as_bool());
  FUZZ_CHECK(!verdict->token_id.empty());
  // Another request's digest is never the same.
  Digest other{};
  other[0] = 1;
  FUZZ_CHECK(!check_token_claims(text, policy(), other, kNow).has_value());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  const auto text = as_text({data, bytes});
  check_claims(text);
  try {
    const auto token = jose::parse_compact(text);
    FUZZ_CHECK(text.starts_with(token.signing_input + "."));
    FUZZ_CHECK(token.signing_input + "." + to_base64url(token.signature) == text);
    check_claims(token.payload);
  } catch (const Error& error) {
    FUZZ_CHECK(error.reason == "jws_refused");
  }
  try {
    (void)jose::RsaKeySet::parse(text);
  } catch (const Error& error) {
    FUZZ_CHECK(error.reason == "jwk_refused");
  }
  if (const auto json = Json::parse(text)) {
    try {
      validate_token_policy(*json, {});
    } catch (const Error& error) {
      FUZZ_CHECK(error.reason == "contract_invalid");
    }
  }
  return 0;
}
