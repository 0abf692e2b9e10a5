// The filter that counts tokens, in a real proxy between a client and a runtime that does what a script says: what
// either gets, what is billed, and what becomes of the reservation. How bodies are read and weighed is tested in
// meter/.
#include "sentinel/metering.h"

#include <gtest/gtest.h>

#include <mutex>

#include "meter/usage_rule.h"
#include "sentinel/proxy/peers_test.h"

namespace tb::sentinel {
namespace {

using meter::TokenUsage;
using proxy::Exchange;
using proxy::Refusal;
using proxy::test::eventually;
using proxy::test::Runtime;
using proxy::test::Wire;

constexpr const char* kKey = "k1";
constexpr const char* kChat = "/v1/chat/completions";
constexpr const char* kStreamHead =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
constexpr const char* kEnd = "0\r\n\r\n";
const std::string kDone = "data: [DONE]\n\n";
const std::string kUsageEvent =
    R"(data: {"id":"c1","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}})"
    "\n\n";

std::string ask(std::string_view path, std::string_view body, std::string_view more = "") {
  return "POST " + std::string(path) + " HTTP/1.1\r\nHost: a\r\n" + std::string(more) +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
}

std::string answer(std::string_view body, std::string_view status = "200 OK", std::string_view more = "") {
  return "HTTP/1.1 " + std::string(status) + "\r\nContent-Type: application/json\r\n" + std::string(more) +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
}

std::string usage_body(int input, int output) {
  return R"({"choices":[{"index":0,"message":{"content":"hi"}}],"usage":{"prompt_tokens":)" + std::to_string(input) +
         R"(,"completion_tokens":)" + std::to_string(output) + "}}";
}

std::string usage_answer(int input, int output) {
  return answer(usage_body(input, output));
}

std::string event(std::string_view text) {
  return R"(data: {"id":"c1","choices":[{"index":0,"delta":{"content":")" + std::string(text) +
         R"("},"finish_reason":null}]})" + "\n\n";
}

/// One chunk of the transfer coding.
std::string chunk(std::string_view text) {
  char size[32];
  (void)std::snprintf(size, sizeof size, "%zx\r\n", text.size());
  return size + std::string(text) + "\r\n";
}

std::string chat(std::string_view more = "") {
  return R"({"model":"m","messages":[])" + std::string(more) + "}";
}

class MeteringTest : public proxy::test::ProxyCase {
 protected:
  void serve(const Runtime& runtime, KeyLimits limits = {}, MeteringOptions options = {}) {
    limits_ = limits;
    first_.on_request = [this](Exchange& exchange) {
      exchange.subject = kKey;
      exchange.limits = limits_;
      return std::optional<Refusal>();
    };
    begin(runtime.address, {}, metering_filter(budgets_, underway_, metrics_, std::move(options)));
  }
  /// A runtime that keeps what it is sent and says `answer` each time.
  Runtime::Script recording(std::string answer) {
    return [this, answer](Wire& wire, int) {
      while (!heard(wire).empty() && wire.say(answer)) {
      }
    };
  }
  std::string heard(Wire& wire) {
    std::string message = wire.message();
    const std::scoped_lock lock(mutex_);
    requests_.push_back(message);
    return message;
  }
  std::string request(std::size_t at = 0) {
    const std::scoped_lock lock(mutex_);
    return at < requests_.size() ? requests_[at] : "";
  }
  /// Of the last request, once `requests` have ended.
  Exchange ended(int requests = 1) {
    EXPECT_TRUE(has_ended(requests));
    const std::scoped_lock lock(second_.mutex);
    return second_.last;
  }
  void expect_usage(std::int64_t input, std::int64_t output, std::string_view marks, int requests = 1) {
    const auto usage = ended(requests).usage;
    ASSERT_TRUE(usage);
    EXPECT_EQ(usage->input_tokens, input);
    EXPECT_EQ(usage->output_tokens, output);
    EXPECT_EQ(std::string(usage->estimated ? "estimated " : "") + (usage->disputed ? "disputed" : ""), marks);
    expect_nothing_held();
  }
  void expect_nothing_held() {
    EXPECT_EQ(budgets_.open(), 0U);
    EXPECT_EQ(budgets_.reserved(kKey), 0);
    EXPECT_EQ(underway_.size(), 0U);
  }
  /// Whether the key's budget has room for so many tokens, and for not one more.
  bool has_left(std::int64_t tokens) { return takes(tokens) && !takes(tokens + 1); }
  std::uint64_t metered(const char* usage) {
    return metrics_.counter("trustbridge_sentinel_metered_requests_total", "", {{"usage", usage}}).value();
  }
  std::uint64_t refused(const char* limit) {
    return metrics_.counter("trustbridge_sentinel_token_refusals_total", "", {{"limit", limit}}).value();
  }
  static std::size_t count(std::string_view text, std::string_view what) {
    std::size_t out = 0;
    for (std::size_t at = 0; (at = text.find(what, at)) != std::string_view::npos; at += what.size()) ++out;
    return out;
  }

