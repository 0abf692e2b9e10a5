// spec: wire 1.1
#include "api/authorize.h"

#include <gtest/gtest.h>

#include "base/bytes.h"

namespace tb::api {
namespace {

const std::string kHex(64, 'a');

/// What the first implementation's control plane answers: the kept fields and nothing else.
Json kept_answer() {
  Json json = Json::object();
  json.set("status", "authorized");
  json.set("sas_url", "https://store.example/m?sig=1");
  json.set("manifest_url", "https://store.example/j?sig=1");
  json.set("decryption_key_hex", kHex);
  json.set("expires_at", "2030-01-01T00:00:00Z");
  return json;
}

Json full_answer() {
  Json json = kept_answer();
  json.erase("decryption_key_hex");
  json.set("wrapped_key", "a.b.c.d.e");
  json.set("lease_id", "l1");
  json.set("lease_expires_at", "2030-01-01T00:00:00.250Z");
  json.set("renew_after_seconds", 100);
  json.set("manifest_sha256", kHex);
  return json;
}

std::string refusal(const Json& json, const AnswerRules& rules) {
  try {
    parse_authorize_answer(json.dump(), rules);
  } catch (const Error& error) {
    EXPECT_EQ(error.reason, "authorize_answer_malformed");
    EXPECT_FALSE(error.retryable());
    EXPECT_EQ(error.message.find(kHex), std::string::npos) << "an error told the key";
    return error.message;
  }
  return "accepted";
}

TEST(AuthorizeAnswer, ReadsTheKeptFieldsAlone) {
  const auto outcome = parse_authorize_answer(kept_answer().dump(), {.plain_key_allowed = true});
  const auto& answer = std::get<AuthorizeAnswer>(outcome);
  EXPECT_EQ(to_hex(answer.key->reveal()), kHex);
  EXPECT_EQ(answer.sas_url.reveal(), "https://store.example/m?sig=1");
  EXPECT_FALSE(answer.lease_id.has_value());
}

TEST(AuthorizeAnswer, EveryMissingFieldIsNamed) {
  for (const auto* name : {"status", "sas_url", "manifest_url", "decryption_key_hex", "expires_at"}) {
    Json json = kept_answer();
    json.erase(name);
    EXPECT_THAT(refusal(json, {.plain_key_allowed = true}), testing::HasSubstr(name));
    json.set(name, 7);
    EXPECT_THAT(refusal(json, {.plain_key_allowed = true}), testing::HasSubstr(name));
  }
  Json json = full_answer();
  json.erase("lease_expires_at");
  EXPECT_THAT(refusal(json, {}), testing::HasSubstr("lease_expires_at"));
  json = full_answer();
  json.erase("wrapped_key");
  EXPECT_THAT(refusal(json, {}), testing::HasSubstr("wrapped_key"));
}

TEST(AuthorizeAnswer, WrongFormsAreNamed) {
  const auto with = [](const char* name, Json value) {
    Json json = full_answer();
    json.set(name, std::move(value));
    return refusal(json, {});
  };
  EXPECT_THAT(with("expires_at", "tomorrow"), testing::HasSubstr("expires_at"));
  EXPECT_THAT(with("lease_expires_at", "x"), testing::HasSubstr("lease_expires_at"));
  EXPECT_THAT(with("manifest_sha256", "AB"), testing::HasSubstr("manifest_sha256"));
  EXPECT_THAT(with("renew_after_seconds", 0), testing::HasSubstr("renew_after_seconds"));
  EXPECT_THAT(with("metadata", Json::object()), testing::HasSubstr("format"));
  EXPECT_THAT(with("policy", "x"), testing::HasSubstr("policy"));
  EXPECT_THAT(with("sas_url", std::string(20000, 'x')), testing::HasSubstr("sas_url"));
  EXPECT_THAT(with("status", "maybe"), testing::HasSubstr("status"));
}

TEST(AuthorizeAnswer, KeyFormsAreKeptApart) {
  EXPECT_THAT(refusal(kept_answer(), {}), testing::HasSubstr("decryption_key_hex"));
  Json both = full_answer();
  both.set("decryption_key_hex", kHex);
  EXPECT_THAT(refusal(both, {.plain_key_allowed = true}), testing::HasSubstr("together"));
  Json bad = kept_answer();
  bad.set("decryption_key_hex", "zz");
  EXPECT_THAT(refusal(bad, {.plain_key_allowed = true}), testing::HasSubstr("64 hex digits"));
  Json renewal = full_answer();
  renewal.erase("wrapped_key");
  EXPECT_EQ(refusal(renewal, {.key_required = false}), "accepted");
}

TEST(AuthorizeAnswer, UnknownFieldsAreIgnoredAndTheSizeIsBounded) {
  Json json = full_answer();
  json.set("grant", "later");
  EXPECT_EQ(refusal(json, {}), "accepted");
  json.set("padding", std::string(kMaxAuthorizeAnswerBytes, 'x'));
  EXPECT_THAT(refusal(json, {}), testing::HasSubstr("not JSON"));
  EXPECT_THROW(parse_authorize_answer("<html>", {}), Error);
  EXPECT_THROW(parse_authorize_answer(std::string(100000, '['), {}), Error);
}

TEST(AuthorizeAnswer, WhatIsWrittenIsRead) {
  AuthorizeAnswer answer;
  answer.sas_url = SecretUrl("https://a/");
  answer.manifest_url = SecretUrl("https://b/");
  answer.expires_at = 1893456000000;
  answer.wrapped_key = "a.b.c.d.e";
  answer.lease_id = "l1";
  answer.lease_expires_at = 1893456000250;
  answer.policy = ReleasePolicy{.allow_finetune = true, .allowed_paths = {"/v1/chat/completions"}};
  answer.metadata = AssetMetadata{.chunk_bytes = 1024, .plaintext_bytes = 5, .sha256_ciphertext = kHex};
  const auto outcome = parse_authorize_answer(answer.to_json().dump(), {});
  const auto& again = std::get<AuthorizeAnswer>(outcome);
  EXPECT_EQ(again.lease_expires_at, answer.lease_expires_at);
  EXPECT_EQ(again.metadata, answer.metadata);
  EXPECT_EQ(again.policy->allowed_paths, answer.policy->allowed_paths);
  EXPECT_TRUE(again.policy->allow_finetune);
}

TEST(Denial, IsKnownOnlyWithACodeOfTheSpec) {
  EXPECT_TRUE(parse_denial(R"({"status":"denied","reason":"seat_limit","detail":"d"})")->known);
  EXPECT_FALSE(parse_denial(R"({"status":"denied","reason":"because"})")->known);
  EXPECT_FALSE(parse_denial(R"({"status":"denied"})").has_value());
  EXPECT_FALSE(parse_denial(R"({"reason":"seat_limit"})").has_value());
  EXPECT_FALSE(parse_denial("<html>403</html>").has_value());
  EXPECT_EQ(denial_reasons().size(), 16U);
  const auto outcome = parse_authorize_answer(R"({"status":"denied","reason":"seat_limit"})", {});
  EXPECT_EQ(std::get<Denial>(outcome).reason, "seat_limit");
}

TEST(AuthorizeRequest, ReadsOldAndNewSentinels) {
  const auto old = AuthorizeRequest::parse(
      R"({"contract_id":"c","asset_id":"a","hw_id":"h","client_version":"0.1","attestation":null,"future":1})");
  EXPECT_EQ(old.contract_id, "c");
  EXPECT_FALSE(old.key_release_jwk.has_value());
  AuthorizeRequest request;
  request.contract_id = "c";
  request.asset_id = "a";
  request.hw_id = "h";
  request.lease_id = "l";
  request.key_release_jwk = Json::object();
  const auto again = AuthorizeRequest::parse(request.to_json().dump());
  EXPECT_EQ(again.lease_id, "l");
  EXPECT_TRUE(again.key_release_jwk.has_value());
}

TEST(AuthorizeRequest, RefusesWrongTypes) {
  EXPECT_THROW(AuthorizeRequest::parse(R"({"contract_id":1,"asset_id":"a","hw_id":"h"})"), Error);
  EXPECT_THROW(AuthorizeRequest::parse(R"({"contract_id":"c","asset_id":"a"})"), Error);
  EXPECT_THROW(AuthorizeRequest::parse(R"({"contract_id":"c","asset_id":"a","hw_id":""})"), Error);
  EXPECT_THROW(AuthorizeRequest::parse(R"({"contract_id":"c","asset_id":"a","hw_id":"h","key_release_jwk":"x"})"),
               Error);
  EXPECT_THROW(AuthorizeRequest::parse("[]"), Error);
}

TEST(ReleaseRequest, RefusesUnknownFieldsByName) {
  EXPECT_EQ(ReleaseRequest::parse(R"({"contract_id":"c","lease_id":"l"})").lease_id, "l");
  try {
    ReleaseRequest::parse(R"({"contract_id":"c","lease_id":"l","force":true})");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.reason, "unknown_field");
    EXPECT_THAT(error.message, testing::HasSubstr("force"));
  }
}

}  // namespace
}  // namespace tb::api
