#include "cli/contract.h"

#include <gtest/gtest.h>

#include "cli/register.h"
#include "cli/upload.h"
#include "jose/statement.h"

namespace tb::cli {
namespace {

constexpr UnixMs kNow = 1'767'225'600'000;  // 2026-01-01T00:00:00Z

std::string reason_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.reason;
  }
  return "accepted";
}

TEST(ContractFields, WhatIsNotGivenIsNotSent) {
  EXPECT_EQ(fields_json({}, kNow).dump(), "{}");
  ContractFields fields;
  fields.allow_finetune = false;
  fields.max_seats = 3;
  EXPECT_EQ(fields_json(fields, kNow).dump(), R"({"max_seats":3,"allow_finetune":false})");
}

TEST(ContractFields, TimesAreAbsoluteOrFromNow) {
  ContractFields fields;
  fields.not_before = "2h";
  fields.not_after = "2026-02-01T01:00:00+01:00";
  EXPECT_EQ(fields_json(fields, kNow).dump(),
            R"({"not_before":"2026-01-01T02:00:00Z","not_after":"2026-02-01T00:00:00Z"})");
  for (const char* bad : {"soon", "", "2026-13-01T00:00:00Z", "-1d", "2026-01-01"}) {
    fields.not_after = bad;
    EXPECT_EQ(reason_of([&] { fields_json(fields, kNow); }), "usage") << bad;
  }
}

TEST(ContractFields, HardwareIsAModeOrAList) {
  ContractFields fields;
  fields.hardware = {"any"};
  EXPECT_EQ(fields_json(fields, kNow).dump(), R"({"hardware":"any"})");
  fields.hardware = {"abc", "def"};
  EXPECT_EQ(fields_json(fields, kNow).dump(), R"({"hardware":["abc","def"]})");
}

TEST(ContractText, SaysNothingThatATerminalObeys) {
  Json contract = Json::object();
  contract.set("contract_id", "c\x1b[2J");
  contract.set("state", "active");
  EXPECT_EQ(contract_text(contract), "c\\x1b[2J  active\n");
}

TEST(ContractPath, KeepsAnIdOnePartOfThePath) {
  EXPECT_EQ(contract_path("a/../b?c=d", "/leases"), "/api/v1/contracts/a%2F..%2Fb%3Fc%3Dd/leases");
}

TEST(Register, ManifestLiesBesideTheCiphertext) {
  EXPECT_EQ(manifest_url_beside("https://h/models/a/model.tbenc"), "https://h/models/a/model.manifest.json");
  for (const char* bad : {"https://h/a?sig=1", "https://h", "model.tbenc", "https://h/a#b", ""}) {
    EXPECT_EQ(reason_of([&] { manifest_url_beside(bad); }), "usage") << bad;
  }
}

TEST(Register, WrappingKeyIsBelievedOnlyFromThePinnedIdentity) {
  const Ed25519PrivateKey identity = Ed25519PrivateKey::generate(), stranger = Ed25519PrivateKey::generate();
  const jose::PrivateKey wrapping = jose::PrivateKey::generate();
  Json set = Json::object();
  set.set("keys", Json(Json::Array{wrapping.public_key().to_jwk()}));
  set.set("tenant", "acme");
  constexpr std::string_view kType = "trustbridge-wrapping-keys+jws";
  const WrappingKey key = wrapping_key(jose::sign(identity, kType, set.dump()), identity.public_key());
  EXPECT_EQ(key.key, wrapping.public_key());
  EXPECT_EQ(key.tenant, "acme");
  // The newest stands first.
  Json two = set;
  two.set("keys",
          Json(Json::Array{jose::PrivateKey::generate().public_key().to_jwk(), wrapping.public_key().to_jwk()}));
  EXPECT_NE(wrapping_key(jose::sign(identity, kType, two.dump()), identity.public_key()).key, wrapping.public_key());
  const auto refusal = [&](const std::string& jws) {
    return reason_of([&] { wrapping_key(jws, identity.public_key()); });
  };
  EXPECT_NE(refusal(jose::sign(stranger, kType, set.dump())), "accepted");
  EXPECT_NE(refusal(jose::sign(identity, "another+jws", set.dump())), "accepted");
  EXPECT_NE(refusal(""), "accepted");
  EXPECT_EQ(refusal(jose::sign(identity, kType, R"({"keys":[],"tenant":"acme"})")), "answer_malformed");
  EXPECT_NE(refusal(jose::sign(identity, kType, R"({"keys":[{"kty":"EC"}],"tenant":"acme"})")), "accepted");
  set.erase("tenant");
  EXPECT_EQ(refusal(jose::sign(identity, kType, set.dump())), "field_missing");
}

TEST(Upload, StoreMustBeOneOfThoseThatThereAre) {
  for (const char* bad : {"file:", "cp", "s3:bucket", "cp:x", "ftp://x"}) {
    UploadOptions options;
    options.store.store = bad;
    EXPECT_EQ(reason_of([&] { upload_asset(options, {}, {}); }), "usage") << bad;
  }
}

}  // namespace
}  // namespace tb::cli
