// HTTP/2 clients that lie, flood, hold on, or ask for what cannot be told in HTTP/1.1.
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

constexpr const char* kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
constexpr const char* kFloods = "trustbridge_sentinel_http2_floods_total";
constexpr const char* kTimeouts = "trustbridge_sentinel_client_timeouts_total";

class H2AbuseTest : public test::H2Case {
 protected:
  /// The connection is there and both sides know the settings.
  static bool greet(H2Client& client) {
    const auto id = client.ask(H2Client::head("GET", "/v1/models"));
    return client.until_closed(id) && client.answers[id].status == 200;
  }
  bool still_serves() {
    H2Client other(client());
    return greet(other);
  }
};

TEST_F(H2AbuseTest, WhatHttp2ForbidsIsReset) {
  Runtime runtime(Runtime::answering(kOk));
  begin_h2(runtime.address);
  H2Client client(this->client());
  const Pairs good = H2Client::head("POST", "/v1/completions");
  std::vector<Pairs> requests;
  for (const auto& [name, value] : Pairs{{"connection", "close"},
                                         {"connection", "x-api-key"},
                                         {"keep-alive", "timeout=5"},
                                         {"proxy-connection", "close"},
                                         {"transfer-encoding", "chunked"},
                                         {"transfer-encoding", "identity"},
                                         {"upgrade", "websocket"},
                                         {"http2-settings", "AAMAAABk"},
                                         {"te", "gzip"},
                                         {"a", "b\r\ntransfer-encoding: chunked"},
                                         {"a", "b\nx-api-key: y"},
                                         {"a", "b\rx: y"},
                                         {"a", std::string("b\0c", 3)},
                                         {"a\r\nhost", "b"},
                                         {"a: b", "c"},
                                         {"content-length", "+1"},
                                         {"content-length", "-1"},
                                         {":status", "200"},
                                         {":protocol", "websocket"},
                                         {":path", "/v1/models"},
                                         {":late", "x"}}) {
    requests.push_back(good);
    requests.back().emplace_back(name, value);
  }
  requests.push_back({{":method", "GET"}, {":scheme", "https"}, {":authority", "a"}});
  requests.push_back({{":scheme", "https"}, {":path", "/v1/models"}, {":authority", "a"}});
  requests.push_back(H2Client::head("GET", "/v1/models HTTP/1.1\r\nHost: b"));
  requests.push_back(H2Client::head("GET", "/v1/models HTTP/1.1"));
  requests.push_back(H2Client::head("GET", "http://a/v1/models"));
  requests.push_back(H2Client::head("GET /v1/models HTTP/1.1\r\nx:", "/v1/models"));
  requests.push_back(H2Client::head("POST", "/v1/completions", {{"content-length", "1"}, {"content-length", "2"}}));
  for (const Pairs& fields : requests) {
    const auto id = client.ask(fields, "GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n");
    ASSERT_TRUE(client.until_closed(id)) << fields.back().first << ": " << fields.back().second;
    EXPECT_EQ(client.answers[id].error, static_cast<std::uint32_t>(NGHTTP2_PROTOCOL_ERROR)) << fields.back().first;
    EXPECT_EQ(client.answers[id].status, 0) << fields.back().first;
  }
  EXPECT_TRUE(eventually([&] {
    const std::scoped_lock lock(first_.mutex);
    return first_.ended == static_cast<int>(requests.size());
  })) << "each is told to the filters, once: "
      << first_.ended;
  EXPECT_EQ(first_.last.status, 400);
  EXPECT_EQ(first_.last.outcome, Outcome::kRefused);
  EXPECT_TRUE(greet(client));
  EXPECT_EQ(runtime.connections, 1);
}

