// A runtime that misbehaves: what the client gets of it, that no part is taken for a whole, and that such a connection
// is never used for somebody else's request.
#include <gtest/gtest.h>

#include "sentinel/proxy/peers_test.h"

namespace tb::sentinel::proxy {
namespace {

using test::eventually;
using test::Runtime;
using test::Wire;

constexpr const char* kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
constexpr const char* kGet = "GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n";

class UpstreamFaultTest : public test::ProxyCase {
 protected:
  /// The first request of each connection gets `first`; those behind it, and all of later connections, get kOk.
  static Runtime::Script first_then_ok(std::string first, bool hard = false, int pause_ms = 0) {
    return [=](Wire& wire, int connection) {
      bool one = connection == 0;
      while (!wire.message().empty()) {
        if (!std::exchange(one, false)) {
          if (!wire.say(kOk)) return;
          continue;
        }
        wire.say(first);
        if (pause_ms > 0) std::this_thread::sleep_for(std::chrono::milliseconds(pause_ms));
        if (hard) return wire.close_hard();
        if (pause_ms < 0) return;
      }
    };
  }
};

TEST_F(UpstreamFaultTest, AnswersThatAreNoneAreTold) {
  struct Case {
    const char* name;
    std::string answer;
  };
  const std::string many(9, ' ');
  std::string interims;
  for (int i = 0; i < 9; ++i) interims += "HTTP/1.1 102 Processing\r\n\r\n";
  for (const auto& [name, answer] :
       {Case{"nothing", ""}, Case{"half_a_head", "HTTP/1.1 200 OK\r\nContent-Le"},
        Case{"both_lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok"},
        Case{"two_lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok"},
        Case{"no_number", "HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok"},
        Case{"unknown_coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok"},
        Case{"no_status", "HTTP/1.1 OK\r\n\r\n"}, Case{"status_of_four", "HTTP/1.1 2000 OK\r\n\r\n"},
        Case{"other_protocol", "SSH-2.0-OpenSSH\r\n\r\n"}, Case{"no_head", "just a body\n"},
        Case{"bare_lf", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok"},
        Case{"folded", "HTTP/1.1 200 OK\r\nX: y\r\n z\r\nContent-Length: 2\r\n\r\nok"},
        Case{"control_byte", std::string("HTTP/1.1 200 OK\r\nX: \0\r\n\r\n", 25)},
        Case{"head_too_long", "HTTP/1.1 200 OK\r\nX: " + std::string(70'000, 'y') + "\r\n\r\n"},
        Case{"switching_protocols", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"},
        Case{"interim_without_end", interims + kOk}}) {
    for (const bool hard : {false, true}) {
      SCOPED_TRACE(name);
      Runtime runtime(first_then_ok(answer, hard, hard ? 0 : -1));
      begin(runtime.address);
      Wire wire = client();
      wire.say(kGet);
      EXPECT_TRUE(wire.to_end().starts_with("HTTP/1.1 502 ")) << wire.heard;
      Wire next = client();
      next.say(kGet);
      EXPECT_TRUE(next.message().ends_with("\r\n\r\nok"));
      EXPECT_EQ(runtime.connections, 2);
      proxy_->stop(0);
      const std::scoped_lock lock(second_.mutex);
      EXPECT_GE(second_.ended, 2);
    }
  }
}

TEST_F(UpstreamFaultTest, AnswersThatBreakOffHaveNoEnd) {
  struct Case {
    const char* name;
    std::string answer;
  };
  for (const auto& [name, answer] :
       {Case{"in_a_body", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"},
        Case{"in_a_chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhalf"},
        Case{"in_a_chunk_size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n1"},
        Case{"before_the_last_chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"},
        Case{"in_the_last_chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n"},
        Case{"chunk_size_malformed", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n-1\r\n"},
        Case{"chunk_without_its_end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalfhalf"},
        Case{"events",
             "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
             "f\r\ndata: half\n\ndat\r\n"}}) {
    for (const bool hard : {false, true}) {
      SCOPED_TRACE(name);
      Runtime runtime(first_then_ok(answer, hard, hard ? 20 : -1));
      begin(runtime.address);
      Wire wire = client();
      wire.say(kGet);
      wire.to_end();
      EXPECT_FALSE(wire.timed_out);
      EXPECT_TRUE(wire.heard.starts_with("HTTP/1.1 200 ") || wire.heard.starts_with("HTTP/1.1 502 ")) << wire.heard;
      EXPECT_FALSE(wire.heard.ends_with("0\r\n\r\n")) << wire.heard;
      const bool begun = wire.heard.starts_with("HTTP/1.1 200 ");
      if (begun && !hard) EXPECT_NE(wire.heard.find("half"), std::string::npos) << wire.heard;
      ASSERT_TRUE(has_ended());
      Wire next = client();
      next.say(kGet);
      EXPECT_TRUE(next.message().ends_with("\r\n\r\nok"));
      EXPECT_EQ(runtime.connections, 2);
      proxy_->stop(0);
      const std::scoped_lock lock(second_.mutex);
      second_.ended = 0;
    }
  }
}

TEST_F(UpstreamFaultTest, ABodyUntilTheEndThatIsResetIsNotWhole) {
  Runtime runtime(first_then_ok("HTTP/1.1 200 OK\r\n\r\nhalf", true, 20));
  begin(runtime.address);
  Wire wire = client();
  wire.say(kGet);
  wire.to_end();
  EXPECT_FALSE(wire.heard.ends_with("0\r\n\r\n")) << wire.heard;
  Wire old = client();
  old.say("GET /v1/models HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(old.to_end().ends_with("ok"));
}

TEST_F(UpstreamFaultTest, WhatFollowsAnAnswerIsNobodysAnswer) {
  struct Case {
    const char* name;
    std::string answer, body;
    int pause_ms;
  };
  const std::string smuggled = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled";
  for (const auto& [name, answer, body, pause_ms] :
       {Case{"at_once", kOk + smuggled, "ok", 0}, Case{"a_byte", std::string(kOk) + "x", "ok", 0},
        Case{"empty_line", std::string(kOk) + "\r\n", "ok", 0},
        Case{"longer_than_told", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokok", "ok", 0},
        Case{"after_chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" + smuggled,
             "2\r\nok\r\n0\r\n\r\n", 0},
        Case{"after_204", "HTTP/1.1 204 No Content\r\n\r\n" + smuggled, "", 0},
        Case{"body_of_204", "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok", "", 0},
        Case{"body_of_304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\nok", "", 0}}) {
    SCOPED_TRACE(name);
    Runtime runtime(first_then_ok(answer, false, pause_ms));
    begin(runtime.address);
    Wire wire = client();
    wire.say(kGet);
    ASSERT_TRUE(wire.until("\r\n\r\n" + body)) << wire.heard;
    // Whatever was said too much would come now.
    ASSERT_TRUE(has_ended());
    wire.heard.clear();
    wire.say(kGet);
    const std::string next = wire.message();
    EXPECT_TRUE(next.ends_with("\r\n\r\nok")) << next;
    EXPECT_EQ(next.find("smuggled"), std::string::npos);
    EXPECT_EQ(runtime.connections, 2);
    proxy_->stop(0);
    const std::scoped_lock lock(second_.mutex);
    second_.ended = 0;
  }
}

TEST_F(UpstreamFaultTest, WhatAKeptConnectionSaysUnaskedDropsIt) {
  std::atomic<bool> said = false;
  Runtime runtime([&](Wire& wire, int connection) {
    while (!wire.message().empty()) {
      wire.say(kOk);
      if (connection > 0) continue;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      wire.say("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled");
      said = true;
    }
  });
  begin(runtime.address);
  Wire wire = client();
  wire.say(kGet);
  EXPECT_TRUE(wire.message().ends_with("\r\n\r\nok"));
  ASSERT_TRUE(eventually([&] { return said.load(); }));
  wire.say(kGet);
  EXPECT_TRUE(wire.message().ends_with("\r\n\r\nok"));
  EXPECT_EQ(runtime.connections, 2);
}

TEST_F(UpstreamFaultTest, AKeptConnectionThatTheRuntimeClosesIsNoFault) {
  Runtime runtime([&](Wire& wire, int) {
    wire.message();
    wire.say(kOk);  // and closes without having said so
  });
  begin(runtime.address);
  Wire wire = client();
  for (int i = 0; i < 5; ++i) {
    wire.say(kGet);
    ASSERT_TRUE(wire.message().ends_with("\r\n\r\nok")) << i;
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
  }
  EXPECT_EQ(runtime.connections, 5);
}

TEST_F(UpstreamFaultTest, HeadAnswersHaveNoBodyWhateverTheyTell) {
  // HEAD is in no row of the allow-list: what it would be answered is told without a body, too.
  Runtime runtime(Runtime::answering(kOk));
  begin(runtime.address);
  Wire wire = client();
  wire.say("HEAD /v1/models HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  EXPECT_TRUE(wire.to_end().starts_with("HTTP/1.1 405 "));
  EXPECT_TRUE(wire.heard.ends_with("\r\n\r\n"));
}

TEST_F(UpstreamFaultTest, InterimAnswersAreLeftOut) {
  Runtime runtime(Runtime::answering("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" +
                                     std::string(kOk)));
  begin(runtime.address);
  Wire wire = client();
  for (int i = 0; i < 2; ++i) {
    wire.say(post("a"));
    const std::string answer = wire.message();
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 ")) << answer;
    EXPECT_EQ(answer.find("Link"), std::string::npos);
  }
  EXPECT_EQ(runtime.connections, 1);
}

TEST_F(UpstreamFaultTest, TrailersAndExtensionsAreLeftOut) {
  Runtime runtime(Runtime::answering(
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\nX-Trailer: 1\r\n\r\n"));
  begin(runtime.address);
  Wire wire = client();
  for (int i = 0; i < 2; ++i) {
    wire.say(kGet);
    EXPECT_EQ(dechunked(wire.message()), "ok");
  }
  EXPECT_EQ(runtime.connections, 1);
}

TEST_F(UpstreamFaultTest, ByteByByteIsTheSame) {
  const std::string answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n3\r\nyes\r\n0\r\n\r\n";
  Runtime runtime([&](Wire& wire, int) {
    wire.message();
    for (const char c : answer) {
      wire.say({&c, 1});
      std::this_thread::sleep_for(std::chrono::microseconds(300));
    }
    wire.to_end();
  });
  begin(runtime.address);
  Wire wire = client();
  for (const char c : post("abc")) {
    wire.say({&c, 1});
    std::this_thread::sleep_for(std::chrono::microseconds(300));
  }
  EXPECT_EQ(dechunked(wire.message()), "okyes");
}

TEST_F(UpstreamFaultTest, AnEarlyAnswerIsPassedOnAndBothConnectionsEnd) {
  Runtime runtime([&](Wire& wire, int) {
    wire.until("\r\n\r\n");
    wire.say("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig");
    wire.to_end();
  });
  begin(runtime.address);
  Wire wire = client();
  wire.say("POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nstart");
  ASSERT_TRUE(wire.until("\r\n\r\nbig"));
  EXPECT_TRUE(wire.heard.starts_with("HTTP/1.1 413 "));
  EXPECT_NE(wire.heard.find("Connection: close"), std::string::npos);
  wire.say("more of it");
  wire.to_end();
  ASSERT_TRUE(has_ended());
  Wire next = client();
  next.say(kGet);
  EXPECT_TRUE(next.until("big"));
  EXPECT_EQ(runtime.connections, 2) << "a connection with half a request is not kept";
}

TEST_F(UpstreamFaultTest, AnAnswerAndAResetWhileTheBodyGoesUp) {
  Runtime runtime([&](Wire& wire, int) {
    wire.until("\r\n\r\n");
    wire.say("HTTP/1.1 400 Bad\r\nContent-Length: 3\r\n\r\nbad");
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    wire.close_hard();
  });
  begin(runtime.address);
  Wire wire = client();
  wire.say("POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n");
  const std::string part(100'000, 'x');
  std::thread sends([&] {
    for (int i = 0; i < 1000 && wire.say(part); ++i) {
    }
  });
  wire.to_end();
  EXPECT_TRUE(wire.heard.starts_with("HTTP/1.1 400 ") || wire.heard.starts_with("HTTP/1.1 502 ") || wire.reset)
      << wire.heard;
  sends.join();
  ASSERT_TRUE(has_ended());
}

TEST_F(UpstreamFaultTest, ARuntimeThatTakesNoMore) {
  std::atomic<bool> done = false;
  Runtime runtime([&](Wire& wire, int) {
    wire.until("\r\n\r\n");
    eventually([&] { return done.load(); });
  });
  begin(runtime.address, {.upstream_ms = 300});
  Wire wire = client();
  wire.say("POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n");
  const std::string part(100'000, 'x');
  std::atomic<int> taken = 0;
  std::thread sends([&] {
    while (taken < 1000 && wire.say(part)) ++taken;
  });
  EXPECT_TRUE(wire.until("HTTP/1.1 504 ")) << wire.heard;
  EXPECT_LT(taken, 500) << "what the runtime does not take is not taken from the client";
  wire.to_end();
  wire.end_writing();
  sends.join();
  done = true;
}

TEST_F(UpstreamFaultTest, AClientThatTakesNoMoreStopsTheRuntimeAndIsCut) {
  std::atomic<std::size_t> said = 0;
  std::atomic<bool> over = false;
  Runtime runtime([&](Wire& wire, int) {
    wire.message();
    wire.say("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
    const std::string part(100'000, 'y');
    while (said < 1'000'000'000 && wire.say(part)) said += part.size();
    over = true;
  });
  begin(runtime.address, {.client_ms = 500});
  Wire wire = client(65'536);
  wire.say(kGet);
  ASSERT_TRUE(wire.until("yyyy"));
  EXPECT_TRUE(eventually([&] { return over.load(); })) << "a client without progress is cut, and so is the runtime";
  EXPECT_LT(said, 100'000'000U) << "only what the sockets and one read hold";
  ASSERT_TRUE(has_ended());
  EXPECT_EQ(counted("trustbridge_sentinel_client_timeouts_total"), 1U);
  const std::scoped_lock lock(second_.mutex);
  EXPECT_EQ(second_.last.outcome, Outcome::kAborted);
  EXPECT_LT(second_.last.response_bytes, 100'000'000U);
}

TEST_F(UpstreamFaultTest, ASlowStreamIsNeverCut) {
  Runtime runtime([&](Wire& wire, int) {
    wire.message();
    wire.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 8; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      wire.say("9\r\n: ping\n\n\n\r\n");
    }
    wire.say("0\r\n\r\n");
    wire.to_end();
  });
  begin(runtime.address, {.head_ms = 300, .idle_ms = 300, .client_ms = 300, .upstream_ms = 20'000});
  Wire wire = client();
  wire.say(post("a"));
  EXPECT_EQ(dechunked(wire.message()).size(), 72U);
}

TEST_F(UpstreamFaultTest, EachEventLeavesAsItCame) {
  std::atomic<int> heard = 0;
  Runtime runtime([&](Wire& wire, int) {
    wire.message();
    wire.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 1; i <= 5; ++i) {
      wire.say("9\r\ndata: " + std::to_string(i) + "\n\n\r\n");
      if (!eventually([&] { return heard == i; })) return;
    }
    wire.say("0\r\n\r\n");
    wire.to_end();
  });
  begin(runtime.address);
  Wire wire = client();
  wire.say(post("a"));
  for (int i = 1; i <= 5; ++i) {
    ASSERT_TRUE(wire.until("9\r\ndata: " + std::to_string(i) + "\n\n\r\n")) << wire.heard;
    heard = i;
  }
  EXPECT_TRUE(wire.message().ends_with("0\r\n\r\n"));
}

TEST_F(UpstreamFaultTest, TheConnectionGivenBackLastIsTakenFirst) {
  std::atomic<int> waiting = 0;
  std::atomic<bool> go_on = false;
  std::array<std::atomic<int>, 3> served = {};
  Runtime runtime([&](Wire& wire, int connection) {
    while (!wire.message().empty()) {
      ++served.at(static_cast<std::size_t>(connection));
      ++waiting;
      eventually([&] { return go_on.load(); });
      wire.say(kOk);
    }
  });
  begin(runtime.address, {.pool_size = 2});
  std::vector<Wire> wires;
  for (int i = 0; i < 3; ++i) {
    wires.push_back(client());
    wires.back().say(kGet);
  }
  ASSERT_TRUE(eventually([&] { return waiting == 3; }));
  go_on = true;
  for (Wire& wire : wires) EXPECT_TRUE(wire.message().ends_with("ok"));
  for (int i = 0; i < 4; ++i) {
    wires[0].say(kGet);
    EXPECT_TRUE(wires[0].message().ends_with("ok"));
  }
  EXPECT_EQ(runtime.connections, 3);
  int most = 0;
  for (const auto& count : served) most = std::max(most, count.load());
  EXPECT_EQ(most, 5) << "one connection for one client after the other";
}

TEST_F(UpstreamFaultTest, ARuntimeThatMovesIsFollowed) {
  Runtime one(Runtime::answering("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none"));
  Runtime two(Runtime::answering("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo"));
  begin(one.address);
  Wire wire = client();
  wire.say(kGet);
  EXPECT_TRUE(wire.message().ends_with("one"));
  proxy_->set_upstream(two.address);
  wire.say(kGet);
  EXPECT_TRUE(wire.message().ends_with("two"));
}

}  // namespace
}  // namespace tb::sentinel::proxy
