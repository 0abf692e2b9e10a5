#include "sentinel/audit.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/json.h"

namespace tb::sentinel {
namespace {

class AuditTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "/audit-XXXXXX";
    dir_ = mkdtemp(pattern.data());
    options_ = {.directory = dir_ + "/audit", .state_dir = dir_, .contract_id = "c1", .asset_id = "a1"};
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  std::string log() { return read_small_file(dir_ + "/audit/audit.jsonl").value(); }
  static AuditEntry entry(std::string path) {
    AuditEntry out;
    out.request_id = "r1";
    out.subject = "key-1";
    out.method = "POST";
    out.path = std::move(path);
    out.status = 200;
    out.outcome = Outcome::kComplete;
    return out;
  }
  std::string dir_;
  AuditOptions options_;
};

TEST_F(AuditTest, ChainGoesOnOverRestarts) {
  for (int run = 0; run < 3; ++run) {
    AuditLog audit(options_);
    EXPECT_EQ(audit.records(), static_cast<std::uint64_t>(run) * 2);
    EXPECT_TRUE(audit.append(entry("/v1/a")));
    EXPECT_TRUE(audit.append(entry("/v1/b")));
  }
  EXPECT_EQ(tlog::verify_lines(log()).records, 6U);
}

TEST_F(AuditTest, KeptAndNewFieldsStandInARecord) {
  AuditLog(options_).append(entry("/v1/models"));
  const std::string text = log();
  const auto json = Json::parse(std::string_view(text).substr(0, text.size() - 1));
  ASSERT_TRUE(json);
  for (const std::string_view name :
       {"ts", "contract_id", "asset_id", "method", "path", "req_sha256", "status", "latency_ms", "seq", "prev",
        "request_id", "subject", "resp_sha256", "req_bytes", "resp_bytes", "outcome", "hash_alg"}) {
    EXPECT_NE(json->find(name), nullptr) << name;
  }
  EXPECT_EQ(json->find("prev")->as_string(), std::string(64, '0'));
  EXPECT_EQ(json->find("outcome")->as_string(), "complete");
}

TEST_F(AuditTest, ALineCutByACrashIsDropped) {
  AuditLog(options_).append(entry("/v1/a"));
  std::ofstream(dir_ + "/audit/audit.jsonl", std::ios::app) << R"({"ts":"2026-)";
  AuditLog(options_).append(entry("/v1/b"));
  EXPECT_EQ(tlog::verify_lines(log()).records, 2U);
}

TEST_F(AuditTest, AForeignFileIsNotContinued) {
  std::filesystem::create_directories(dir_ + "/audit");
  std::ofstream(dir_ + "/audit/audit.jsonl") << "something else\n";
  EXPECT_THROW(AuditLog{options_}, Error);
}

TEST_F(AuditTest, OneWriterAtATime) {
  const AuditLog first(options_);
  EXPECT_THROW(AuditLog{options_}, Error);
}

TEST_F(AuditTest, WhatClientsSendCannotBreakALine) {
  AuditLog audit(options_);
  EXPECT_TRUE(audit.append(entry("/v1/\"\n\x01\xff" + std::string(5000, 'a'))));
  EXPECT_EQ(tlog::verify_lines(log()).records, 1U);
}

TEST_F(AuditTest, KeyedHashesNeedTheKeyAndDifferByRequest) {
  const auto digest = [](BodyHash hash) {
    hash.update(as_bytes("yes"));
    EXPECT_EQ(hash.bytes(), 3U);
    return hash.finish();
  };
  std::string first;
  {
    const AuditLog audit(options_);
    first = digest(audit.body_hash("r1"));
    EXPECT_NE(first, digest(audit.body_hash("r2")));
    EXPECT_NE(first, sha256_hex("yes"));
  }
  EXPECT_EQ(first, digest(AuditLog(options_).body_hash("r1"))) << "the key file must stay the same";
  options_.keyed = false;
  EXPECT_EQ(digest(AuditLog(options_).body_hash("r1")), sha256_hex("yes")) << "the kept form";
}

}  // namespace
}  // namespace tb::sentinel
