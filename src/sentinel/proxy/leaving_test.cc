// Who leaves in the middle: clients (and how far the runtime is read on then), and the contract, which cuts.
#include <gtest/gtest.h>

#include "sentinel/proxy/peers_test.h"

namespace tb::sentinel::proxy {
namespace {

using test::eventually;
using test::FunctionTransform;
using test::Runtime;
using test::Wire;

constexpr const char* kStream =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n";
const Refusal kReason = reason_of(Gate::Door::kSuspended);
constexpr const char* kReasonEvent =
    "data: {\"error\":{\"message\":\"the contract does not allow this model to be used now\","
    "\"type\":\"permission_error\",\"code\":\"contract_suspended\"}}\n\n";

std::string chunk(std::string_view text) {
  char size[32];
  (void)std::snprintf(size, sizeof size, "%zx\r\n", text.size());
  return size + std::string(text) + "\r\n";
}

class LeavingTest : public test::ProxyCase {
 protected:
  /// Streams `before`, waits for go_on, streams `after`; then told_ is whether the proxy still listened.
  Runtime::Script streaming(std::string before, std::string after) {
    return [this, before, after](Wire& wire, int) {
      if (wire.message().empty()) return;
      wire.say(before);
      if (!eventually([&] { return go_on_.load(); })) return;
      said_all_ = wire.say(after);
      wire.to_end();
      ++closed_;
    };
  }
  /// A transform that keeps what it was fed with.
  FunctionTransform keeping() {
    return FunctionTransform([this](std::string_view in, bool last, std::string& out) {
      const std::scoped_lock lock(kept_mutex_);
      kept_.append(in);
      kept_last_ |= last;
      out.append(in);
      return std::optional<Refusal>();
    });
  }
  std::string kept() {
    const std::scoped_lock lock(kept_mutex_);
    return kept_;
  }