  meter::Budgets budgets_;  // they outlive the proxy, which the base class ends: TearDown
  UnderwayBook underway_;
  KeyLimits limits_;
  std::mutex mutex_;
  std::vector<std::string> requests_;

  void TearDown() override { proxy_.reset(); }

 private:
  bool takes(std::int64_t tokens) {
    const auto grant = budgets_.reserve({.subject = kKey,
                                         .limits = {.per_minute = std::nullopt, .total = limits_.token_budget},
                                         .input = tokens,
                                         .can_be_lowered = false},
                                        0, 0);
    if (grant) budgets_.settle(grant->number, std::nullopt, 0, 0, 0);
    return grant.has_value();
  }
};

TEST_F(MeteringTest, AnAnswerIsCountedAndTheRestOfItsReservationGivenBack) {
  Runtime runtime(recording(usage_answer(5, 7)));
  serve(runtime, {.token_budget = 1000});
  Wire wire = client();
  wire.say(ask(kChat, chat(R"(,"max_tokens":100)")));
  EXPECT_EQ(content(wire.message()), content(usage_answer(5, 7)));
  expect_usage(5, 7, "");
  EXPECT_EQ(ended().model, "m");
  EXPECT_TRUE(has_left(1000 - 12));
  wire.say(ask(kChat, chat(R"(,"max_tokens":100)")));
  EXPECT_EQ(content(wire.message()), content(usage_answer(5, 7)));
  expect_usage(5, 7, "", 2);
  EXPECT_TRUE(has_left(1000 - 24));
  EXPECT_EQ(metered("counted"), 2U);
  EXPECT_EQ(metered_tokens(metrics_), (meter::TokenCounts{10, 14}));
}

TEST_F(MeteringTest, UsageOfAStreamIsAskedForAndTakenOutAgain) {
  const std::string text = event("a") + event("b");
  Runtime runtime(recording(kStreamHead + chunk(text) + chunk(kUsageEvent) + chunk(kDone) + kEnd));
  serve(runtime);
  Wire wire = client();
  wire.say(ask(kChat, chat(R"(,"stream":true)")));
  EXPECT_EQ(content(wire.message()), text + kDone);
  EXPECT_EQ(content(request()), chat(R"(,"stream":true,"stream_options":{"include_usage":true})"));
  expect_usage(9, 2, "");
  const std::string asking = chat(R"(,"stream":true,"stream_options":{"include_usage":true})");
  wire.say(ask(kChat, asking));
  EXPECT_EQ(content(wire.message()), text + kUsageEvent + kDone) << "who asked for it gets it";
  EXPECT_EQ(content(request(1)), asking);
  expect_usage(9, 2, "", 2);
}

