// Tokens that an issuer signs, and many that others would like to pass for them. spec: RFC 7519, RFC 8725
#include "sentinel/user_token.h"

#include <gtest/gtest.h>

#include "jose/signing_test.h"

namespace tb::sentinel {
namespace {

using namespace jose::testing_keys;

constexpr UnixMs kNow = 1'800'000'000'000;
constexpr std::string_view kHeader = R"({"alg":"ES256","typ":"JWT","kid":"ec"})";
constexpr std::string_view kClaims =
    R"({"iss":"https://issuer.example","aud":"models","sub":"alice","exp":1800000300,"scope":"openid infer"})";

/// The issuer: one key of each kind; and somebody else with keys of his own.
struct World {
  Key rsa = make_rsa(), ec = make_p256(), ed = make_ed25519();
  Key other_rsa = make_rsa(), other_ec = make_p256();
  jose::VerifyKeySet keys;
  World() {
    Json list = Json::array();
    for (const auto& [key, kid] : {std::pair{rsa.get(), "rsa"}, {ec.get(), "ec"}, {ed.get(), "ed"}}) {
      Json jwk = jwk_of(key);
      jwk.set("kid", kid);
      list.push(std::move(jwk));
    }
    Json set = Json::object();
    set.set("keys", std::move(list));
    keys = jose::VerifyKeySet::parse(set.dump());
  }
};
const World& world() {
  static const World kWorld;
  return kWorld;
}

const TokenRules kRules{.issuer = "https://issuer.example", .audience = "models", .scope = "infer"};

auto check(std::string_view token, UnixMs now = kNow, const TokenRules& rules = kRules) {
  return check_user_token(token, rules, world().keys, now, [] { return true; });
}

std::string by_ec(std::string_view header, std::string_view claims) {
  return compact(header, claims, world().ec.get(), "ES256");
}

/// `text` with `from` replaced once.
std::string changed(std::string_view text, std::string_view from, std::string_view to) {
  std::string out(text);
  const std::size_t at = out.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return out.replace(at, from.size(), to);
}

TEST(UserToken, EachAlgorithmLetsIn) {
  const std::tuple<EVP_PKEY*, const char*, const char*> cases[] = {{world().rsa.get(), "RS256", "rsa"},
                                                                   {world().rsa.get(), "PS256", "rsa"},
                                                                   {world().ec.get(), "ES256", "ec"},
                                                                   {world().ed.get(), "EdDSA", "ed"}};
  for (const auto& [key, alg, kid] : cases) {
    const std::string header = std::string(R"({"alg":")") + alg + R"(","kid":")" + kid + R"("})";
    const auto user = check(compact(header, kClaims, key, alg));
    ASSERT_TRUE(user) << alg << " " << fault_name(user.error());
    EXPECT_EQ(user->subject, "alice");
    EXPECT_EQ(user->expires, 1'800'000'360'000);
    EXPECT_EQ(user->limits, KeyLimits{});
  }
}

TEST(UserToken, FormsThatIssuersUse) {
  for (const auto& [from, to] : std::initializer_list<std::pair<const char*, const char*>>{
           {R"("aud":"models")", R"("aud":["account","models"])"},
           {R"("scope":"openid infer")", R"("scp":["infer"])"},
           {R"("scope":"openid infer")", R"("scp":"a infer b")"},
           {R"("sub":"alice")", R"("sub":"auth0|7f3:x@example.org")"},
           {R"("exp":1800000300)", R"("exp":1800000300,"nbf":1799999999,"iat":1800000059)"},
           {R"("exp":1800000300)", R"("exp":1799999941)"}}) {
    EXPECT_TRUE(check(by_ec(kHeader, changed(kClaims, from, to)))) << to;
  }
  for (const char* type : {"at+jwt", "application/at+jwt", "jwt"}) {
    EXPECT_TRUE(check(by_ec(changed(kHeader, R"("JWT")", std::string("\"") + type + "\""), kClaims))) << type;
  }
  EXPECT_TRUE(check(by_ec(R"({"kid":"ec","alg":"ES256","jku":"https://evil","x5t":"AA"})", kClaims)))
      << "what a header says of keys is not read";
}

TEST(UserToken, LimitsAreTakenFromAClaim) {
  const auto user = check(by_ec(kHeader, changed(kClaims, R"("sub":"alice")",
                                                 R"("sub":"alice","trustbridge_limits":{"requests_per_minute":9})")));
  ASSERT_TRUE(user);
  EXPECT_EQ(user->limits, (KeyLimits{.requests_per_minute = 9}));
}

struct Forged {
  const char* what;
  std::string token;
  TokenFault fault;
};

std::vector<Forged> forged_tokens() {
  using enum TokenFault;
  const std::string good = by_ec(kHeader, kClaims);
  const std::size_t first = good.find('.');
  const std::size_t last = good.rfind('.');
  const std::string head = good.substr(0, first);
  const std::string body = good.substr(first + 1, last - first - 1);
  const std::string signature = good.substr(last + 1);
  const auto part = [](std::string_view text) { return to_base64url(as_bytes(text)); };
  const auto header = [](std::string_view text) { return by_ec(text, kClaims); };
  const auto claims = [](const char* from, const char* to) { return by_ec(kHeader, changed(kClaims, from, to)); };
  std::string pem_as_secret = part(R"({"alg":"HS256","kid":"ec"})") + "." + body;
  Bytes flipped = value_or_throw(from_base64url(signature));
  flipped[40] ^= 1;
  Bytes der = {0x30, 0x44};
  der.resize(70);
  std::vector<Forged> out = {
      // Not the signature of the issuer.
      {"signed by somebody else under the issuer's kid", compact(kHeader, kClaims, world().other_ec.get(), "ES256"),
       kSignature},
      {"a bit of the signature flipped", head + "." + body + "." + to_base64url(flipped), kSignature},
      {"no signature", head + "." + body + ".", kSignature},
      {"all zeros: r and s of 0", head + "." + body + "." + to_base64url(Bytes(64, 0)), kSignature},
      {"a DER signature", head + "." + body + "." + to_base64url(der), kSignature},
      {"signature too short", head + "." + body + "." + signature.substr(0, 80), kSignature},
      {"the signature of another token", head + "." + part(changed(kClaims, "alice", "admin")) + "." + signature,
       kSignature},
      {"another header under the same signature", part(R"({"alg":"ES256","kid":"ec"})") + "." + body + "." + signature,
       kSignature},
      {"EdDSA header with an EC signature", part(R"({"alg":"EdDSA","kid":"ed"})") + "." + body + "." + signature,
       kSignature},
      {"PS256 header with an RS256 signature",
       part(R"({"alg":"PS256","kid":"rsa"})") + "." + body + "." +
           to_base64url(signed_by(world().rsa.get(), "RS256", part(R"({"alg":"PS256","kid":"rsa"})") + "." + body)),
       kSignature},
      {"RSA key of somebody else", compact(R"({"alg":"RS256","kid":"rsa"})", kClaims, world().other_rsa.get(), "RS256"),
       kSignature},
      // Algorithms.
      {"none", part(R"({"alg":"none","kid":"ec"})") + "." + body + ".", kAlgorithm},
      {"None", part(R"({"alg":"None","kid":"ec"})") + "." + body + "." + signature, kAlgorithm},
      {"no alg", header(R"({"kid":"ec"})"), kAlgorithm},
      {"alg is no text", header(R"({"alg":["ES256"],"kid":"ec"})"), kAlgorithm},
      {"HS256 with the public key as the secret", pem_as_secret + "." + signature, kAlgorithm},
      {"RS256 named for an EC key", header(R"({"alg":"RS256","kid":"ec"})"), kAlgorithm},
      {"ES256 named for an RSA key", header(R"({"alg":"ES256","kid":"rsa"})"), kAlgorithm},
      {"ES384", header(R"({"alg":"ES384","kid":"ec"})"), kAlgorithm},
      {"lower case", header(R"({"alg":"es256","kid":"ec"})"), kAlgorithm},
      // Which key.
      {"no kid", header(R"({"alg":"ES256"})"), kUnknownKey},
      {"unknown kid", header(R"({"alg":"ES256","kid":"evil"})"), kUnknownKey},
      {"a path as kid", header(R"({"alg":"ES256","kid":"../../dev/null"})"), kUnknownKey},
      {"kid is no text", header(R"({"alg":"ES256","kid":5})"), kUnknownKey},
      {"a key brought along",
       compact(R"({"alg":"ES256","jwk":)" + jwk_of(world().other_ec.get()).dump() + "}", kClaims,
               world().other_ec.get(), "ES256"),
       kUnknownKey},
      // Header of another protocol.
      {"crit", header(R"({"alg":"ES256","kid":"ec","crit":["b64"],"b64":false})"), kMalformed},
      {"b64", header(R"({"alg":"ES256","kid":"ec","b64":true})"), kMalformed},
      {"compressed", header(R"({"alg":"ES256","kid":"ec","zip":"DEF"})"), kMalformed},
      {"a DPoP proof", header(R"({"alg":"ES256","kid":"ec","typ":"dpop+jwt"})"), kType},
      {"a logout token", header(R"({"alg":"ES256","kid":"ec","typ":"logout+jwt"})"), kType},
      {"alg twice", header(R"({"alg":"none","alg":"ES256","kid":"ec"})"), kMalformed},
      {"header is a list", header(R"(["ES256"])"), kMalformed},
      // Claims.
      {"another issuer", claims("https://issuer.example", "https://issuer.example.evil"), kIssuer},
      {"issuer with a slash more", claims("https://issuer.example", "https://issuer.example/"), kIssuer},
      {"issuer in a list", claims(R"("https://issuer.example")", R"(["https://issuer.example"])"), kIssuer},
      {"no issuer", claims(R"("iss")", R"("issuer")"), kIssuer},
      {"another audience", claims(R"("aud":"models")", R"("aud":"model")"), kAudience},
      {"no audience", claims(R"("aud":"models",)", ""), kAudience},
      {"audience inside of a text", claims(R"("aud":"models")", R"("aud":"other models")"), kAudience},
      {"an empty list of audiences", claims(R"("aud":"models")", R"("aud":[])"), kAudience},
      {"expired", claims("1800000300", "1799999940"), kTime},
      {"no end", claims(R"("exp":1800000300,)", ""), kTime},
      {"an end that is a text", claims("1800000300", R"("1800000300")"), kTime},
      {"an end beyond all time", claims("1800000300", "1e300"), kTime},
      {"a negative end", claims("1800000300", "-1"), kTime},
      {"not yet", claims(R"("sub")", R"("nbf":1800000061,"sub")"), kTime},
      {"issued in the future", claims(R"("sub")", R"("iat":1800000061,"sub")"), kTime},
      {"nbf is a text", claims(R"("sub")", R"("nbf":"0","sub")"), kTime},
      {"no subject", claims(R"("sub":"alice",)", ""), kSubject},
      {"an empty subject", claims("alice", ""), kSubject},
      {"a subject with a line's end", claims("alice", "a\\nb"), kSubject},
      {"a subject with a blank", claims("alice", "a b"), kSubject},
      {"subject is a number", claims(R"("alice")", "5"), kSubject},
      {"scope inside of a word", claims("openid infer", "openid inferx"), kScope},
      {"another scope", claims("openid infer", "openid"), kScope},
      {"scope is an object", claims(R"("openid infer")", R"({"infer":true})"), kScope},
      {"limits misspelled", claims(R"("sub")", R"("trustbridge_limits":{"request_per_minute":1},"sub")"), kLimits},
      {"limits of nothing", claims(R"("sub")", R"("trustbridge_limits":{"token_budget":0},"sub")"), kLimits},
      {"a claim twice", claims(R"("sub":"alice")", R"("sub":"bob","sub":"alice")"), kMalformed},
      {"claims are no object", by_ec(kHeader, "[]"), kMalformed},
      {"claims are no JSON", by_ec(kHeader, "iss=issuer"), kMalformed},
      // Form.
      {"two parts", head + "." + body, kMalformed},
      {"four parts", good + ".AA", kMalformed},
      {"five parts: a JWE", good + ".AA.AA", kMalformed},
      {"padding", head + "=." + body + "." + signature, kMalformed},
      {"a blank at the end", good + " ", kMalformed},
      {"standard base64", changed(good, ".", "+."), kMalformed},
      {"too long", by_ec(kHeader, changed(kClaims, "alice", std::string(9000, 'a'))), kMalformed},
  };
  std::string long_subject = by_ec(kHeader, changed(kClaims, "alice", std::string(256, 'a')));
  out.push_back({"a subject too long", std::move(long_subject), kSubject});
  return out;
}

TEST(UserToken, ForgedTokensAreRefusedForWhatIsWrongWithThem) {
  const auto cases = forged_tokens();
  EXPECT_GE(cases.size(), 40U);
  for (const Forged& forged : cases) {
    const auto user = check(forged.token);
    ASSERT_FALSE(user) << forged.what;
    EXPECT_EQ(fault_name(user.error()), fault_name(forged.fault)) << forged.what;
  }
}

TEST(UserToken, OnlyAFaultOfTheSignatureCostsASignatureCheck) {
  for (const Forged& forged : forged_tokens()) {
    int checked = 0;
    (void)check_user_token(forged.token, kRules, world().keys, kNow, [&] { return ++checked > 0; });
    EXPECT_EQ(checked, forged.fault == TokenFault::kSignature ? 1 : 0) << forged.what;
  }
  const auto busy = check_user_token(by_ec(kHeader, kClaims), kRules, world().keys, kNow, [] { return false; });
  ASSERT_FALSE(busy);
  EXPECT_EQ(busy.error(), TokenFault::kBusy);
}

TEST(UserToken, WithoutAScopeInTheRulesNoneIsAskedFor) {
  TokenRules rules = kRules;
  rules.scope.clear();
  EXPECT_TRUE(check(by_ec(kHeader, changed(kClaims, R"(,"scope":"openid infer")", "")), kNow, rules));
}

}  // namespace
}  // namespace tb::sentinel
