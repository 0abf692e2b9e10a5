// spec: wire 2.5
#include "sentinel/audit_record.h"

#include <gtest/gtest.h>

#include "base/json.h"

namespace tb::sentinel {
namespace {

const AuditFrame kFrame{.contract_id = "c1", .asset_id = "a1", .keyed = true};

Json parsed(std::string text) {
  return value_or_throw(Json::parse(text + "}"));
}

Json record(const AuditEntry& entry, const AuditFrame& frame = kFrame) {
  std::string text;
  AuditRecordWriter().append(text, frame, entry);
  EXPECT_LE(text.size(), kMaxAuditRecordBytes - 128) << "seq and prev come on top";
  return parsed(text);
}

AuditEntry usual() {
  AuditEntry out;
  out.time = 1795651200161;
  out.request_id = "r1";
  out.subject = "key-1";
  out.method = "POST";
  out.path = "/v1/chat/completions";
  out.model = "tiny";
  out.req_sha256 = sha256("request");
  out.resp_sha256 = sha256("response");
  out.req_bytes = 7;
  out.resp_bytes = 8;
  out.status = 200;
  out.latency_ms = 12;
  out.outcome = Outcome::kComplete;
  out.usage = meter::TokenUsage{.input_tokens = 3, .output_tokens = 4, .estimated = true, .disputed = false};
  return out;
}

TEST(AuditRecord, KeptAndNewFields) {
  EXPECT_EQ(record(usual()).dump(),
            R"({"ts":"2026-11-26T00:00:00.161Z","contract_id":"c1","asset_id":"a1","method":"POST",)"
            R"("path":"/v1/chat/completions","req_sha256":")" +
                sha256_hex("request") +
                R"(","status":200,"latency_ms":12,"request_id":"r1","subject":"key-1","resp_sha256":")" +
                sha256_hex("response") +
                R"(","hash_alg":"HMAC-SHA256","req_bytes":7,"resp_bytes":8,"outcome":"complete","model":"tiny",)"
                R"("usage":{"input_tokens":3,"output_tokens":4,"estimated":true,"disputed":false}})");
}

TEST(AuditRecord, WhatIsNotKnownIsLeftOut) {
  AuditEntry entry = usual();
  entry.model.clear();
  entry.usage.reset();
  entry.resp_sha256.reset();
  const Json json = record(entry, {.contract_id = "c1", .asset_id = "a1", .keyed = false});
  for (const auto* name : {"model", "usage", "resp_sha256"}) EXPECT_EQ(json.find(name), nullptr) << name;
  EXPECT_EQ(json.find("hash_alg")->as_string(), "SHA-256");
}

TEST(AuditRecord, WhatClientsSendIsBoundedAndPrintable) {
  AuditEntry entry = usual();
  entry.path = "/v1/\"\\\n\x01\x7f\xff" + std::string(5000, '"');
  entry.model = std::string(5000, '\\');
  entry.method = entry.request_id = entry.subject = std::string(5000, '"');
  const Json json = record(entry);
  EXPECT_EQ(json.find("path")->as_string().substr(0, 12), "/v1/\"\\????\"\"");
  EXPECT_EQ(json.find("path")->as_string().size(), 1024U);
  EXPECT_EQ(json.find("model")->as_string(), std::string(256, '\\'));
}

TEST(AuditRecord, Outcomes) {
  for (const auto& [outcome, name] : {std::pair{Outcome::kComplete, "complete"},
                                      {Outcome::kAborted, "aborted"},
                                      {Outcome::kRefused, "refused"},
                                      {Outcome::kUpstreamError, "upstream_error"}}) {
    AuditEntry entry = usual();
    entry.outcome = outcome;
    EXPECT_EQ(record(entry).find("outcome")->as_string(), name);
  }
}

TEST(AuditRecord, EventsOfTheLogItself) {
  const Json json =
      parsed(event_record_text(kFrame, 1795651200161, "origin_begun", {{"records_found", 3}}, {{"why", "a \"b\""}}));
  EXPECT_EQ(json.dump(),
            R"({"ts":"2026-11-26T00:00:00.161Z","contract_id":"c1","asset_id":"a1","event":"origin_begun",)"
            R"("records_found":3,"why":"a \"b\""})");
}

TEST(AuditRecord, BodyHashes) {
  const auto digest = [](BodyHash hash) {
    hash.update(as_bytes("ye"));
    hash.update(as_bytes("s"));
    return hash.finish();
  };
  EXPECT_EQ(digest(BodyHash()), sha256("yes")) << "the kept form";
  const HmacKey key(as_bytes("K"));
  const Digest request_key = hmac_sha256(as_bytes("K"), as_bytes("r1"));
  EXPECT_EQ(digest(BodyHash(HmacKey(key.mac(as_bytes("r1"))))), hmac_sha256(request_key, as_bytes("yes")));
}

}  // namespace
}  // namespace tb::sentinel
