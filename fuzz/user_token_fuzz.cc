// Nobody gets in by a token that the issuer did not sign, whatever its bytes say; and garbage never costs more than one
// signature check. The input is a header, a line's end and claims; or, without one, the token itself.
#include <string>

#include "fuzz.h"
#include "sentinel/user_token.h"

namespace {

using namespace tb;

const jose::VerifyKeySet& keys() {
  // RFC 8037 A.2, and RFC 7517 A.1.
  static const auto kKeys = jose::VerifyKeySet::parse(
      R"({"keys":[{"kty":"OKP","crv":"Ed25519","kid":"e","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},)"
      R"({"kty":"EC","crv":"P-256","kid":"p","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",)"
      R"("y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]})");
  return kKeys;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  const auto input = std::string_view(reinterpret_cast<const char*>(data), bytes);
  const sentinel::TokenRules rules{.issuer = "i", .audience = "a", .scope = "s"};
  const std::size_t line = input.find('\n');
  std::string token(input);
  if (line != std::string_view::npos) {
    token = to_base64url(as_bytes(input.substr(0, line))) + "." + to_base64url(as_bytes(input.substr(line + 1))) + "." +
            to_base64url(Bytes(64, 7));
  }
  int checks = 0;
  const auto user = sentinel::check_user_token(token, rules, keys(), 1'800'000'000'000, [&] { return ++checks > 0; });
  FUZZ_CHECK(!user);
  FUZZ_CHECK(checks == (user.error() == sentinel::TokenFault::kSignature ? 1 : 0));
  FUZZ_CHECK(!sentinel::fault_name(user.error()).empty());
  return 0;
}
