// Filters that change bodies: what the runtime and the client then get, and what happens when either fails meanwhile.
#include <gtest/gtest.h>

#include <mutex>

#include "sentinel/proxy/peers_test.h"

namespace tb::sentinel::proxy {
namespace {

using test::eventually;
using test::FunctionTransform;
using test::Runtime;
using test::Wire;

constexpr const char* kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Doubles every byte.
FunctionTransform doubling() {
  return FunctionTransform([](std::string_view in, bool, std::string& out) {
    for (const char c : in) out.append(2, c);
    return std::optional<Refusal>();
  });
}

class TransformTest : public test::ProxyCase {
 protected:
  /// A runtime that keeps what it is sent.
  Runtime::Script recording(std::string answer = kOk) {
    return [this, answer](Wire& wire, int) {
      for (std::string request; !(request = wire.message()).empty();) {
        {
          const std::scoped_lock lock(mutex_);
          requests_.push_back(request);
        }
        if (!wire.say(answer)) return;
      }
    };
  }
  std::string request(std::size_t at = 0) {
    const std::scoped_lock lock(mutex_);
    return at < requests_.size() ? requests_[at] : "";
  }

  std::mutex mutex_;
  std::vector<std::string> requests_;
};

TEST_F(TransformTest, AShortRequestKeepsALength) {
  Runtime runtime(recording());
  FunctionTransform twice = doubling();
  second_.request = &twice;
  begin(runtime.address);
  Wire wire = client();
  wire.say(post("abc"));
  EXPECT_TRUE(wire.message().ends_with("\r\n\r\nok"));
  wire.say(chunked("defg", 1));
  EXPECT_TRUE(wire.message().ends_with("\r\n\r\nok"));
  wire.say("GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(wire.message().ends_with("\r\n\r\nok"));
  EXPECT_NE(request(0).find("\r\nContent-Length: 6\r\n\r\naabbcc"), std::string::npos);
  EXPECT_NE(request(1).find("\r\nContent-Length: 8\r\n\r\nddeeffgg"), std::string::npos);
  EXPECT_EQ(request(1).find("Transfer-Encoding"), std::string::npos);
  EXPECT_EQ(request(2).find("Content-Length"), std::string::npos);
  EXPECT_EQ(runtime.connections, 1);
  ASSERT_TRUE(has_ended(3));
}

TEST_F(TransformTest, ALongRequestGoesOnChunked) {
  Runtime runtime(recording());
  FunctionTransform twice = doubling();
  second_.request = &twice;
  begin(runtime.address);
  const std::string body(300'000, 'x');
  Wire wire = client();
  wire.say(post(body));
  EXPECT_TRUE(wire.message().ends_with("\r\n\r\nok"));
  EXPECT_EQ(dechunked(request()), std::string(600'000, 'x'));
  wire.say(chunked(body, 7'000));
  EXPECT_TRUE(wire.message().ends_with("\r\n\r\nok"));
  EXPECT_EQ(dechunked(request(1)), std::string(600'000, 'x'));
  ASSERT_TRUE(has_ended(2));
  const std::scoped_lock lock(second_.mutex);
  EXPECT_EQ(second_.received, body) << "hooks see what the client sent";
  EXPECT_EQ(second_.last.request_bytes, body.size());
}

TEST_F(TransformTest, ARefusedShortBodyNeverGoesUp) {
  Runtime runtime(recording());
  FunctionTransform no([](std::string_view, bool last, std::string&) {
    return last ? std::optional(Refusal{400, "no_model", "name a model"}) : std::nullopt;
  });
  second_.request = &no;
  begin(runtime.address);
  Wire wire = client();
  wire.say(post("abc"));
  const std::string answer = wire.to_end();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 400 "));
  EXPECT_NE(answer.find(R"("code":"no_model")"), std::string::npos);
  ASSERT_TRUE(has_ended());
  EXPECT_EQ(runtime.connections, 0);
  const std::scoped_lock lock(second_.mutex);
  EXPECT_EQ(second_.last.outcome, Outcome::kRefused);
}

TEST_F(TransformTest, ARefusalInTheMiddleClosesUpstreamBeforeTheBodyIsWhole) {
  std::atomic<bool> was_cut = false;
  std::atomic<std::size_t> saw = 0;
  Runtime runtime([&](Wire& wire, int) {
    wire.to_end();
    saw = wire.heard.size();
    was_cut = wire.heard.find("\r\n0\r\n\r\n") == std::string::npos;
  });
  std::size_t fed = 0;
  FunctionTransform no([&](std::string_view in, bool, std::string& out) {
    out.append(in);
    fed += in.size();
    return fed > 200'000 ? std::optional(Refusal{400, "too_deep", "no"}) : std::nullopt;
  });
  second_.request = &no;
  begin(runtime.address);
  Wire wire = client();
  wire.say(post(std::string(400'000, 'x')));
  const std::string answer = wire.to_end();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 400 "));
  EXPECT_NE(answer.find("too_deep"), std::string::npos);
  EXPECT_TRUE(eventually([&] { return was_cut.load(); }));
  EXPECT_GT(saw, 60'000U) << "what was good went up";
}

TEST_F(TransformTest, RequestsPassInTheOrderOfTheListAnswersInTheReverse) {
  Runtime runtime(recording("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nz"));
  const auto mark = [](std::string text) {
    return FunctionTransform([text](std::string_view in, bool last, std::string& out) {
      out.append(in);
      if (last) out.append(text);
      return std::optional<Refusal>();
    });
  };
  FunctionTransform one = mark("1");
  FunctionTransform two = mark("2");
  first_.request = first_.response = &one;
  second_.request = second_.response = &two;
  begin(runtime.address);
  Wire wire = client();
  wire.say(post("a"));
  EXPECT_TRUE(wire.message().ends_with("Content-Length: 3\r\n\r\nz21"));
  EXPECT_TRUE(request().ends_with("\r\n\r\na12"));
}

TEST_F(TransformTest, AnswersGetTheFramingThatTheirLengthAllows) {
  const std::string long_body(100'000, 'y');
  Runtime runtime([&](Wire& wire, int) {
    wire.message();
    wire.say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nETag: x\r\n\r\nab");
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    wire.say("cd");
    wire.message();
    wire.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n");
    wire.message();
    wire.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n");
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    wire.say("1\r\nc\r\n0\r\n\r\n");
    wire.message();
    wire.say("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + long_body);
    wire.message();
    wire.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    wire.message();
    wire.say("HTTP/1.1 204 No Content\r\n\r\n");
  });
  FunctionTransform twice = doubling();
  second_.response = &twice;
  second_.on_head = [](ResponseHead& head) {
    std::erase_if(head.fields, [](const Field& field) { return field.name == "ETag"; });
  };
  begin(runtime.address);
  Wire wire = client();
  const auto answer = [&] {
    wire.say("GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n");
    return wire.message();
  };
  const std::string first = answer();
  EXPECT_TRUE(first.ends_with("\r\nContent-Length: 8\r\n\r\naabbccdd")) << first;
  EXPECT_EQ(first.find("ETag"), std::string::npos);
  EXPECT_TRUE(answer().ends_with("\r\nContent-Length: 4\r\n\r\naabb"));
  EXPECT_EQ(content(answer()), "aabbcc");
  EXPECT_EQ(content(answer()), std::string(200'000, 'y'));
  EXPECT_TRUE(answer().ends_with("\r\nContent-Length: 0\r\n\r\n"));
  EXPECT_TRUE(answer().starts_with("HTTP/1.1 204 "));
  EXPECT_EQ(runtime.connections, 1) << "all of them left the connection as it was";
  ASSERT_TRUE(has_ended(6));
}

TEST_F(TransformTest, OldClientsGetAChangedAnswerUntilTheEnd) {
  Runtime runtime(recording("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + std::string(1'000'000, 'y')));
  FunctionTransform twice = doubling();
  second_.response = &twice;
  begin(runtime.address);
  Wire wire = client();
  wire.say("GET /v1/models HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  const std::string answer = wire.to_end();
  EXPECT_EQ(answer.find("Transfer-Encoding"), std::string::npos);
  EXPECT_EQ(answer.find("Content-Length"), std::string::npos);
  EXPECT_EQ(body_of(answer), std::string(2'000'000, 'y'));
}

TEST_F(TransformTest, AnAnswerEndsWhereATransformSaysSo) {
  std::atomic<int> gone = 0;
  Runtime runtime([&](Wire& wire, int) {
    wire.message();
    wire.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
    while (wire.say("9\r\ndata: a\n\n\r\n")) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    ++gone;
  });
  int events = 0;
  FunctionTransform budget([&](std::string_view in, bool, std::string& out) {
    if (++events < 3) {
      out.append(in);
    } else {
      out.append("data: over\n\n");
      budget.end = true;
    }
    return std::optional<Refusal>();
  });
  second_.response = &budget;
  begin(runtime.address);
  Wire wire = client();
  wire.say(post("a"));
  const std::string answer = wire.message();
  EXPECT_TRUE(content(answer).starts_with("data: a\n\n")) << answer;
  EXPECT_TRUE(content(answer).ends_with("data: over\n\n")) << answer;
  EXPECT_TRUE(eventually([&] { return gone == 1; })) << "the runtime was not told";
  ASSERT_TRUE(has_ended());
  {
    const std::scoped_lock lock(second_.mutex);
    EXPECT_EQ(second_.last.outcome, Outcome::kComplete);
    EXPECT_EQ(second_.sent, content(answer));
  }
  budget.end = false;
  events = 2;
  wire.say(post("a"));
  EXPECT_EQ(content(wire.message()), "data: over\n\n") << "the client's connection is as good as before";
  EXPECT_EQ(runtime.connections, 2) << "the runtime's is not";
}

TEST_F(TransformTest, AFaultWhileAnAnswerIsCollectedIsTold) {
  Runtime runtime([](Wire& wire, int) {
    wire.message();
    wire.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
  });
  FunctionTransform twice = doubling();
  second_.response = &twice;
  begin(runtime.address);
  Wire wire = client();
  wire.say(post("a"));
  EXPECT_TRUE(wire.to_end().starts_with("HTTP/1.1 502 ")) << wire.heard;
  ASSERT_TRUE(has_ended());
  const std::scoped_lock lock(second_.mutex);
  EXPECT_EQ(second_.last.outcome, Outcome::kUpstreamError);
}

TEST_F(TransformTest, AFaultInAStreamLeavesItWithoutItsEnd) {
  Runtime runtime([](Wire& wire, int) {
    wire.message();
    wire.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    wire.say("zz\r\n");
  });
  FunctionTransform twice = doubling();
  second_.response = &twice;
  begin(runtime.address);
  Wire wire = client();
  wire.say(post("a"));
  EXPECT_TRUE(dechunked(wire.to_end()).starts_with("(bad)")) << wire.heard;
  ASSERT_TRUE(has_ended());
  const std::scoped_lock lock(second_.mutex);
  EXPECT_EQ(second_.last.outcome, Outcome::kUpstreamError);
}

TEST_F(TransformTest, AnAnswerThatATransformRefuses) {
  Runtime runtime(recording());
  FunctionTransform no([](std::string_view, bool, std::string&) {
    return std::optional(Refusal{502, "answer_malformed", "the answer is malformed"});
  });
  second_.response = &no;
  begin(runtime.address);
  Wire wire = client();
  wire.say(post("a"));
  EXPECT_TRUE(wire.to_end().starts_with("HTTP/1.1 502 "));
  EXPECT_NE(wire.heard.find("answer_malformed"), std::string::npos);
}

}  // namespace
}  // namespace tb::sentinel::proxy