  std::atomic<bool> go_on_ = false, said_all_ = false;
  std::atomic<int> closed_ = 0;
  std::mutex kept_mutex_;
  std::string kept_;
  bool kept_last_ = false;
};

TEST_F(LeavingTest, WithoutBoundsTheRuntimeIsToldAtOnce) {
  Runtime runtime(streaming(std::string(kStream) + chunk("data: 1\n\n"), ""));
  begin(runtime.address);
  Wire wire = client();
  wire.say(post("a"));
  ASSERT_TRUE(wire.until("data: 1\n\n"));
  wire.close();
  ASSERT_TRUE(has_ended());
  go_on_ = true;
  EXPECT_TRUE(eventually([&] { return closed_ == 1; }));
  const std::scoped_lock lock(second_.mutex);
  EXPECT_EQ(second_.left, 1);
  EXPECT_EQ(second_.last.outcome, Outcome::kAborted);
  EXPECT_EQ(second_.last.status, 200);
  EXPECT_EQ(second_.sent, "data: 1\n\n");
}

TEST_F(LeavingTest, WithinBoundsTheAnswerIsReadToItsEndForNobody) {
  std::string rest;
  for (int i = 0; i < 100; ++i) rest += chunk("data: more\n\n");
  Runtime runtime(streaming(std::string(kStream) + chunk("data: 1\n\n"), rest + "0\r\n\r\n"));
  FunctionTransform keep = keeping();
  second_.response = &keep;
  second_.drain = DrainBounds{.ms = test::kPatienceMs, .bytes = 1 << 20};
  begin(runtime.address);
  Wire wire = client();
  wire.say(post("a"));
  ASSERT_TRUE(wire.until("data: 1\n\n"));
  wire.close_hard();
  ASSERT_TRUE(eventually([&] { return counted("trustbridge_sentinel_answers_read_on_total") == 1; }));
  go_on_ = true;
  ASSERT_TRUE(has_ended());
  EXPECT_TRUE(eventually([&] { return said_all_.load(); }));
  EXPECT_EQ(kept().size(), 9U + 100 * 12U) << "the numbers at the end of the answer were seen";
  EXPECT_TRUE(kept_last_);
  EXPECT_EQ(counted("trustbridge_sentinel_answer_bytes_read_on_total"), 1200U);
  const std::scoped_lock lock(second_.mutex);
  EXPECT_EQ(second_.sent, "data: 1\n\n") << "only what was sent is hashed";
  EXPECT_EQ(second_.last.response_bytes, 9U);
  EXPECT_EQ(second_.last.outcome, Outcome::kAborted);
}

TEST_F(LeavingTest, AClientThatLeavesWhileItWaits) {
  Runtime runtime(streaming("", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nusage"));
  FunctionTransform keep = keeping();
  first_.response = &keep;
  first_.drain = DrainBounds{.ms = test::kPatienceMs, .bytes = 100};
  begin(runtime.address);
  Wire wire = client();
  wire.say(post("a"));
  ASSERT_TRUE(eventually([&] { return runtime.connections == 1; }));
  wire.close();
  ASSERT_TRUE(eventually([&] { return counted("trustbridge_sentinel_answers_read_on_total") == 1; }));
  go_on_ = true;
  ASSERT_TRUE(has_ended());
  EXPECT_EQ(kept(), "usage");
  const std::scoped_lock lock(second_.mutex);
  EXPECT_EQ(second_.last.status, 0) << "nothing was sent";
  EXPECT_EQ(second_.last.response_bytes, 0U);
}

TEST_F(LeavingTest, ReadingOnEndsAtItsBytes) {
  Runtime runtime([&](Wire& wire, int) {
    wire.message();
    wire.say(kStream);
    while (wire.say(chunk("data: more\n\n"))) {
    }
    ++closed_;
  });
  second_.drain = DrainBounds{.ms = 10L * test::kPatienceMs, .bytes = 2'000'000};
  begin(runtime.address);
  Wire wire = client();
  wire.say(post("a"));
  ASSERT_TRUE(wire.until("more"));
  wire.close_hard();
  ASSERT_TRUE(has_ended());
  EXPECT_TRUE(eventually([&] { return closed_ == 1; }));
  EXPECT_LE(counted("trustbridge_sentinel_answer_bytes_read_on_total"), 2'000'000U);
  EXPECT_GT(counted("trustbridge_sentinel_answer_bytes_read_on_total"), 1'000'000U);
}

TEST_F(LeavingTest, ReadingOnEndsAtItsTime) {
  Runtime runtime(streaming(kStream, ""));
  second_.drain = DrainBounds{.ms = 50, .bytes = 1 << 20};
  begin(runtime.address);
  Wire wire = client();
  wire.say(post("a"));
  ASSERT_TRUE(wire.until("\r\n\r\n"));
  wire.close_hard();
  ASSERT_TRUE(has_ended());
  go_on_ = true;
  EXPECT_TRUE(eventually([&] { return closed_ == 1; }));
}

TEST_F(LeavingTest, ReadingOnEndsWithTheRuntime) {
  for (const std::string fault : {"zz\r\n", ""}) {
    Runtime runtime([&](Wire& wire, int) {
      wire.message();
      wire.say(kStream);
      eventually([&] { return go_on_.load(); });
      wire.say(fault);
      if (fault.empty()) wire.close_hard();
    });
    second_.drain = DrainBounds{.ms = 10L * test::kPatienceMs, .bytes = 1 << 20};
    go_on_ = false;
    begin(runtime.address);
    Wire wire = client();
    wire.say(post("a"));
    ASSERT_TRUE(wire.until("\r\n\r\n"));
    wire.close();
    const std::uint64_t before = fault.empty() ? 1 : 0;
    ASSERT_TRUE(eventually([&] { return counted("trustbridge_sentinel_answers_read_on_total") == before + 1; }));
    go_on_ = true;
    ASSERT_TRUE(has_ended(static_cast<int>(before) + 1));
    proxy_->stop(0);
    const std::scoped_lock lock(second_.mutex);
    EXPECT_EQ(second_.last.outcome, Outcome::kAborted);
  }
}

TEST_F(LeavingTest, AClientThatLeavesBeforeItsRequestIsWhole) {
  Runtime runtime(streaming("", ""));
  second_.drain = DrainBounds{.ms = 10L * test::kPatienceMs, .bytes = 1 << 20};
  begin(runtime.address);
  Wire wire = client();
  wire.say("POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
  ASSERT_TRUE(eventually([&] { return runtime.connections == 1; }));
  wire.close();
  ASSERT_TRUE(has_ended());
  go_on_ = true;
  const std::scoped_lock lock(second_.mutex);
  EXPECT_EQ(second_.left, 0) << "nothing can come of it: there is nothing to read on";
  EXPECT_EQ(second_.last.outcome, Outcome::kAborted);
}

TEST_F(LeavingTest, AClientThatEndsItsSideAfterTwoRequestsGetsBothAnswers) {
  Runtime runtime(Runtime::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
  begin(runtime.address);
  Wire wire = client();
  wire.say(post("a") + post("b"));
  wire.end_writing();
  EXPECT_TRUE(wire.message().ends_with("ok"));
}

TEST_F(LeavingTest, EventsThatAreAcknowledgedLatePassOnceAndTheConnectionIsUsedAgain) {
  std::atomic<int> heard = 0;
  Runtime runtime([&](Wire& wire, int) {
    for (int sent = 0; !wire.message().empty();) {
      wire.say(std::string(kStream) + chunk("data: 0\n\n"));
      for (int i = 1; i < 6; ++i) {
        ++sent;
        EXPECT_TRUE(eventually([&] { return heard >= sent; }));
        wire.say(chunk("data: " + std::to_string(i) + "\n\n"));
      }
      wire.say("0\r\n\r\n");
    }
  });
  begin(runtime.address);
  Wire wire = client();
  for (int request = 0; request < 3; ++request) {
    wire.say(post("a"));
    std::string all;
    for (int i = 0; i < 6; ++i) {
      all += "data: " + std::to_string(i) + "\n\n";
      ASSERT_TRUE(wire.until("data: " + std::to_string(i) + "\n\n"));
      if (i < 5) ++heard;
    }
    EXPECT_EQ(dechunked(wire.message()), all);
  }
  EXPECT_EQ(runtime.connections, 1);
}

TEST_F(LeavingTest, ASuspensionEndsAStreamBetweenEventsWithOneThatTells) {
  // Half of the second event has come: it must not be half of what the client gets.
  Runtime runtime(streaming(std::string(kStream) + chunk("data: 1\n\ndata: {\"half"), ""));
  begin(runtime.address);
  Wire wire = client();
  wire.say(post("a"));
  ASSERT_TRUE(wire.until("data: 1\n\n"));
  proxy_->cut(kReason);
  const std::string answer = wire.to_end();
  EXPECT_EQ(dechunked(answer), std::string("data: 1\n\n") + kReasonEvent);
  EXPECT_FALSE(wire.reset);
  ASSERT_TRUE(has_ended());
  EXPECT_EQ(counted("trustbridge_sentinel_streams_cut_total"), 1U);
  go_on_ = true;
  EXPECT_TRUE(eventually([&] { return closed_ == 1; })) << "the runtime must not go on";
  const std::scoped_lock lock(second_.mutex);
  EXPECT_EQ(second_.last.outcome, Outcome::kAborted);
  EXPECT_EQ(second_.sent, dechunked(answer)) << "the event is part of what was sent";
}

TEST_F(LeavingTest, ASuspensionBeforeTheFirstEventAndForOldClients) {
  Runtime runtime(streaming(kStream, ""));
  begin(runtime.address);
  Wire wire = client();
  wire.say(post("a"));
  Wire old = client();
  old.say("POST /v1/completions HTTP/1.0\r\nContent-Length: 1\r\n\r\na");
  ASSERT_TRUE(wire.until("\r\n\r\n"));
  ASSERT_TRUE(old.until("\r\n\r\n"));
  proxy_->cut(kReason);
  EXPECT_EQ(dechunked(wire.to_end()), kReasonEvent);
  EXPECT_EQ(body_of(old.to_end()), kReasonEvent);
  go_on_ = true;
}

TEST_F(LeavingTest, ASuspensionCutsOtherAnswersSoThatNoPartIsTakenForTheWhole) {
  struct Case {
    std::string answer, version;
    bool ends_by_reset;
  };
  const std::string until_close = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"half\":";
  for (const Case& c :
       {Case{"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"half\":", "1.1", false},
        Case{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk("{\"half\":"), "1.1", false},
        Case{until_close, "1.1", false}, Case{until_close, "1.0", true},
        Case{"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n\r\n{\"half\":", "1.1",
             false},
        Case{"HTTP/1.1 200 OK\r\nContent-Type: text/event-streams\r\n\r\n{\"half\":", "1.1", false}}) {
    go_on_ = false;
    Runtime runtime(streaming(c.answer, ""));
    begin(runtime.address);
    Wire wire = client();
    wire.say("POST /v1/completions HTTP/" + c.version + "\r\nHost: a\r\nContent-Length: 1\r\n\r\na");
    ASSERT_TRUE(wire.until("{\"half\":")) << c.answer;
    proxy_->cut(kReason);
    wire.to_end();
    EXPECT_EQ(wire.heard.find("error"), std::string::npos) << c.answer;
    EXPECT_FALSE(wire.heard.ends_with("0\r\n\r\n")) << c.answer;
    EXPECT_EQ(wire.reset, c.ends_by_reset) << c.answer;
    go_on_ = true;
    proxy_->stop(0);
  }
}

TEST_F(LeavingTest, ASuspensionAnswersThoseWhoStillWait) {
  Runtime runtime(streaming("", ""));
  begin(runtime.address);
  Wire waits = client();
  waits.say(post("a"));
  Wire uploads = client();
  uploads.say("POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
  Wire idle = client();
  ASSERT_TRUE(eventually([&] { return runtime.connections == 2; }));
  proxy_->cut(kReason);
  for (Wire* wire : {&waits, &uploads}) {
    EXPECT_TRUE(wire->to_end().starts_with("HTTP/1.1 403 ")) << wire->heard;
    EXPECT_NE(wire->heard.find("contract_suspended"), std::string::npos);
  }
  EXPECT_EQ(idle.to_end(), "");
  go_on_ = true;
}

TEST_F(LeavingTest, ASlowClientDoesNotHoldASuspensionUp) {
  Runtime runtime([&](Wire& wire, int) {
    wire.message();
    wire.say(kStream);
    while (wire.say(chunk("data: " + std::string(1000, 'x') + "\n\n"))) {
    }
    ++closed_;
  });
  begin(runtime.address);
  Wire wire = client(4096);
  wire.say(post("a"));
  ASSERT_TRUE(wire.until("data: "));
  // Until everything between them is full.
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  const std::int64_t began = boot_ms_now();
  proxy_->cut(kReason);
  EXPECT_LT(boot_ms_now() - began, 8'000);
  EXPECT_TRUE(has_ended());
  EXPECT_TRUE(eventually([&] { return closed_ == 1; }));
}

TEST_F(LeavingTest, ACutDoesNotWaitForThoseWhoComeAfterIt) {
  Runtime runtime(streaming("", ""));
  begin(runtime.address);
  gate_.set(Gate::Door::kSuspended);
  std::atomic<bool> stop = false;
  std::vector<std::thread> crowd;
  for (int i = 0; i < 4; ++i) {
    crowd.emplace_back([&] {
      while (!stop) {
        Wire wire = client();
        wire.say("GET /v1/models HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        wire.to_end();
      }
    });
  }
  EXPECT_TRUE(has_ended(20));
  const std::int64_t began = boot_ms_now();
  for (int i = 0; i < 5; ++i) proxy_->cut(kReason);
  EXPECT_LT(boot_ms_now() - began, 9'000);
  stop = true;
  for (std::thread& thread : crowd) thread.join();
  go_on_ = true;
}

TEST_F(LeavingTest, DrainingLetsRequestsEndAndThenTellsTheRest) {
  Runtime runtime([&](Wire& wire, int connection) {
    wire.message();
    wire.say(std::string(kStream) + chunk("data: 1\n\n"));
    if (connection == 0) {
      eventually([&] { return go_on_.load(); });
      wire.say("0\r\n\r\n");
    }
    wire.to_end();
  });
  begin(runtime.address);
  Wire ends = client();
  ends.say(post("a"));
  ASSERT_TRUE(ends.until("data: 1\n\n"));
  Wire stays = client();
  stays.say(post("a"));
  ASSERT_TRUE(stays.until("data: 1\n\n"));
  const std::uint16_t port = proxy_->port();
  std::thread stopping([&] { proxy_->stop(1'000); });
  go_on_ = true;
  EXPECT_EQ(dechunked(ends.to_end()), "data: 1\n\n");
  EXPECT_NE(dechunked(stays.to_end()).find("\"code\":\"shutting_down\""), std::string::npos);
  stopping.join();
  EXPECT_GT(port, 0);
}

TEST_F(LeavingTest, ForAMomentBeforeDrainingNewRequestsAreTaken) {
  Runtime runtime(Runtime::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
  begin(runtime.address);
  Wire kept = client();
  kept.say(post("a"));
  EXPECT_EQ(kept.message().find("Connection: close"), std::string::npos);
  std::thread stopping([&] { proxy_->stop(10'000, 1'500); });
  bool told = false;
  for (int i = 0; i < 1'000 && !told; ++i) {
    kept.say(post("a"));
    const std::string answer = kept.message();
    ASSERT_TRUE(answer.starts_with("HTTP/1.1 200 ")) << answer;
    told = answer.find("Connection: close") != std::string::npos;
  }
  EXPECT_TRUE(told) << "clients are asked to go elsewhere";
  stopping.join();
  EXPECT_EQ(counted("trustbridge_sentinel_streams_cut_total"), 0U);
}

}  // namespace
}  // namespace tb::sentinel::proxy
