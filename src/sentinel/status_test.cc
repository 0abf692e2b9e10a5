// Health answers by state, and who sees how much.
#include "sentinel/status.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "sentinel/health.h"

namespace tb::sentinel {
namespace {

class HealthTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "/health-XXXXXX";
    dir_ = mkdtemp(pattern.data());
    keys_ = std::make_unique<ApiKeys>(dir_ + "/keys");
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  http::Response get(const std::string& path, bool loopback = true, const std::string& key = "") {
    const http::Router router = health_router([this] { return status_; }, metrics_, keys_.get());
    const auto match = router.match("GET", path);
    EXPECT_NE(match.route, nullptr) << path;
    http::Request request;
    request.method = "GET";
    request.path = path;
    request.peer_is_loopback = loopback;
    if (!key.empty()) request.headers.set("Authorization", "Bearer " + key);
    return match.route->handler(request);
  }

  std::string dir_;
  std::unique_ptr<ApiKeys> keys_;
  obs::Metrics metrics_;
  Status status_;
};

// spec: wire 2.1: kept paths, statuses and bodies.
TEST_F(HealthTest, ByState) {
  for (const State state : kStates) {
    status_.state = state;
    status_.delivery_usable = is_serving_or_loading(state);
    const std::string not_ready = "Not ready: " + std::string(state_name(state));
    EXPECT_EQ(get("/health").status, is_ready(state) ? 200 : 503);
    EXPECT_EQ(get("/health").body, is_ready(state) ? "OK" : not_ready);
    EXPECT_EQ(get("/readiness").status, is_serving_or_loading(state) ? 200 : 503);
    EXPECT_EQ(get("/readiness").body, is_serving_or_loading(state) ? "Ready" : not_ready);
    EXPECT_EQ(get("/startupz").status, is_serving_or_loading(state) ? 200 : 503);
    EXPECT_EQ(get("/readyz").status, is_ready(state) ? 200 : 503);
    EXPECT_EQ(get("/livez").status, 200);
    EXPECT_EQ(get("/healthz").status, 200);
    EXPECT_EQ(get("/status").status, 200);
    EXPECT_EQ(get("/metrics").status, 200);
  }
}

TEST_F(HealthTest, NewFieldsAreForLoopbackAndForKeysWithTheRight) {
  const NewApiKey infer = add_api_key(dir_ + "/keys", "infer", true, false, 0);
  const NewApiKey viewer = add_api_key(dir_ + "/keys", "viewer", false, true, 0);
  keys_ = std::make_unique<ApiKeys>(dir_ + "/keys");
  const auto sees_all = [&](bool loopback, const std::string& key) {
    const Json json = Json::parse(get("/status", loopback, key).body).value();
    EXPECT_NE(json.find("state"), nullptr);
    EXPECT_NE(json.find("uptime_ms"), nullptr);
    const bool all = json.find("lease") != nullptr;
    EXPECT_EQ(json.find("last_error") != nullptr, all);
    EXPECT_EQ(get("/metrics", loopback, key).body.find("trustbridge_sentinel_uptime_seconds") != std::string::npos,
              all);
    return all;
  };
  EXPECT_TRUE(sees_all(true, ""));
  EXPECT_FALSE(sees_all(false, ""));
  EXPECT_FALSE(sees_all(false, "wrong"));
  EXPECT_FALSE(sees_all(false, infer.key.reveal()));
  EXPECT_TRUE(sees_all(false, viewer.key.reveal()));
}

TEST_F(HealthTest, TheAuditLogTheGradeAndTheLastSuspension) {
  const auto shown = [&] { return Json::parse(get("/status").body).value(); };
  Json json = shown();
  EXPECT_TRUE(json.find("audit")->is_null());
  EXPECT_TRUE(json.find("last_suspension")->is_null());
  status_.lease = LeaseView{};
  status_.enforcement = {.grade = api::Grade::kThrottle, .notice = "invoice 7 is due", .requests_per_minute = 5};
  status_.audit = AuditView{.records = 9,
                            .countersigned = 7,
                            .pending = 1,
                            .unrecorded = 2,
                            .writable = false,
                            .origin = "trustbridge/x/audit"};
  status_.audit_fault = "log_forked";
  status_.last_suspension = SuspensionTimes{.code = "contract_revoked",
                                            .denied_ms = 1,
                                            .closed_ms = 2,
                                            .cut_ms = 3,
                                            .runtime_ended_ms = 4,
                                            .plaintext_gone_ms = 5000};
  json = shown();
  EXPECT_EQ(json.find("audit")->dump(),
            R"({"writable":false,"records":9,"countersigned_records":7,"pending_records":1,"unrecorded_refusals":2,)"
            R"("origin":"trustbridge/x/audit","last_fault":"log_forked"})");
  EXPECT_EQ(json.find("last_suspension")->dump(),
            R"({"code":"contract_revoked","denied_ms":1,"closed_ms":2,"cut_ms":3,"runtime_ended_ms":4,)"
            R"("plaintext_gone_ms":5000})");
  EXPECT_EQ(json.find("lease")->find("enforcement")->as_string(), "throttle");
  EXPECT_EQ(json.find("lease")->find("notice")->as_string(), "invoice 7 is due");
  const std::string metrics = get("/metrics").body;
  for (const std::string_view line :
       {"trustbridge_sentinel_audit_writable 0\n", "trustbridge_sentinel_audit_records 9\n",
        "trustbridge_sentinel_audit_countersigned_records 7\n", "trustbridge_sentinel_audit_pending_records 1\n",
        "trustbridge_sentinel_last_suspension_seconds 5\n", "trustbridge_sentinel_enforcement 2\n"}) {
    EXPECT_NE(metrics.find(line), std::string::npos) << line;
  }
}

TEST_F(HealthTest, UptimeText) {
  EXPECT_EQ(uptime_text(0), "0s");
  EXPECT_EQ(uptime_text(61'500), "1m1s");
  EXPECT_EQ(uptime_text(7'322'000), "2h2m2s");
}

TEST_F(HealthTest, EachMeasureOfTheIsolationIsAGauge) {
  status_.isolation.set("mode", "partial");
  status_.isolation.set("seccomp", true);
  status_.isolation.set("own_user", false);
  status_.channel = "unix socket";
  const std::string text = get("/metrics").body;
  EXPECT_NE(text.find("trustbridge_sentinel_isolation{measure=\"seccomp\"} 1"), std::string::npos) << text;
  EXPECT_NE(text.find("trustbridge_sentinel_isolation{measure=\"own_user\"} 0"), std::string::npos);
  EXPECT_EQ(text.find("measure=\"mode\""), std::string::npos);
  const Json isolation = *Json::parse(get("/status").body).value().find("isolation");
  EXPECT_EQ(isolation.find("mode")->as_string(), "partial");
  EXPECT_EQ(isolation.find("channel")->as_string(), "unix socket");
  EXPECT_TRUE(isolation.find("reach")->is_null());
}

}  // namespace
}  // namespace tb::sentinel
