// The server over real sockets: what it answers, what it refuses, when it gives up, and how it ends.
#include "http/server.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <future>
#include <latch>

#include "http/file_response.h"
#include "http/test_peer.h"

namespace tb::http {
namespace {

using test::RawClient;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

/// A server with one route of each kind.
class ServerTest : public testing::Test {
 protected:
  void start(ServerConfig config = {}) {
    std::vector<Route> routes;
    routes.push_back(
        {.method = "GET", .pattern = "/hello", .handler = [](const Request&) { return text(200, "hello"); }});
    routes.push_back({.method = "GET", .pattern = "/items/{id}", .handler = [](const Request& request) {
                        return json(200, Json::object().set("id", request.param("id")));
                      }});
    routes.push_back(
        {.method = "POST", .pattern = "/echo", .body_limit_bytes = 100'000, .handler = [](const Request& request) {
           return text(200, request.body);
         }});
    routes.push_back({.method = "GET", .pattern = "/refuse", .handler = [](const Request&) -> Response {
                        throw Error("bad_time", "that is no time");
                      }});
    routes.push_back({.method = "GET", .pattern = "/fault", .handler = [](const Request&) -> Response {
                        throw std::runtime_error("secret story");
                      }});
    routes.push_back({.method = "GET", .pattern = "/bad-header", .handler = [](const Request&) {
                        Response response = text(200, "x");
                        response.headers.add("X-A", "a\r\nX-B: b");
                        return response;
                      }});
    routes.push_back({.method = "GET", .pattern = "/wait", .handler = [this](const Request&) {
                        entered_.count_down();
                        gate_future_.wait();
                        return text(200, "waited");
                      }});
    routes.push_back({.method = "GET", .pattern = "/file", .handler = [this](const Request& request) {
                        Fd fd = value_or_throw(open_file(file_path(), O_RDONLY));
                        const auto size = value_or_throw(file_size(fd.get(), "file"));
                        return file_response(request, std::move(fd), {.size = size, .etag = "\"e\""});
                      }});
    log_ = obs::Log::to_sink([this](std::string_view line) { log_text_ += line; }, obs::Level::kInfo);
    server_ = std::make_unique<Server>(config, Router(std::move(routes)), log_, &metrics_);
  }
  std::string file_path() const { return dir_.file("blob"); }
  std::string ask(std::string_view request) {
    RawClient client(server_->port());
    client.write(request);
    client.shut_down_writing();
    return client.read_to_end();
  }
  /// A request that must be refused with `status` and end the connection.
  void expect_refusal(std::string_view request, int status, std::string_view code) {
    RawClient client(server_->port());
    client.write(request);
    const std::string answer = client.read_to_end();
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 " + std::to_string(status) + " ")) << request.substr(0, 200);
    EXPECT_THAT(answer, HasSubstr("\"code\":\"" + std::string(code) + "\"")) << request.substr(0, 200);
    EXPECT_THAT(answer, HasSubstr("application/problem+json"));
    EXPECT_THAT(answer, Not(HasSubstr("(timeout)"))) << request.substr(0, 200);
  }

