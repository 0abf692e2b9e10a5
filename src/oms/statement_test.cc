#include "oms/statement.h"

#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/json.h"
#include "oms/bundle.h"

namespace tb::oms {
namespace {

Statement some() {
  Statement statement;
  statement.subject = "my-model";
  statement.resources = {{"config.json", sha256("{}")}, {"sub/w.bin", sha256("w")}};
  statement.ignore_paths = default_ignore_paths();
  return statement;
}

template <typename F>
std::string reason_of(F&& parse) {
  try {
    parse();
    return "ok";
  } catch (const Error& error) {
    return error.reason;
  }
}

/// The reason for which some() is refused after `from` was replaced by `to` in its text.
std::string replaced(std::string_view from, std::string_view to) {
  std::string text = some().text();
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  text.replace(at, from.size(), to);
  return reason_of([&] { Statement::parse(text); });
}

TEST(OmsStatement, WhatIsWrittenIsReadTheSame) {
  EXPECT_EQ(Statement::parse(some().text()), some());
  Statement shards = some();
  shards.shard_bytes = 1000;
  shards.resources = {{shard_name("a:b", 0, 1000), sha256("1")}, {shard_name("a:b", 1000, 1200), sha256("2")}};
  EXPECT_EQ(Statement::parse(shards.text()), shards);
  EXPECT_EQ(file_of(shards, shards.resources[1]), "a:b");
}

// spec: OMS 6.5.1
TEST(OmsStatement, TheRootDigestIsOverRawDigestsInOrder) {
  Bytes raw;
  for (const Resource& resource : some().resources)
    raw.insert(raw.end(), resource.digest.begin(), resource.digest.end());
  EXPECT_EQ(root_digest(some().resources), sha256(raw));
}

TEST(OmsStatement, RefusesEveryOtherForm) {
  EXPECT_EQ(replaced("config.json", "z.json"), "oms_bundle_malformed") << "not sorted";
  EXPECT_EQ(replaced("sub/w.bin", "config.json"), "oms_bundle_malformed") << "twice";
  for (const char* path : {"/etc/passwd", "../up", "a/../b", "a//b", "./a", "dir/", ""}) {
    EXPECT_EQ(replaced("config.json", path), "oms_bundle_malformed") << path;
  }
  EXPECT_EQ(replaced("config.json", "."), "oms_bundle_malformed") << "the nameless file is alone";
  EXPECT_EQ(replaced(to_hex(sha256("{}")), to_hex(sha256("{ }"))), "oms_bundle_malformed") << "root digest";
  EXPECT_EQ(replaced(to_hex(sha256("{}")), "AB"), "oms_bundle_malformed") << "digest";
  EXPECT_EQ(replaced(R"("algorithm":"sha256")", R"("algorithm":"sha512")"), "oms_bundle_malformed");
  EXPECT_EQ(replaced(R"("hash_type":"sha256")", R"("hash_type":"md5")"), "oms_bundle_malformed");
  EXPECT_EQ(replaced(R"("hash_type":"sha256")", R"("hash_type":"blake3")"), "oms_unsupported");
  EXPECT_EQ(replaced(R"("method":"files")", R"("method":"file-shard-1048576")"), "oms_unsupported");
  EXPECT_EQ(replaced(R"("method":"files")", R"("method":"shards")"), "oms_bundle_malformed") << "no shard_size";
  EXPECT_EQ(replaced(R"("method":"files")", R"("method":"files","shard_size":7)"), "oms_bundle_malformed");
  EXPECT_EQ(replaced(R"("method":"files")", R"("method":"merkle")"), "oms_bundle_malformed");
  EXPECT_EQ(replaced(R"("allow_symlinks":false)", R"("allow_symlinks":0)"), "oms_bundle_malformed");
  EXPECT_EQ(replaced(R"([".git",)", R"(["*",)"), "oms_bundle_malformed");
  EXPECT_EQ(replaced(R"([".git",)", R"(["../x",)"), "oms_bundle_malformed");
  EXPECT_EQ(replaced(R"("name":"my-model")", R"("name":"")"), "oms_bundle_malformed");
  EXPECT_EQ(replaced(R"("_type")", R"("predicateType":"x","_type")"), "oms_bundle_malformed") << "duplicate name";
}

TEST(OmsStatement, RefusesShardsThatAreNone) {
  Statement shards = some();
  shards.shard_bytes = 1000;
  for (const char* name :
       {"a", "a:0", "a:0:1001", "a:1:5", "a:00:5", "a:5:0", "a:-0:5", "a:1000:1000", ":0:5", "../a:0:5"}) {
    shards.resources = {{name, sha256("1")}};
    EXPECT_EQ(reason_of([&] { Statement::parse(shards.text()); }), "oms_bundle_malformed") << name;
  }
  shards.resources = {{"a:0:5", sha256("1")}, {"a:0:5", sha256("1")}};
  EXPECT_EQ(reason_of([&] { Statement::parse(shards.text()); }), "oms_bundle_malformed") << "twice";
}

// spec: OMS 6.2.1
TEST(OmsStatement, LeavesOutWholePathsFromTheTop) {
  Statement statement = some();
  statement.ignore_paths = {"cache"};
  for (const char* path : {".git", ".git/HEAD", ".github/ci.yml", "cache", "cache/a/b"}) {
    EXPECT_TRUE(statement.ignores(path)) << path;
  }
  for (const char* path : {"sub/.git/HEAD", "sub/cache", "cache2", ".gitmodules", "a"}) {
    EXPECT_FALSE(statement.ignores(path)) << path;
  }
}

TEST(OmsBundle, RefusesMaterialOfOtherKinds) {
  const auto material = [](const std::string& json) {
    Bundle bundle;
    bundle.hint = std::string(64, 'a');
    bundle.payload = "{}";
    bundle.signature = {1};
    std::string text = bundle.text();
    const std::size_t from = text.find("\"verificationMaterial\": {") + 24;
    const std::size_t to = text.find("\"dsseEnvelope\"");
    text.replace(from, to - from, json + ", ");
    return reason_of([&] { Bundle::parse(text); });
  };
  EXPECT_EQ(material(R"({"publicKey": {"hint": ")" + std::string(64, 'a') + R"("}})"), "ok");
  EXPECT_EQ(material(R"({"publicKey": {"rawBytes": "AAAA", "keyDetails": "PKIX_ECDSA_P384_SHA_256"}})"), "ok");
  EXPECT_EQ(material(R"({})"), "oms_bundle_malformed");
  EXPECT_EQ(material(R"({"publicKey": {"hint": "abc"}})"), "oms_bundle_malformed");
  EXPECT_EQ(material(R"({"publicKey": {}})"), "oms_bundle_malformed");
  EXPECT_EQ(material(R"({"publicKey": {"rawBytes": "AAA"}})"), "oms_bundle_malformed") << "not canonical base64";
  EXPECT_EQ(material(R"({"x509CertificateChain": {"certificates": []}})"), "oms_bundle_malformed");
  EXPECT_EQ(material(R"({"x509CertificateChain": {"certificates": [{"rawBytes": ""}]}})"), "oms_bundle_malformed");
  EXPECT_EQ(
      material(
          R"({"publicKey": {"rawBytes": "AAAA"}, "x509CertificateChain": {"certificates": [{"rawBytes": "AAAA"}]}})"),
      "oms_bundle_malformed")
      << "two owners";
  EXPECT_EQ(material(R"({"certificate": {"rawBytes": "AAAA"}, "tlogEntries": []})"), "oms_unsupported") << "keyless";
  EXPECT_EQ(material(R"({"publicKey": {"rawBytes": "AAAA"}, "more": 1})"), "oms_bundle_malformed");
}

TEST(OmsBundle, TakesVersion03AndSaysSoOfOthers) {
  Bundle bundle;
  bundle.hint = std::string(64, 'a');
  bundle.payload = "{}";
  bundle.signature = {1};
  const auto with = [&](std::string_view type) {
    std::string text = bundle.text();
    text.replace(text.find(kMediaType), kMediaType.size(), type);
    return reason_of([&] { Bundle::parse(text); });
  };
  EXPECT_EQ(with("application/vnd.dev.sigstore.bundle+json;version=0.3"), "ok");
  EXPECT_EQ(with("application/vnd.dev.sigstore.bundle+json;version=0.2"), "oms_unsupported");
  EXPECT_EQ(with("application/vnd.dev.sigstore.bundle.v0.4+json"), "oms_unsupported");
  EXPECT_EQ(with("text/plain"), "oms_bundle_malformed");
}

}  // namespace
}  // namespace tb::oms
