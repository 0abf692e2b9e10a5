// HTTP/2 clients: their exchanges are those of HTTP/1.1.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sentinel/proxy/h2_client_test.h"
#include "sentinel/proxy/h2_connection.h"

namespace tb::sentinel::proxy {
namespace {

using test::eventually;
using test::H2Client;
using test::Pairs;
using test::Runtime;
using test::Wire;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Of-Runtime: yes\r\n\r\nok";

/// Answers with what it was sent.
void echo(Wire& wire, int) {
  for (std::string request = wire.message(); !request.empty(); request = wire.message()) {
    const bool chunked = request.find("\r\nTransfer-Encoding: chunked") != std::string::npos;
    const std::string body = request.substr(request.find("\r\n\r\n") + 4);
    wire.say(chunked ? "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body
                     : "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  }
}

class H2Test : public test::H2Case {};

TEST_F(H2Test, ARequestIsThatOfHttp1) {
  std::string heard;
  std::mutex mutex;
  Runtime runtime([&](Wire& wire, int) {
    for (std::string request = wire.message(); !request.empty(); request = wire.message()) {
      const std::scoped_lock lock(mutex);
      heard = request;
      wire.say(kOk);
    }
  });
  begin_h2(runtime.address);
  H2Client client(this->client());
  const auto id = client.post("question", {{"content-length", "8"}, {"traceparent", "00-1"}, {"cookie", "secret=1"}});
  ASSERT_TRUE(client.until_closed(id));
  const auto& answer = client.answers[id];
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, "ok");
  EXPECT_TRUE(answer.ended);
  EXPECT_EQ(answer.error, 0U);
  EXPECT_EQ(answer.fields.at("content-length"), "2");
  EXPECT_EQ(answer.fields.at("x-of-runtime"), "yes");
  EXPECT_EQ(answer.fields.at("x-request-id").size(), 32U);
  EXPECT_EQ(answer.fields.count("connection") + answer.fields.count("transfer-encoding"), 0U);
  ASSERT_TRUE(has_ended());
  const std::scoped_lock lock(mutex, second_.mutex);
  EXPECT_THAT(heard, HasSubstr("POST /v1/completions HTTP/1.1\r\nHost: a\r\n"));
  EXPECT_THAT(heard, HasSubstr("\r\nX-Forwarded-Proto: https\r\n"));
  EXPECT_THAT(heard, HasSubstr("\r\nX-Forwarded-For: 127.0.0.1\r\n"));
  EXPECT_THAT(heard, HasSubstr("\r\nContent-Length: 8\r\n"));
  EXPECT_THAT(heard, HasSubstr("\r\ntraceparent: 00-1\r\n"));
  EXPECT_THAT(heard, Not(HasSubstr("secret")));
  EXPECT_EQ(second_.received, "question");
  EXPECT_EQ(second_.sent, "ok");
  EXPECT_EQ(second_.last.outcome, Outcome::kComplete);
  EXPECT_EQ(second_.last.status, 200);
  EXPECT_EQ(second_.last.request_bytes, 8U);
  EXPECT_EQ(second_.last.response_bytes, 2U);
  EXPECT_EQ(second_.last.peer.address, "127.0.0.1");
  EXPECT_TRUE(second_.last.peer.tls);
  EXPECT_EQ(answer.fields.at("x-request-id"), second_.last.request_id);
}

TEST_F(H2Test, IsChosenOnlyWhereItIsOfferedAndAskedFor) {
  Runtime runtime(Runtime::answering(kOk));
  begin_h2(runtime.address);
  EXPECT_TRUE(eventually([&] { return counted("trustbridge_sentinel_http2_connections_total") == 0; }));
  for (const char* alpn : {"\x08http/1.1", "\x08http/1.0"}) {
    H2Client other(client(), false, 65535, alpn);
    ASSERT_TRUE(other.connected);
    const auto id = other.ask(H2Client::head("GET", "/v1/models"));
    EXPECT_FALSE(other.until_closed(id)) << "the preface is no request of HTTP/1.1";
  }
  EXPECT_EQ(counted("trustbridge_sentinel_http2_connections_total"), 0U);
  H2Client both(client(), false, 65535, "\x08http/1.1\x02h2");
  ASSERT_TRUE(both.until_closed(both.ask(H2Client::head("GET", "/v1/models"))));
  EXPECT_EQ(both.answers.begin()->second.status, 200);
  http::TlsConfig without = server_files();
  without.offer_http2 = false;
  begin_h2(runtime.address, {}, without);
  H2Client refused(client(), false, 65535, "\x02h2\x08http/1.1");
  EXPECT_FALSE(refused.until_closed(refused.ask(H2Client::head("GET", "/v1/models"))));
}

TEST_F(H2Test, NamesOfClientCertificatesAreKnown) {
  Runtime runtime(Runtime::answering(kOk));
  http::TlsConfig files = server_files();
  files.client_ca_path = http::test::certificates().cert("ca");
  begin_h2(runtime.address, {}, files);
  H2Client client(this->client(), false, 65535, "\x02h2", "client");
  ASSERT_TRUE(client.until_closed(client.post("a")));
  ASSERT_TRUE(has_ended());
  const std::scoped_lock lock(second_.mutex);
  EXPECT_EQ(second_.last.peer.certificate_subject, "client");
}

TEST_F(H2Test, ManyStreamsAtOnceAndOneAfterTheOther) {
  Runtime runtime(echo);
  begin_h2(runtime.address);
  H2Client client(this->client());
  for (int round = 0; round < 3; ++round) {
    std::map<std::int32_t, std::string> bodies;
    for (int i = 0; i < 80; ++i) {
      std::string body = "request " + std::to_string(i) + std::string(static_cast<std::size_t>(i * 50), 'x');
      bodies[client.post(body)] = body;
    }
    for (const auto& [id, body] : bodies) {
      ASSERT_TRUE(client.until_closed(id));
      EXPECT_EQ(client.answers[id].status, 200);
      EXPECT_EQ(client.answers[id].body, body);
    }
  }
  EXPECT_TRUE(has_ended(240));
  EXPECT_TRUE(eventually([&] { return metrics_.gauge("trustbridge_sentinel_connections", "").value() == 1; }))
      << "the connection alone is left";
}

TEST_F(H2Test, EventsArriveOneByOneAndTogetherWithThoseOfOthers) {
  std::atomic<int> said = 0;
  std::atomic<int> allowed = 0;
  Runtime runtime([&](Wire& wire, int) {
    wire.message();
    wire.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
    for (int i = 0; i < 5; ++i) {
      eventually([&] { return allowed > i; });
      wire.say("data: " + std::to_string(i) + "\n\n");
      ++said;
    }
  });
  begin_h2(runtime.address);
  H2Client client(this->client());
  const auto one = client.post("a");
  const auto two = client.post("b");
  std::string expected;
  for (int i = 0; i < 5; ++i) {
    ++allowed;
    expected += "data: " + std::to_string(i) + "\n\n";
    for (const auto id : {one, two}) {
      ASSERT_TRUE(client.until([&] { return client.answers[id].body == expected; })) << client.answers[id].body;
    }
  }
  ASSERT_TRUE(client.until_closed(one) && client.until_closed(two));
  EXPECT_TRUE(client.answers[one].ended && client.answers[two].ended);
  EXPECT_EQ(client.answers[one].fields.at("content-type"), "text/event-stream");
}

TEST_F(H2Test, LongBodiesPassBothWays) {
  Runtime runtime(echo);
  begin_h2(runtime.address);
  H2Client client(this->client());
  std::string body;
  for (int i = 0; i < 700'000; ++i) body += std::to_string(i) + " ";
  const auto of_length = client.post(body, {{"content-length", std::to_string(body.size())}});
  const auto in_chunks = client.post(body);
  for (const auto id : {of_length, in_chunks}) {
    ASSERT_TRUE(client.until_closed(id));
    EXPECT_TRUE(client.answers[id].ended);
    EXPECT_TRUE(client.answers[id].body == body) << client.answers[id].body.size();
  }
}

TEST_F(H2Test, ABodyThatTheRuntimeDoesNotTakeWaitsAtItsClient) {
  std::atomic<bool> takes = false;
  Runtime runtime([&](Wire& wire, int connection) {
    wire.until("\r\n\r\n");
    if (connection == 0) eventually([&] { return takes.load(); });
    Runtime::answering(kOk)(wire, connection);
  });
  begin_h2(runtime.address);
  H2Client client(this->client());
  const std::string body(30'000'000, 'x');
  const auto stuck = client.post(body, {{"content-length", std::to_string(body.size())}});
  ASSERT_TRUE(
      client.until([&] { return nghttp2_session_get_stream_remote_window_size(client.session(), stuck) == 0; }));
  for (int i = 0; i < 20; ++i) {
    const auto other = client.post(std::string(100'000, 'y'));
    ASSERT_TRUE(client.until_closed(other));
    EXPECT_EQ(client.answers[other].status, 200);
  }
  EXPECT_EQ(client.answers[stuck].status, 0);
  takes = true;
  ASSERT_TRUE(client.until_closed(stuck));
  EXPECT_EQ(client.answers[stuck].status, 200);
}

TEST_F(H2Test, AnAnswerThatItsClientDoesNotTakeStopsNobodyElse) {
  std::atomic<std::size_t> sent = 0;
  Runtime runtime([&](Wire& wire, int connection) {
    if (connection > 0) return Runtime::answering(kOk)(wire, connection);
    wire.message();
    wire.say("HTTP/1.1 200 OK\r\nContent-Length: 30000000\r\n\r\n");
    const std::string piece(10'000, 'x');
    for (int i = 0; i < 3000 && wire.say(piece); ++i) sent += piece.size();
    wire.to_end();
  });
  begin_h2(runtime.address);
  H2Client client(this->client(), true, 1000);
  const auto slow = client.post("a");
  ASSERT_TRUE(client.until([&] { return client.answers[slow].body.size() == 1000; }));
  for (int i = 0; i < 3; ++i) {
    const auto other = client.post("b");
    ASSERT_TRUE(client.until_closed(other));
    EXPECT_EQ(client.answers[other].body, "ok");
  }
  // What the kernel holds between the runtime and us is its own affair; we hold a pair and one read.
  const std::size_t before = sent;
  EXPECT_LT(before, 20'000'000U);
  EXPECT_EQ(client.answers[slow].body.size(), 1000U);
  nghttp2_session_set_local_window_size(client.session(), 0, slow, 1 << 28);
  ASSERT_TRUE(client.until_closed(slow));
  EXPECT_EQ(client.answers[slow].body.size(), 30'000'000U);
}

TEST_F(H2Test, AnswersWithoutABody) {
  Runtime runtime([&](Wire& wire, int) {
    for (std::string request = wire.message(); !request.empty(); request = wire.message()) {
      wire.say(request.starts_with("DELETE") ? "HTTP/1.1 204 No Content\r\n\r\n"
                                             : "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }
  });
  begin_h2(runtime.address);
  H2Client client(this->client());
  const auto empty = client.post("a");
  const auto head = client.ask(H2Client::head("HEAD", "/v1/models"));
  for (const auto id : {empty, head}) {
    ASSERT_TRUE(client.until_closed(id));
    EXPECT_TRUE(client.answers[id].ended) << id;
    EXPECT_EQ(client.answers[id].body, "");
  }
  EXPECT_EQ(client.answers[empty].status, 200);
}

TEST_F(H2Test, ContinueIsSaidToWhoExpectsIt) {
  Runtime runtime(echo);
  begin_h2(runtime.address);
  H2Client client(this->client());
  const auto id = client.ask(H2Client::head("POST", "/v1/completions", {{"expect", "100-continue"}}), "", false);
  ASSERT_TRUE(client.until([&] { return !client.answers[id].interim.empty(); }));
  EXPECT_EQ(client.answers[id].interim, std::vector<int>{100});
  client.more(id, "now", true);
  ASSERT_TRUE(client.until_closed(id));
  EXPECT_EQ(client.answers[id].status, 200);
  EXPECT_EQ(client.answers[id].body, "now");
}

TEST_F(H2Test, TrailersAreDropped) {
  Runtime runtime(echo);
  begin_h2(runtime.address);
  H2Client client(this->client());
  const auto id = client.ask(H2Client::head("POST", "/v1/completions"), "body", false);
  ASSERT_TRUE(client.push());
  // Field "x: y" without indexing, END_STREAM and END_HEADERS.
  client.say(H2Client::frame(NGHTTP2_HEADERS, 5, static_cast<std::uint32_t>(id), std::string("\0\x01x\x01y", 5)));
  ASSERT_TRUE(client.until([&] { return client.answers[id].ended; }));
  EXPECT_EQ(client.answers[id].body, "body");
}

TEST_F(H2Test, ABrokenAnswerIsNeverWhole) {
  Runtime runtime([&](Wire& wire, int connection) {
    wire.message();
    wire.say(connection % 2 == 0 ? "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"
                                 : "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
  });
  begin_h2(runtime.address);
  H2Client client(this->client());
  for (int i = 0; i < 2; ++i) {
    const auto id = client.post("a");
    ASSERT_TRUE(client.until_closed(id));
    EXPECT_EQ(client.answers[id].body, "half");
    EXPECT_FALSE(client.answers[id].ended);
    EXPECT_EQ(client.answers[id].error, static_cast<std::uint32_t>(NGHTTP2_INTERNAL_ERROR));
  }
  EXPECT_FALSE(client.goaway) << "the others of this connection go on";
}

TEST_F(H2Test, AnEarlyAnswerEndsTheRequest) {
  first_.on_request = [](Exchange&) { return Refusal{401, "invalid_api_key", "no"}; };
  Runtime runtime(echo);
  begin_h2(runtime.address);
  H2Client client(this->client());
  const auto id = client.ask(H2Client::head("POST", "/v1/completions"), std::string(1'000'000, 'x'), false);
  ASSERT_TRUE(client.until_closed(id));
  EXPECT_EQ(client.answers[id].status, 401);
  EXPECT_TRUE(client.answers[id].ended);
  EXPECT_EQ(client.answers[id].error, static_cast<std::uint32_t>(NGHTTP2_NO_ERROR));
  EXPECT_THAT(client.answers[id].body, HasSubstr("invalid_api_key"));
  ASSERT_TRUE(has_ended());
  EXPECT_EQ(second_.last.outcome, Outcome::kRefused);
  EXPECT_EQ(runtime.connections, 0);
  const auto late = client.ask(H2Client::head("POST", "/v1/completions"), "a", false);
  ASSERT_TRUE(client.until([&] { return client.answers[late].ended; }));
  EXPECT_FALSE(client.answers[late].closed) << "who sends on for a moment still has the answer";
  client.more(late, "b", true);
  ASSERT_TRUE(client.until_closed(late));
  EXPECT_EQ(client.answers[late].status, 401);
}

TEST_F(H2Test, AClientThatResetsItsStreamHasLeft) {
  std::atomic<bool> noticed = false;
  Runtime runtime([&](Wire& wire, int connection) {
    wire.message();
    if (connection > 0) {
      wire.say(kOk);
      return;
    }
    wire.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n");
    wire.to_end();
    noticed = true;
  });
  begin_h2(runtime.address);
  H2Client client(this->client());
  const auto left = client.post("a");
  ASSERT_TRUE(client.until([&] { return client.answers[left].body == "data: 1\n\n"; }));
  client.reset(left);
  ASSERT_TRUE(client.push());
  EXPECT_TRUE(eventually([&] { return noticed.load(); }));
  ASSERT_TRUE(has_ended());
  {
    const std::scoped_lock lock(second_.mutex);
    EXPECT_EQ(second_.last.outcome, Outcome::kAborted);
    EXPECT_EQ(second_.sent, "data: 1\n\n");
    EXPECT_EQ(second_.left, 1);
  }
  const auto next = client.post("b");
  ASSERT_TRUE(client.until_closed(next));
  EXPECT_EQ(client.answers[next].body, "ok");
}

TEST_F(H2Test, AClientThatLeavesEndsAllItsStreams) {
  Runtime runtime([&](Wire& wire, int) {
    wire.message();
    wire.to_end();
  });
  begin_h2(runtime.address);
  {
    H2Client client(this->client());
    for (int i = 0; i < 5; ++i) client.post("a");
    ASSERT_TRUE(client.push());
    ASSERT_TRUE(eventually([&] { return runtime.connections == 5; }));
    client.leave();
  }
  EXPECT_TRUE(has_ended(5));
  EXPECT_TRUE(eventually([&] { return metrics_.gauge("trustbridge_sentinel_connections", "").value() == 0; }));
}

TEST_F(H2Test, AnAnswerIsReadOnForItsNumbers) {
  second_.drain = DrainBounds{.ms = 10'000, .bytes = 1'000'000};
  std::atomic<bool> left = false;
  Runtime runtime([&](Wire& wire, int) {
    wire.message();
    wire.say("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
    eventually([&] { return left.load(); });
    wire.say("half");
  });
  begin_h2(runtime.address);
  H2Client client(this->client());
  const auto id = client.post("a");
  ASSERT_TRUE(client.until([&] { return client.answers[id].body == "half"; }));
  client.reset(id);
  ASSERT_TRUE(client.push());
  ASSERT_TRUE(eventually([&] { return counted("trustbridge_sentinel_answers_read_on_total") == 1; }));
  left = true;
  ASSERT_TRUE(has_ended());
  EXPECT_TRUE(eventually([&] { return counted("trustbridge_sentinel_answer_bytes_read_on_total") == 4; }));
}

TEST_F(H2Test, ASuspensionEndsStreamsOfEventsProperly) {
  Runtime runtime([&](Wire& wire, int connection) {
    wire.message();
    wire.say(connection == 0 ? "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n"
                             : "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    wire.to_end();
  });
  begin_h2(runtime.address);
  H2Client client(this->client());
  const auto events = client.post("a");
  ASSERT_TRUE(client.until([&] { return client.answers[events].body == "data: 1\n\n"; }));
  const auto plain = client.post("b");
  ASSERT_TRUE(client.until([&] { return client.answers[plain].body == "half"; }));
  std::thread cuts([&] { proxy_->cut(reason_of(Gate::Door::kSuspended)); });
  EXPECT_TRUE(client.until_closed(events));
  EXPECT_TRUE(client.until_closed(plain));
  cuts.join();
  EXPECT_TRUE(client.answers[events].ended);
  EXPECT_THAT(client.answers[events].body, HasSubstr("contract_suspended"));
  EXPECT_TRUE(client.answers[events].body.ends_with("\n\n"));
  EXPECT_FALSE(client.answers[plain].ended);
  EXPECT_TRUE(client.until_end());
  EXPECT_EQ(client.goaway, static_cast<std::uint32_t>(NGHTTP2_NO_ERROR));
}

TEST_F(H2Test, ADrainTellsClientsAndLetsThemFinish) {
  std::atomic<bool> finish = false;
  Runtime runtime([&](Wire& wire, int connection) {
    wire.message();
    if (connection == 0) eventually([&] { return finish.load(); });
    wire.say(kOk);
  });
  begin_h2(runtime.address);
  H2Client idle(client());
  ASSERT_TRUE(idle.until([&] {
    return nghttp2_session_get_remote_settings(idle.session(), NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS) ==
           kMostH2Streams;
  }));
  H2Client client(this->client());
  const auto slow = client.post("a");
  ASSERT_TRUE(client.push());
  ASSERT_TRUE(eventually([&] { return runtime.connections == 1; }));
  std::thread stops([&] { proxy_->stop(20'000, 300); });
  EXPECT_TRUE(client.until([&] { return client.goaway.has_value(); }));
  EXPECT_EQ(client.goaway_streams.front(), 0x7fffffff) << "a notice: more may still be asked for a moment";
  EXPECT_TRUE(client.until([&] { return client.goaway_streams.size() == 2; }));
  EXPECT_EQ(client.goaway_streams.back(), slow);
  EXPECT_TRUE(idle.until_end()) << "who asks for nothing is left at once";
  EXPECT_FALSE(client.answers[slow].closed);
  finish = true;
  EXPECT_TRUE(client.until_closed(slow));
  EXPECT_EQ(client.answers[slow].body, "ok");
  EXPECT_TRUE(client.until_end());
  client.leave();
  stops.join();
}

}  // namespace
}  // namespace tb::sentinel::proxy