TEST_F(MeteringTest, AStreamIsReadOnForItsNumbersWhenTheClientHasLeft) {
  std::atomic<bool> go_on = false;
  Runtime runtime([&](Wire& wire, int) {
    heard(wire);
    wire.say(kStreamHead + chunk(event("a")));
    if (!eventually([&] { return go_on.load(); })) return;
    wire.say(chunk(event("b")) + chunk(kUsageEvent) + chunk(kDone) + kEnd);
    wire.to_end();
  });
  serve(runtime, {.token_budget = 10'000});
  Wire wire = client();
  wire.say(ask(kChat, chat(R"(,"stream":true,"max_tokens":50)")));
  ASSERT_TRUE(wire.until(R"("content":"a")"));
  const auto underway = underway_.older_than(boot_ms_now() + 1);
  ASSERT_EQ(underway.size(), 1U);
  EXPECT_EQ(underway[0].subject, kKey);
  EXPECT_EQ(underway[0].path, kChat);
  EXPECT_EQ(underway[0].output_tokens, 1) << "what a crash now would bill";
  wire.close();
  ASSERT_TRUE(eventually([&] {
    const std::scoped_lock lock(second_.mutex);
    return second_.left == 1;
  }));
  EXPECT_EQ(budgets_.open(), 1U) << "what is still being generated is still held";
  go_on = true;
  expect_usage(9, 2, "");
  EXPECT_EQ(ended().outcome, Outcome::kAborted);
  EXPECT_TRUE(has_left(10'000 - 11));
  EXPECT_EQ(metered("counted"), 1U);
}

TEST_F(MeteringTest, WhatCameInTheTimeToReadOnIsBilled) {
  Runtime runtime([&](Wire& wire, int) {
    heard(wire);
    wire.say(kStreamHead + chunk(event("a") + event("b")));
    wire.to_end();
  });
  serve(runtime, {.token_budget = 10'000}, {.drain_ms = 50});
  const std::string body = chat(R"(,"stream":true)");
  Wire wire = client();
  wire.say(ask(kChat, body));
  ASSERT_TRUE(wire.until(R"("content":"b")"));
  wire.close();
  const std::int64_t input = meter::tokens_of_bytes(body.size());
  expect_usage(input, 2, "estimated ");
  EXPECT_TRUE(has_left(10'000 - input - 2));
}

TEST_F(MeteringTest, AnEngineWithoutNumbersIsCountedByItsEvents) {
  Runtime runtime(recording(kStreamHead + chunk(event("a") + event("b") + event("c") + kDone) + kEnd));
  serve(runtime);
  const std::string body = chat(R"(,"stream":true)");
  Wire wire = client();
  wire.say(ask(kChat, body));
  EXPECT_EQ(content(wire.message()), event("a") + event("b") + event("c") + kDone);
  expect_usage(meter::tokens_of_bytes(body.size()), 3, "estimated ");
  EXPECT_EQ(metered("estimated"), 1U);
}

TEST_F(MeteringTest, NumbersThatCannotBeAreBilledAsTheNearestAndDisputed) {
  const std::string text = event("a") + event("b") + event("c");  // three tokens at least; the runtime says two
  Runtime runtime(recording(kStreamHead + chunk(text + kUsageEvent + kDone) + kEnd));
  serve(runtime);
  Wire wire = client();
  wire.say(ask(kChat, chat(R"(,"stream":true)")));
  EXPECT_EQ(content(wire.message()), text + kDone);
  expect_usage(9, 3, "disputed");
  EXPECT_EQ(metered("disputed"), 1U);
  EXPECT_EQ(metered("counted"), 0U);
}

TEST_F(MeteringTest, NoMoreIsBilledThanWasReserved) {
  Runtime runtime(recording(usage_answer(1'000'000, 1'000'000)));
  serve(runtime);
  const std::string body = chat(R"(,"max_tokens":5)");
  Wire wire = client();
  wire.say(ask(kChat, body));
  wire.message();
  expect_usage(static_cast<std::int64_t>(body.size()) + 64, 5, "disputed");
}

TEST_F(MeteringTest, CompressedRequestsAreRefusedAndCompressedAnswersNotAskedFor) {
  Runtime runtime(recording(usage_answer(5, 7)));
  serve(runtime);
  Wire squeezed = client();
  squeezed.say(ask(kChat, chat(), "Content-Encoding: identity, gzip\r\n"));
  const std::string refusal = squeezed.to_end();
  EXPECT_TRUE(refusal.starts_with("HTTP/1.1 415 ")) << refusal;
  EXPECT_NE(refusal.find(R"("code":"unsupported_content_encoding")"), std::string::npos);
  ASSERT_TRUE(has_ended());
  EXPECT_EQ(runtime.connections, 0);
  expect_nothing_held();

  Wire wire = client();
  wire.say(ask(kChat, chat(), "accept-encoding: gzip\r\nContent-Encoding: identity\r\nAccept-Encoding: br\r\n"));
  EXPECT_EQ(content(wire.message()), content(usage_answer(5, 7)));
  EXPECT_EQ(count(request(), "\r\nAccept-Encoding: identity\r\n"), 1U) << request();
  EXPECT_EQ(count(request(), "ccept-"), 1U) << request();
}

TEST_F(MeteringTest, AnAnswerThatIsCompressedAllTheSamePassesAndIsEstimated) {
  // Bytes that would read as JSON: what they are said to be decides.
  const std::string body = usage_body(5, 7);
  const std::string squeezed = answer(body, "200 OK", "Content-Encoding: gzip\r\n");
  Runtime runtime(recording(squeezed));
  serve(runtime);
  Wire wire = client();
  wire.say(ask(kChat, chat()));
  EXPECT_EQ(content(wire.message()), content(squeezed));
  expect_usage(meter::tokens_of_bytes(chat().size()), meter::tokens_of_bytes(body.size()), "estimated ");
}

TEST_F(MeteringTest, WhatABudgetCannotPayNeverReachesTheRuntime) {
  Runtime runtime(recording(usage_answer(5, 7)));
  serve(runtime, {.token_budget = 64});  // the chat template alone
  Wire wire = client();
  wire.say(ask(kChat, chat(R"(,"max_tokens":1)")));
  const std::string refusal = wire.to_end();
  EXPECT_TRUE(refusal.starts_with("HTTP/1.1 402 ")) << refusal;
  EXPECT_NE(refusal.find(R"("code":"quota_exhausted")"), std::string::npos);
  EXPECT_FALSE(ended().usage);
  EXPECT_EQ(runtime.connections, 0);
  EXPECT_EQ(refused("budget"), 1U);
  EXPECT_TRUE(has_left(64));
  expect_nothing_held();
}

TEST_F(MeteringTest, ALongBodyThatABudgetCannotPayNeverBecomesWholeAtTheRuntime) {
  std::atomic<bool> was_cut = false;
  std::atomic<std::size_t> saw = 0;
  Runtime runtime([&](Wire& wire, int) {
    wire.to_end();
    saw = wire.heard.size();
    was_cut = wire.heard.find("\r\n0\r\n\r\n") == std::string::npos;
  });
  serve(runtime, {.token_budget = 100'000});
  Wire wire = client();
  wire.say(ask(kChat, chat(R"(,"prompt":")" + std::string(300'000, 'x') + R"(","max_tokens":1)")));
  EXPECT_TRUE(wire.to_end().starts_with("HTTP/1.1 402 ")) << wire.heard;
  EXPECT_TRUE(eventually([&] { return was_cut.load(); }));
  EXPECT_GT(saw, 60'000U) << "what is not yet known to be too much goes up";
  ASSERT_TRUE(has_ended());
  expect_nothing_held();
}

TEST_F(MeteringTest, ALimitIsLoweredToWhatIsLeftAndAStreamThatGoesPastItEndedProperly) {
  std::atomic<int> gone = 0;
  Runtime runtime([&](Wire& wire, int) {
    heard(wire);
    wire.say(kStreamHead);
    while (wire.say(chunk(event("x")))) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    ++gone;
  });
  const std::string asked = chat(R"(,"stream":true,"stream_options":{"include_usage":true},"max_tokens":100)");
  const auto input_most = static_cast<std::int64_t>(asked.size()) + 64;
  serve(runtime, {.token_budget = input_most + 3});
  Wire wire = client();
  wire.say(ask(kChat, asked));
  const std::string got = content(wire.message());
  EXPECT_EQ(content(request()), chat(R"(,"stream":true,"stream_options":{"include_usage":true},"max_tokens":3)"));
  EXPECT_TRUE(got.starts_with(event("x") + event("x") + event("x"))) << got;
  EXPECT_EQ(count(got, R"("content":"x")"), 3U) << got;
  EXPECT_EQ(count(got, R"("finish_reason":"length")"), 1U) << got;
  EXPECT_EQ(count(got, R"("completion_tokens":3)"), 1U) << got;
  EXPECT_TRUE(got.ends_with("\n\n" + kDone)) << got;
  EXPECT_TRUE(eventually([&] { return gone == 1; })) << "the runtime was not told";
  const std::int64_t input = meter::tokens_of_bytes(asked.size());
  expect_usage(input, 3, "estimated ");
  EXPECT_EQ(ended().outcome, Outcome::kComplete);
  EXPECT_EQ(counted("trustbridge_sentinel_streams_cut_total"), 1U);
  EXPECT_TRUE(has_left(input_most - input)) << "the input that was never there comes back";
}

TEST_F(MeteringTest, TokensAMinuteAreToldAndHeld) {
  Runtime runtime(recording(usage_answer(5, 7)));
  serve(runtime, {.tokens_per_minute = 10});
  Wire wire = client();
  const std::string request_text = ask(kChat, chat(R"(,"max_tokens":1)"));
  wire.say(request_text);
  const std::string taken = wire.message();  // no more than the bucket holds is waited for
  EXPECT_TRUE(taken.starts_with("HTTP/1.1 200 ")) << taken;
  EXPECT_NE(taken.find("\r\nx-ratelimit-limit-tokens: 10\r\n"), std::string::npos) << taken;
  EXPECT_NE(taken.find("\r\nx-ratelimit-remaining-tokens: 0\r\n"), std::string::npos) << taken;
  ended();
  wire.say(request_text);
  const std::string refusal = wire.to_end();
  EXPECT_TRUE(refusal.starts_with("HTTP/1.1 429 ")) << refusal;
  EXPECT_NE(refusal.find("\r\nRetry-After: "), std::string::npos) << refusal;
  EXPECT_NE(refusal.find("\r\nx-ratelimit-reset-tokens: "), std::string::npos) << refusal;
  ended(2);
  EXPECT_EQ(refused("rate"), 1U);
  const std::scoped_lock lock(mutex_);
  EXPECT_EQ(requests_.size(), 1U);
}

TEST_F(MeteringTest, PostsWithoutTokensUseUpAQuotaOfRequestsAndOthersDoNot) {
  Runtime runtime(recording(answer("{}")));
  serve(runtime);
  budgets_.set_quotas({{"requests", {.limit = 2}}}, {}, unix_ms_now());
  Wire wire = client();
  for (int i = 0; i < 3; ++i) {
    wire.say("GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_TRUE(wire.message().starts_with("HTTP/1.1 200 "));
  }
  for (int i = 0; i < 2; ++i) {
    wire.say(ask("/tokenize", "not JSON"));
    EXPECT_TRUE(wire.message().starts_with("HTTP/1.1 200 "));
  }
  EXPECT_FALSE(ended(5).usage);
  wire.say(ask("/tokenize", "not JSON"));
  EXPECT_TRUE(wire.to_end().starts_with("HTTP/1.1 402 ")) << wire.heard;
  ended(6);
  EXPECT_EQ(refused("quota"), 1U);
  expect_nothing_held();
}

TEST_F(MeteringTest, WhatTheRuntimeFailsAtCostsNothing) {
  Runtime runtime([&](Wire& wire, int connection) {
    heard(wire);
    if (connection == 0) return;
    wire.say(answer(usage_body(5, 7), "500 Internal Server Error"));
  });
  serve(runtime, {.token_budget = 200});
  budgets_.set_quotas({{"requests", {.limit = 1}}}, {}, unix_ms_now());  // the second would find none left
  const std::string request_text = ask(kChat, chat(R"(,"max_tokens":100)"));
  for (const char* status : {"HTTP/1.1 502 ", "HTTP/1.1 500 "}) {
    Wire wire = client();
    wire.say(request_text);
    const std::string got = wire.message();
    EXPECT_TRUE(got.starts_with(status)) << got;
  }
  EXPECT_FALSE(ended(2).usage);
  EXPECT_TRUE(has_left(200));
  EXPECT_EQ(metered_tokens(metrics_), meter::TokenCounts{});
  expect_nothing_held();
}

TEST_F(MeteringTest, AStreamThatTheRuntimeBreaksOffIsBilledForWhatCame) {
  Runtime runtime([&](Wire& wire, int) {
    heard(wire);
    wire.say(kStreamHead + chunk(event("a") + event("b")));
  });
  serve(runtime, {.token_budget = 1000});
  const std::string body = chat(R"(,"stream":true)");
  Wire wire = client();
  wire.say(ask(kChat, body));
  wire.to_end();
  expect_usage(meter::tokens_of_bytes(body.size()), 2, "estimated ");
  EXPECT_EQ(ended().outcome, Outcome::kUpstreamError);
}

TEST_F(MeteringTest, ARequestThatIsNeverWholeHoldsNothing) {
  Runtime runtime(recording(usage_answer(5, 7)));
  serve(runtime, {.token_budget = 1000});
  Wire wire = client();
  const std::string whole = ask(kChat, chat());
  wire.say(std::string_view(whole).substr(0, whole.size() - 1));
  wire.close();
  EXPECT_FALSE(ended().usage);
  EXPECT_TRUE(has_left(1000));
  expect_nothing_held();
}

}  // namespace
}  // namespace tb::sentinel