TEST_F(H2AbuseTest, WhatOurReaderRefusesIsAnswered) {
  Runtime runtime(Runtime::answering(kOk));
  begin_h2(runtime.address);
  H2Client client(this->client());
  const auto asked = [&](const Pairs& fields) {
    const auto id = client.ask(fields);
    return client.until_closed(id) && client.answers[id].ended ? client.answers[id].status : 0;
  };
  EXPECT_EQ(asked(H2Client::head("GET", "/v1/models", {{"host", "other"}})), 400);
  EXPECT_EQ(asked(H2Client::head("GET", "/v1/models", {{"host", "A"}})), 200);
  EXPECT_EQ(asked({{":method", "GET"}, {":scheme", "https"}, {":path", "/v1/models"}, {"host", "a"}}), 200);
  EXPECT_EQ(asked({{":method", "GET"}, {":scheme", "https"}, {":path", "/v1/models"}, {":authority", "u@a"}}), 400);
  EXPECT_EQ(asked(H2Client::head("GET", "/metrics")), 403);
  EXPECT_EQ(asked({{":method", "CONNECT"}, {":authority", "127.0.0.1:80"}}), 403);
  EXPECT_EQ(asked(H2Client::head("DELETE", "/v1/models")), 405);
  EXPECT_EQ(asked(H2Client::head("GET", "/v1/models", {{"expect", "a miracle"}})), 417);
  EXPECT_EQ(asked(H2Client::head("GET", "/v1/models", {{"authorization", "a"}, {"authorization", "b"}})), 400);
  Pairs many = H2Client::head("GET", "/v1/models");
  for (int i = 0; i < 300; ++i) many.emplace_back("x-" + std::to_string(i), "y");
  EXPECT_EQ(asked(many), 431);
  Pairs large = H2Client::head("GET", "/v1/models");
  for (int i = 0; i < 6; ++i) large.emplace_back("x", std::string(12'000, static_cast<char>('a' + i)));
  EXPECT_EQ(asked(large), 431);
  EXPECT_TRUE(greet(client));
}

TEST_F(H2AbuseTest, ALengthThatLies) {
  Runtime runtime([&](Wire& wire, int) {
    wire.message();
    wire.to_end();
  });
  begin_h2(runtime.address);
  H2Client client(this->client());
  for (const char* length : {"3", "50"}) {
    const auto id = client.post("five!", {{"content-length", length}});
    ASSERT_TRUE(client.until_closed(id));
    EXPECT_EQ(client.answers[id].error, static_cast<std::uint32_t>(NGHTTP2_PROTOCOL_ERROR)) << length;
  }
  ASSERT_TRUE(has_ended(2));
  {
    const std::scoped_lock lock(second_.mutex);
    EXPECT_EQ(second_.last.outcome, Outcome::kAborted);
  }
  const auto none = client.ask(H2Client::head("POST", "/v1/completions", {{"content-length", "5"}}));
  ASSERT_TRUE(client.until_closed(none));
  EXPECT_EQ(client.answers[none].status, 0);
  ASSERT_TRUE(has_ended(3));
  const std::scoped_lock lock(second_.mutex);
  EXPECT_EQ(second_.last.outcome, Outcome::kRefused);
}

TEST_F(H2AbuseTest, StreamsBeyondTheLimit) {
  std::atomic<bool> answers = false;
  Runtime runtime([&](Wire& wire, int) {
    wire.message();
    eventually([&] { return answers.load(); });
    wire.say(kOk);
  });
  begin_h2(runtime.address);
  H2Client client(this->client());
  std::vector<std::int32_t> ids;
  for (int i = 0; i < 120; ++i) ids.push_back(client.post("a"));
  const auto count = [&](std::uint32_t error) {
    return std::ranges::count_if(
        ids, [&](auto id) { return client.answers[id].closed && client.answers[id].error == error; });
  };
  EXPECT_TRUE(client.until([&] { return count(NGHTTP2_REFUSED_STREAM) == 20; })) << count(NGHTTP2_REFUSED_STREAM);
  answers = true;
  EXPECT_TRUE(client.until([&] { return count(NGHTTP2_NO_ERROR) == 100; })) << count(NGHTTP2_NO_ERROR);
}

TEST_F(H2AbuseTest, StreamsCountAsConnections) {
  std::atomic<bool> answers = false;
  Runtime runtime([&](Wire& wire, int) {
    wire.message();
    eventually([&] { return answers.load(); });
    wire.say(kOk);
  });
  begin_h2(runtime.address, {.max_connections = 5});
  H2Client client(this->client());
  std::vector<std::int32_t> ids;
  for (int i = 0; i < 7; ++i) ids.push_back(client.post("a"));
  ASSERT_TRUE(client.until([&] { return client.answers[ids[6]].closed; }));
  EXPECT_EQ(client.answers[ids[6]].error, static_cast<std::uint32_t>(NGHTTP2_REFUSED_STREAM));
  EXPECT_EQ(counted("trustbridge_sentinel_connections_refused_total"), 3U);
  answers = true;
  ASSERT_TRUE(client.until_closed(ids[0]));
  EXPECT_EQ(client.answers[ids[0]].status, 200);
}

TEST_F(H2AbuseTest, FloodsOfFramesThatAskForNothing) {
  Runtime runtime(Runtime::answering(kOk));
  begin_h2(runtime.address);
  const std::string ping = H2Client::frame(NGHTTP2_PING, 0, 0, "12345678");
  const std::string settings = H2Client::frame(NGHTTP2_SETTINGS, 0, 0, std::string("\0\4\0\0\xff\xff", 6));
  const std::string priority = H2Client::frame(NGHTTP2_PRIORITY, 0, 101, std::string("\0\0\0\0\1", 5));
  std::uint64_t floods = 0;
  for (const std::string& frame : {ping, settings, priority}) {
    H2Client client(this->client());
    ASSERT_TRUE(greet(client));
    for (int i = 0; i < 20 && client.push(); ++i) {
      std::string many;
      for (int k = 0; k < 100; ++k) many += frame;
      client.say(many);
      if (i % 2 == 0) (void)client.until([] { return true; });
    }
    EXPECT_TRUE(client.until_end()) << static_cast<int>(frame[3]);
    if (frame != settings) {  // whose acknowledgements this client does not expect
      EXPECT_EQ(client.goaway, static_cast<std::uint32_t>(NGHTTP2_ENHANCE_YOUR_CALM)) << static_cast<int>(frame[3]);
    }
    EXPECT_TRUE(eventually([&] { return counted(kFloods) == floods + 1; }));
    floods = counted(kFloods);
  }
  EXPECT_TRUE(still_serves());
}

TEST_F(H2AbuseTest, EmptyDataWithoutEnd) {
  Runtime runtime(Runtime::answering(kOk));
  begin_h2(runtime.address);
  H2Client client(this->client());
  const auto id = client.ask(H2Client::head("POST", "/v1/completions"), "a", false);
  ASSERT_TRUE(client.push());
  std::string many;
  for (int i = 0; i < 3000; ++i) many += H2Client::frame(NGHTTP2_DATA, 0, static_cast<std::uint32_t>(id), "");
  client.say(many);
  EXPECT_TRUE(client.until_end());
  EXPECT_EQ(client.goaway, static_cast<std::uint32_t>(NGHTTP2_ENHANCE_YOUR_CALM));
  EXPECT_TRUE(has_ended());
  EXPECT_TRUE(still_serves());
}

TEST_F(H2AbuseTest, StreamsThatAreResetInHaste) {
  Runtime runtime([&](Wire& wire, int) {
    if (wire.message().starts_with("POST")) wire.to_end();
    wire.say(kOk);
  });
  begin_h2(runtime.address);
  H2Client client(this->client());
  ASSERT_TRUE(greet(client));
  int asked = 0;
  for (; asked < 1000 && !client.ended; ++asked) {
    const auto id = client.post("a");
    if (!client.push()) break;
    client.reset(id);
    if (!client.push()) break;
    if (asked % 50 == 49) (void)client.until([&] { return client.answers[id].closed; });
  }
  EXPECT_TRUE(client.until_end());
  EXPECT_TRUE(client.goaway.has_value());
  EXPECT_TRUE(eventually([&] { return metrics_.gauge("trustbridge_sentinel_connections", "").value() == 0; }));
  EXPECT_TRUE(still_serves());
}

TEST_F(H2AbuseTest, StreamsThatWeAreMadeToReset) {
  Runtime runtime(Runtime::answering(kOk));
  begin_h2(runtime.address);
  H2Client client(this->client());
  ASSERT_TRUE(greet(client));
  int asked = 0;
  for (; asked < 1000 && !client.goaway; ++asked) {
    (void)client.until_closed(client.post("a", {{"connection", "close"}}));
  }
  EXPECT_LT(asked, 300);
  EXPECT_TRUE(client.until_end());
  EXPECT_EQ(client.goaway, static_cast<std::uint32_t>(NGHTTP2_ENHANCE_YOUR_CALM));
  EXPECT_TRUE(still_serves());
}

TEST_F(H2AbuseTest, HeadsWithoutEnd) {
  Runtime runtime(Runtime::answering(kOk));
  begin_h2(runtime.address, {.head_ms = 300});
  H2Client slow(client());
  ASSERT_TRUE(greet(slow));
  slow.say(H2Client::frame(NGHTTP2_HEADERS, 0, 3, "\x82"));  // :method GET, and more is to come
  EXPECT_TRUE(slow.until_end());
  EXPECT_EQ(counted(kTimeouts), 1U);

  H2Client fast(client());
  ASSERT_TRUE(greet(fast));
  std::string block;
  for (int i = 0; i < 500; ++i) block += std::string("\0\x01x\x14yyyyyyyyyyyyyyyyyyyy", 24);
  fast.say(H2Client::frame(NGHTTP2_HEADERS, 0, 3, block));
  for (int i = 0; i < 100; ++i) fast.say(H2Client::frame(NGHTTP2_CONTINUATION, 0, 3, block));
  EXPECT_TRUE(fast.until_end());
  EXPECT_TRUE(still_serves());
}

TEST_F(H2AbuseTest, ASmallHeadThatUnpacksToALargeOne) {
  Runtime runtime(Runtime::answering(kOk));
  begin_h2(runtime.address);
  H2Client client(this->client());
  ASSERT_TRUE(greet(client));
  // A field of 4000 bytes enters the table (index 62) and is named eight thousand times.
  std::string block = std::string("\x82\x87\x84\x40\x01x\x7f\xa1\x1e", 9) + std::string(4000, 'y');
  block += std::string(8000, '\xbe');
  client.say(H2Client::frame(NGHTTP2_HEADERS, 5, 3, block));
  EXPECT_TRUE(client.until([&] { return client.goaway.has_value() || client.ended || client.answers[3].closed; }));
  EXPECT_EQ(client.answers[3].status, 0);
  EXPECT_TRUE(still_serves());
  EXPECT_EQ(runtime.connections, 1);
}

TEST_F(H2AbuseTest, WhoAsksForNothingIsLeft) {
  Runtime runtime(Runtime::answering(kOk));
  begin_h2(runtime.address, {.idle_ms = 200});
  H2Client client(this->client());
  ASSERT_TRUE(greet(client));
  EXPECT_TRUE(client.until_end());
  EXPECT_EQ(client.goaway, static_cast<std::uint32_t>(NGHTTP2_NO_ERROR));
  EXPECT_TRUE(eventually([&] { return metrics_.gauge("trustbridge_sentinel_connections", "").value() == 0; }));
}

TEST_F(H2AbuseTest, WhoTakesNoAnswerIsCut) {
  Runtime runtime([&](Wire& wire, int) {
    wire.message();
    wire.say("HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n" + std::string(20'000'000, 'x'));
  });
  begin_h2(runtime.address, {.client_ms = 300});
  H2Client no_window(client(), true, 10);
  const auto id = no_window.post("a");
  ASSERT_TRUE(no_window.until_closed(id));
  EXPECT_EQ(no_window.answers[id].body.size(), 10U);
  EXPECT_FALSE(no_window.answers[id].ended);
  EXPECT_NE(no_window.answers[id].error, 0U);
  ASSERT_TRUE(has_ended());
  EXPECT_FALSE(no_window.ended) << "others of this connection go on";

  H2Client no_reading(client(4096), false, 1 << 28);
  no_reading.post("a");
  ASSERT_TRUE(no_reading.push());
  EXPECT_TRUE(has_ended(2));
  EXPECT_TRUE(eventually([&] { return metrics_.gauge("trustbridge_sentinel_connections", "").value() == 1; }));
  const std::scoped_lock lock(second_.mutex);
  EXPECT_EQ(second_.last.outcome, Outcome::kAborted);
}

TEST_F(H2AbuseTest, AShortAnswerThatIsNotTaken) {
  Runtime runtime(Runtime::answering(kOk));
  begin_h2(runtime.address, {.client_ms = 300});
  H2Client client(this->client(), true, 0);
  const auto id = client.post("a");
  ASSERT_TRUE(client.until_closed(id));
  EXPECT_EQ(client.answers[id].status, 200);
  EXPECT_EQ(client.answers[id].error, static_cast<std::uint32_t>(NGHTTP2_CANCEL));
  EXPECT_EQ(counted(kTimeouts), 1U);
}

TEST_F(H2AbuseTest, WhoSendsNoBodyIsCut) {
  Runtime runtime(Runtime::answering(kOk));
  begin_h2(runtime.address, {.client_ms = 300});
  H2Client client(this->client());
  const auto id = client.ask(H2Client::head("POST", "/v1/completions"), "a", false);
  ASSERT_TRUE(client.until_closed(id));
  EXPECT_EQ(client.answers[id].status, 0);
  EXPECT_NE(client.answers[id].error, 0U);
  EXPECT_EQ(counted(kTimeouts), 1U);
}

TEST_F(H2AbuseTest, NoPreface) {
  Runtime runtime(Runtime::answering(kOk));
  begin_h2(runtime.address);
  for (const char* said :
       {"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnonsense, and more of it"}) {
    H2Client client(this->client());
    client.say_only(said);
    EXPECT_TRUE(client.until_end()) << said;
  }
  EXPECT_EQ(runtime.connections, 0);
  EXPECT_TRUE(still_serves());
}

}  // namespace
}  // namespace tb::sentinel::proxy
