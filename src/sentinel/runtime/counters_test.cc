// What is read from a runtime's own counters, and what is shown of their distance from what was billed.
#include "sentinel/runtime/counters.h"

#include <gtest/gtest.h>

#include <atomic>

#include "sentinel/proxy/peers_test.h"

namespace tb::sentinel::runtime {
namespace {

using meter::TokenCounts;
using proxy::test::eventually;
using proxy::test::Runtime;
using proxy::test::Wire;

TEST(RuntimeTokens, AreSummedOverTheSeriesOfEitherRuntime) {
  EXPECT_EQ(runtime_tokens("# HELP vllm:prompt_tokens_total x\n# TYPE vllm:prompt_tokens_total counter\n"
                           "vllm:prompt_tokens_total{engine=\"0\",model_name=\"a } 9\"} 3.0\n"
                           "vllm:prompt_tokens_total{engine=\"1\",model_name=\"m\"} 4.0 1700000000000\n"
                           "vllm:generation_tokens_total{model_name=\"m\"} 1.5e3\n"),
            (TokenCounts{7, 1500}));
  EXPECT_EQ(runtime_tokens("llamacpp:prompt_tokens_total 12\nllamacpp:tokens_predicted_total 30"),
            (TokenCounts{12, 30}));
}

TEST(RuntimeTokens, AreNotTakenFromWhatIsNoCountOfTheirs) {
  EXPECT_FALSE(runtime_tokens(""));
  EXPECT_FALSE(runtime_tokens("vllm:prompt_tokens_total_created 1.7e9\nxvllm:prompt_tokens_total 1\n"));
  EXPECT_FALSE(
      runtime_tokens("vllm:prompt_tokens_total{a=\"b 3\nvllm:prompt_tokens_total NaN\n"
                     "vllm:prompt_tokens_total -1\nvllm:prompt_tokens_total 1e16\nvllm:prompt_tokens_total x\n"));
}

/// A runtime that counts, and somebody who bills.
class TokenDriftTest : public testing::Test {
 protected:
  double shown(const char* direction) {
    return metrics_.gauge("trustbridge_sentinel_metering_drift_tokens", "", {{"direction", direction}}).value();
  }
  bool is_seen() { return metrics_.gauge("trustbridge_sentinel_runtime_counts_tokens", "").value() == 1; }
  /// Two more questions were answered: the second of them was asked after this call.
  bool looked_again() {
    const int before = asked_;
    return eventually([&] { return asked_ >= before + 3; });
  }

  std::atomic<int> asked_ = 0;
  std::atomic<std::int64_t> read_ = 100, generated_ = 1000, billed_input_ = 0, billed_output_ = 0;
  std::atomic<bool> has_metrics_ = true;
  obs::Metrics metrics_;
  Runtime runtime_{[this](Wire& wire, int) {
    wire.message();
    const std::string text = "vllm:prompt_tokens_total{} " + std::to_string(read_.load()) +
                             "\nvllm:generation_tokens_total{} " + std::to_string(generated_.load()) + "\n";
    const std::string body = has_metrics_ ? text : "";
    ++asked_;
    wire.say("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  }};
  TokenDrift drift_{metrics_, [this] { return TokenCounts{billed_input_, billed_output_}; }, 2};
};

TEST_F(TokenDriftTest, IsNoneFromWhereBothWereFirstSeen) {
  billed_input_ = 7;
  drift_.watch(Channel{.address = runtime_.address});
  ASSERT_TRUE(looked_again());
  EXPECT_TRUE(is_seen());
  EXPECT_EQ(shown("input"), 0);
  EXPECT_EQ(shown("output"), 0);
}

TEST_F(TokenDriftTest, IsWhatTheRuntimeCountedBeyondWhatWasBilled) {
  drift_.watch(Channel{.address = runtime_.address});
  ASSERT_TRUE(looked_again());
  read_ += 30;
  generated_ += 50;
  EXPECT_TRUE(eventually([&] { return shown("input") == 30 && shown("output") == 50; }));
  billed_input_ += 20;  // what comes late comes off
  billed_output_ += 50;
  EXPECT_TRUE(eventually([&] { return shown("input") == 10 && shown("output") == 0; }));
  billed_output_ += 5;
  EXPECT_TRUE(eventually([&] { return shown("output") == -5; }));
  EXPECT_EQ(shown("input"), 10);
}

TEST_F(TokenDriftTest, IsKeptWhenARuntimeIsStartedAgainOrShowsNothing) {
  drift_.watch(Channel{.address = runtime_.address});
  ASSERT_TRUE(looked_again());
  generated_ += 50;
  ASSERT_TRUE(eventually([&] { return shown("output") == 50; }));
  read_ = 0;
  generated_ = 0;
  ASSERT_TRUE(looked_again());
  EXPECT_EQ(shown("output"), 50);
  generated_ = 4;
  EXPECT_TRUE(eventually([&] { return shown("output") == 54; }));
  has_metrics_ = false;
  EXPECT_TRUE(eventually([&] { return !is_seen(); }));
  EXPECT_EQ(shown("output"), 54);
}

}  // namespace
}  // namespace tb::sentinel::runtime