  test::TempDir dir_;
  std::string log_text_;
  obs::Log log_;
  obs::Metrics metrics_;
  std::promise<void> gate_;
  std::shared_future<void> gate_future_ = gate_.get_future().share();
  std::latch entered_{1};
  std::unique_ptr<Server> server_;
};

TEST_F(ServerTest, AnswersOnAPortOfItsOwn) {
  start();
  EXPECT_GT(server_->port(), 0);
  const std::string answer = ask("GET /hello HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer, HasSubstr("Content-Length: 5\r\n"));
  EXPECT_THAT(answer, testing::EndsWith("\r\n\r\nhello"));
}

TEST_F(ServerTest, KeepsAConnectionAndAnswersAPipelineInOrder) {
  start();
  RawClient client(server_->port());
  client.write(
      "GET /items/1 HTTP/1.1\r\nHost: h\r\n\r\nPOST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nabGET "
      "/items/3 HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_THAT(client.read_answer(), testing::EndsWith("{\"id\":\"1\"}"));
  EXPECT_THAT(client.read_answer(), testing::EndsWith("\r\n\r\nab"));
  EXPECT_THAT(client.read_answer(), testing::EndsWith("{\"id\":\"3\"}"));
  client.write("GET /hello HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_THAT(client.read_answer(), testing::EndsWith("hello"));
}

TEST_F(ServerTest, HeadHasTheLengthAndNoBody) {
  start();
  RawClient client(server_->port());
  client.write("HEAD /hello HTTP/1.1\r\nHost: h\r\n\r\nGET /hello HTTP/1.1\r\nHost: h\r\n\r\n");
  const std::string head = client.read_answer(true);
  EXPECT_THAT(head, HasSubstr("Content-Length: 5\r\n"));
  EXPECT_THAT(client.read_answer(), StartsWith("HTTP/1.1 200"));
}

TEST_F(ServerTest, TakesBodiesOfBothFramings) {
  start();
  const std::string big(90'000, 'x');
  EXPECT_THAT(ask("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 90000\r\n\r\n" + big),
              HasSubstr("\r\n\r\n" + big));
  EXPECT_THAT(
      ask("POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"),
      testing::EndsWith("hello world"));
}

TEST_F(ServerTest, SaysContinueToWhomWaitsForIt) {
  start();
  RawClient client(server_->port());
  client.write("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.read_answer(true), "HTTP/1.1 100 Continue\r\n\r\n");
  client.write("ok");
  EXPECT_THAT(client.read_answer(), testing::EndsWith("\r\n\r\nok"));
  // A refusal comes instead of it.
  expect_refusal("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 100001\r\nExpect: 100-continue\r\n\r\n", 413,
                 "body_too_large");
}

TEST_F(ServerTest, UnknownPathsAndMethods) {
  start();
  EXPECT_THAT(ask("GET /nothing HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"), StartsWith("HTTP/1.1 404 "));
  const std::string answer = ask("DELETE /hello HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 405 "));
  EXPECT_THAT(answer, HasSubstr("Allow: GET, HEAD\r\n"));
}

TEST_F(ServerTest, RefusesBadRequestsAndEndsTheConnection) {
  start();
  expect_refusal("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                 400, "bad_request");
  expect_refusal("POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "bad_request");
  expect_refusal("GET /hello HTTP/1.1\r\n\r\n", 400, "bad_request");
  expect_refusal("GET /%68ello HTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad_request");
  expect_refusal("GET /hello?a=% HTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad_query");
  expect_refusal("GET /hello HTTP/3.0\r\nHost: h\r\n\r\n", 505, "http_version_unsupported");
  expect_refusal("\r\n\r\n\r\n\r\n", 400, "bad_request");
  expect_refusal("GET /hello HTTP/1.1\r\nHost: h\r\nX: " + std::string(17'000, 'a') + "\r\n\r\n", 431,
                 "header_too_large");
}

TEST_F(ServerTest, BoundsBodies) {
  start();
  expect_refusal("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 100001\r\n\r\n" + std::string(100'001, 'x'), 413,
                 "body_too_large");
  expect_refusal("POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n20000\r\n" +
                     std::string(0x20000, 'x') + "\r\n0\r\n\r\n",
                 413, "body_too_large");
  // A route without a body takes none.
  expect_refusal("GET /hello HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx", 413, "body_too_large");
}

TEST_F(ServerTest, WhatAHandlerThrowsBecomesItsProblem) {
  start();
  RawClient client(server_->port());
  client.write("GET /refuse HTTP/1.1\r\nHost: h\r\n\r\n");
  const std::string refusal = client.read_answer();
  EXPECT_THAT(refusal, StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(refusal, HasSubstr("that is no time"));
  client.write("GET /fault HTTP/1.1\r\nHost: h\r\n\r\n");
  const std::string fault = client.read_answer();
  EXPECT_THAT(fault, StartsWith("HTTP/1.1 500 "));
  EXPECT_THAT(fault, Not(HasSubstr("secret story")));
  client.write("GET /bad-header HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_THAT(client.read_answer(), StartsWith("HTTP/1.1 500 "));
  server_->stop();
  EXPECT_THAT(log_text_, HasSubstr("secret story"));
}

TEST_F(ServerTest, ASlowHeaderIsAnswered408AndASilentConnectionIsClosed) {
  start({.idle_ms = 50, .header_ms = 50});
  RawClient slow(server_->port());
  slow.write("GET /hello HT");
  EXPECT_THAT(slow.read_to_end(), StartsWith("HTTP/1.1 408 "));
  RawClient silent(server_->port());
  EXPECT_EQ(silent.read_to_end(), "");
  RawClient idle(server_->port());
  idle.write("GET /hello HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_THAT(idle.read_to_end(), testing::EndsWith("hello"));
}

TEST_F(ServerTest, AStalledBodyIsAnswered408) {
  start({.read_ms = 50});
  RawClient client(server_->port());
  client.write("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc");
  EXPECT_THAT(client.read_to_end(), StartsWith("HTTP/1.1 408 "));
}

TEST_F(ServerTest, ABodyThatOnlyTricklesIsAnswered408) {
  start({.read_ms = 100});
  RawClient client(server_->port());
  client.write("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 10000\r\n\r\n");
  for (int i = 0; i < 9'000; ++i) {
    if (!client.write("x")) break;
    pollfd answered{client.fd(), POLLIN, 0};
    if (::poll(&answered, 1, 10) > 0) break;
  }
  EXPECT_THAT(client.read_answer(), StartsWith("HTTP/1.1 408 "));
}

TEST_F(ServerTest, AClientThatDoesNotReadIsCutOff) {
  start({.write_ms = 100});
  ASSERT_EQ(::truncate(file_path().c_str(), 0), -1);
  {
    const Fd fd = value_or_throw(open_file(file_path(), O_WRONLY | O_CREAT));
    ASSERT_EQ(::ftruncate(fd.get(), 256 << 20), 0);
  }
  RawClient client(server_->port());
  client.write("GET /file HTTP/1.1\r\nHost: h\r\n\r\n");
  // Its connection ends although nothing is read; what the kernel had taken is all that comes.
  auto& open = metrics_.gauge("tb_http_connections", "Open connections.");
  for (int i = 0; i < 2000 && open.value() != 1; ++i) ::usleep(1000);
  for (int i = 0; i < 20'000 && open.value() != 0; ++i) ::usleep(1000);
  EXPECT_EQ(open.value(), 0);
  EXPECT_LT(client.read_to_end().size(), std::size_t{256} << 20);
}

TEST_F(ServerTest, ServesRangesOfAFile) {
  start();
  std::string content(3'000'000, '\0');
  for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 7 + i / 256);
  ASSERT_TRUE(write_file_atomically(file_path(), content, 0600, true));
  RawClient client(server_->port());
  client.write("GET /file HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_TRUE(client.read_answer().ends_with(content));
  client.write("GET /file HTTP/1.1\r\nHost: h\r\nRange: bytes=1000000-1999999\r\n\r\n");
  const std::string part = client.read_answer();
  EXPECT_THAT(part, StartsWith("HTTP/1.1 206 Partial Content\r\n"));
  EXPECT_THAT(part, HasSubstr("Content-Range: bytes 1000000-1999999/3000000\r\n"));
  EXPECT_TRUE(part.ends_with("\r\n\r\n" + content.substr(1'000'000, 1'000'000)));
  client.write("HEAD /file HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_THAT(client.read_answer(true), HasSubstr("Content-Length: 3000000\r\n"));
  client.write("GET /file HTTP/1.1\r\nHost: h\r\nRange: bytes=3000000-\r\n\r\n");
  EXPECT_THAT(client.read_answer(), StartsWith("HTTP/1.1 416 "));
}

TEST_F(ServerTest, TheQueueIsBounded) {
  start({.workers = 1, .queue = 1});
  RawClient first(server_->port());
  first.write("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n");
  entered_.wait();
  // One more waits in the queue; of two that come after it, at least one is refused at once.
  RawClient second(server_->port()), third(server_->port());
  for (RawClient* client : {&second, &third})
    client->write("GET /hello HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  std::string refused;
  pollfd wait[2] = {{second.fd(), POLLIN, 0}, {third.fd(), POLLIN, 0}};
  ASSERT_GT(::poll(wait, 2, 20'000), 0);
  RawClient& answered = wait[0].revents ? second : third;
  RawClient& queued = wait[0].revents ? third : second;
  const std::string answer = answered.read_to_end();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 503 "));
  EXPECT_THAT(answer, HasSubstr("Retry-After: 1\r\n"));
  gate_.set_value();
  EXPECT_THAT(queued.read_to_end(), testing::EndsWith("hello"));
  EXPECT_THAT(first.read_answer(), testing::EndsWith("waited"));
}

TEST_F(ServerTest, ConnectionsAreBoundedWhileAllAreWorkedOn) {
  start({.max_connections = 1});
  RawClient busy(server_->port());
  busy.write("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n");
  entered_.wait();
  RawClient newcomer(server_->port());
  newcomer.write("GET /hello HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_THAT(newcomer.read_to_end(), Not(HasSubstr("hello")));
  gate_.set_value();
  EXPECT_THAT(busy.read_answer(), testing::EndsWith("waited"));
}

TEST_F(ServerTest, WhoKeepsSilentGivesWayToWhoDoesNot) {
  start({.max_connections = 4});
  RawClient nothing(server_->port()), half_a_head(server_->port()), half_a_body(server_->port()), idle(server_->port());
  half_a_head.write("GET /hello HTTP/1.1\r\nHo");
  half_a_body.write("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n12");
  idle.write("GET /hello HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_THAT(idle.read_answer(), testing::EndsWith("hello"));
  std::vector<RawClient> kept;
  for (int i = 0; i < 20; ++i) {
    RawClient newcomer(server_->port());
    newcomer.write("GET /hello HTTP/1.1\r\nHost: h\r\n\r\n");
    ASSERT_THAT(newcomer.read_answer(), testing::EndsWith("hello")) << i;
    // Kept open: the next one needs a place, too.
    kept.push_back(std::move(newcomer));
  }
  EXPECT_EQ(nothing.read_to_end(), "");
  EXPECT_EQ(half_a_head.read_to_end(), "");
  EXPECT_EQ(half_a_body.read_to_end(), "");
}

TEST_F(ServerTest, TurnsWhileHandlersWait) {
  start({.loops = 2, .workers = 1});
  RawClient waiting(server_->port());
  waiting.write("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
  entered_.wait();
  EXPECT_TRUE(server_->turns_within(60'000));
  gate_.set_value();
  server_->stop();
  EXPECT_FALSE(server_->turns_within(20)) << "a loop that has ended";
}

TEST_F(ServerTest, ALoopThatHangsDoesNotTurn) {
  std::latch hung(1), let_go(1);
  const obs::Log log = obs::Log::to_sink(
      [&](std::string_view line) {
        if (line.find("handshake failed") == std::string_view::npos) return;
        hung.count_down();
        let_go.wait();
      },
      obs::Level::kDebug);
  const auto& certificates = test::certificates();
  const TlsConfig tls{certificates.cert("server"), certificates.key("server"), "", false};
  Server server({.tls = tls}, Router(std::vector<Route>()), log);
  RawClient client(server.port());
  client.write("this is no TLS\r\n\r\n");
  hung.wait();
  EXPECT_FALSE(server.turns_within(50));
  let_go.count_down();
  EXPECT_TRUE(server.turns_within(60'000));
}

TEST_F(ServerTest, StopLetsARequestUnderWayFinishAndClosesIdleConnections) {
  start();
  RawClient idle(server_->port()), busy(server_->port());
  idle.write("GET /hello HTTP/1.1\r\nHost: h\r\n\r\n");
  idle.read_answer();
  busy.write("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n");
  entered_.wait();
  std::thread stopper([&] { server_->stop(); });
  EXPECT_EQ(idle.read_to_end(), "");
  gate_.set_value();
  const std::string answer = busy.read_to_end();
  EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
  EXPECT_THAT(answer, testing::EndsWith("waited"));
  stopper.join();
  EXPECT_FALSE(RawClient(server_->port()).connected());
}

TEST_F(ServerTest, StopCutsOffWhatDoesNotEnd) {
  start({.drain_ms = 50});
  RawClient client(server_->port());
  client.write("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc");
  RawClient busy(server_->port());
  busy.write("GET /hello HTTP/1.1\r\nHost: h\r\n\r\n");
  busy.read_answer();
  server_->stop();
  EXPECT_THAT(client.read_to_end(), Not(HasSubstr("HTTP/1.1 200")));
}

TEST_F(ServerTest, APortInUseIsRefused) {
  start();
  try {
    Server second({.address = {.host = "127.0.0.1", .port = server_->port()}}, Router());
    FAIL() << "two servers on one port";
  } catch (const Error& e) {
    EXPECT_EQ(e.reason, "address_unavailable");
    EXPECT_THAT(e.message, HasSubstr("127.0.0.1:" + std::to_string(server_->port())));
  }
}

TEST_F(ServerTest, CountsByRouteNotByPath) {
  start({.loops = 2});
  for (int i = 0; i < 3; ++i)
    ask("GET /items/" + std::to_string(i) + " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  ask("GET /nothing HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  server_->stop();
  const std::string metrics = metrics_.prometheus_text();
  EXPECT_THAT(metrics, HasSubstr("tb_http_requests_total{route=\"/items/{id}\",status=\"200\"} 3\n"));
  EXPECT_THAT(metrics, HasSubstr("tb_http_requests_total{route=\"none\",status=\"404\"} 1\n"));
  EXPECT_THAT(metrics, HasSubstr("tb_http_errors_total{reason=\"not_found\"} 1\n"));
  EXPECT_THAT(metrics, HasSubstr("tb_http_connections 0\n"));
}

}  // namespace
}  // namespace tb::http
