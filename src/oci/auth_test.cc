#include <gtest/gtest.h>

#include "base/bytes.h"
#include "oci/auth_file.h"
#include "oci/challenge.h"

namespace tb::oci {
namespace {

using Scheme = Challenge::Scheme;

TEST(Challenge, BearerComesBeforeBasic) {
  const Challenge bearer{Scheme::kBearer, "https://auth.example/token", "reg", "repository:a/b:pull,push"};
  const std::string text =
      R"(Bearer realm="https://auth.example/token",service="reg",scope="repository:a/b:pull,push")";
  EXPECT_EQ(parse_challenge(text), bearer);
  EXPECT_EQ(parse_challenge(R"(Basic realm="x", )" + text), bearer);
  EXPECT_EQ(
      parse_challenge(R"(bearer Realm = "https://auth.example/token" , SERVICE=reg,scope="repository:a/b:pull,push")"),
      bearer);
  EXPECT_EQ(parse_challenge(R"(Basic realm="a \"b\" c")"), (Challenge{Scheme::kBasic, "a \"b\" c", "", ""}));
  EXPECT_EQ(parse_challenge("Basic"), (Challenge{Scheme::kBasic, "", "", ""}));
  EXPECT_EQ(parse_challenge(R"(Negotiate, Basic realm=x)"), (Challenge{Scheme::kBasic, "x", "", ""}));
}

TEST(Challenge, RefusesWhatIsMalformed) {
  for (const std::string text :
       {"", "Bearer", "Bearer service=x", "Negotiate", "Bearer realm=\"open", "Bearer realm=\"a\" b", "\"x\"",
        "Bearer realm=\"a\",realm=\"b\"", "Bearer realm=\"a\x01\"", "Bearer realm=\"a\\", "Bearer realm="}) {
    EXPECT_EQ(parse_challenge(text), std::nullopt) << text;
  }
  EXPECT_EQ(parse_challenge("Basic realm=\"" + std::string(9000, 'a') + "\""), std::nullopt);
}

AuthFile parsed(const std::string& text) {
  return value_or_throw(AuthFile::parse(SecretString(text)));
}

TEST(AuthFile, TheMostExactEntryWins) {
  const std::string wide = to_base64(as_bytes("wide:a:b")), narrow = to_base64(as_bytes("narrow:2"));
  const AuthFile file =
      parsed(R"({"auths":{"r.example":{"auth":")" + wide + R"("},"r.example/team":{"auth":")" + narrow +
             R"("},"https://old.example/v1/":{"username":"u","password":"p"},"none.example":{}}})");
  EXPECT_EQ(file.login("r.example", "x")->user, "wide");
  EXPECT_EQ(file.login("r.example", "x")->password.reveal(), "a:b");
  EXPECT_EQ(file.login("r.example", "team/x")->user, "narrow");
  EXPECT_EQ(file.login("r.example", "teams/x")->user, "wide");
  EXPECT_EQ(file.login("old.example", "x")->user, "u");
  EXPECT_FALSE(file.login("none.example", "x"));
  EXPECT_FALSE(file.login("other.example", "x"));
  const AuthFile docker = parsed(R"({"auths":{"https://index.docker.io/v1/":{"identitytoken":"t"}}})");
  EXPECT_TRUE(docker.login("docker.io", "library/x")->is_identity_token);
}

TEST(AuthFile, HelpersAreNamesAndNoPaths) {
  const AuthFile file = parsed(R"({"credHelpers":{"r.example":"one"},"credsStore":"two"})");
  EXPECT_EQ(file.helper("r.example"), "one");
  EXPECT_EQ(file.helper("other.example"), "two");
  for (const std::string text : {"", "[]", R"({"auths":[]})", R"({"auths":{"a":7}})", R"({"auths":{"a":{"auth":"%"}}})",
                                 R"({"auths":{"a":{"auth":"YQ=="}}})", R"({"auths":{"a":{"auth":"OmI="}}})",
                                 R"({"credsStore":"../x"})", R"({"credsStore":"a b"})", R"({"credsStore":7})",
                                 R"({"credHelpers":{"a":"/bin/sh"}})", R"({"credHelpers":[]})"}) {
    const auto got = AuthFile::parse(SecretString(text));
    ASSERT_FALSE(got) << text;
    EXPECT_EQ(got.error().reason, "config_invalid");
    EXPECT_EQ(got.error().story().find("YQ"), std::string::npos);
  }
}

TEST(AuthFile, AnAnswerOfAHelper) {
  EXPECT_EQ(parse_helper_answer(SecretString(R"({"Username":"u","Secret":"s"})"))->user, "u");
  EXPECT_TRUE(parse_helper_answer(SecretString(R"({"Username":"<token>","Secret":"s"})"))->is_identity_token);
  EXPECT_FALSE(parse_helper_answer(SecretString(R"({"Username":"u","Secret":""})")));
  EXPECT_FALSE(parse_helper_answer(SecretString("no credentials")));
}

}  // namespace
}  // namespace tb::oci
