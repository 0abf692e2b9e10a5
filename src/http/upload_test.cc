// The gate that speaks before a body is read, and bodies that go to a sink.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "http/server.h"
#include "http/test_peer.h"

namespace tb::http {
namespace {

using test::RawClient;
using testing::HasSubstr;
using testing::StartsWith;

struct Seen {
  std::mutex mutex;
  std::string bytes;
  std::size_t largest = 0;
  int sinks_alive = 0;
};

class CountingSink final : public BodySink {
 public:
  explicit CountingSink(Seen& seen) : seen_(seen) { ++seen_.sinks_alive; }
  ~CountingSink() override { --seen_.sinks_alive; }
  void write(ByteView piece) override {
    std::lock_guard lock(seen_.mutex);
    if (as_text(piece).find("poison") != std::string_view::npos) throw Error("disk_full", "no room in /srv/secret");
    seen_.bytes += as_text(piece);
    seen_.largest = std::max(seen_.largest, piece.size());
  }

 private:
  Seen& seen_;
};

class UploadTest : public testing::Test {
 protected:
  UploadTest() {
    const Gate gate = [](Request& request, const Route& route) {
      EXPECT_TRUE(request.body.empty());
      if (route.who != "anyone" && request.bearer_token() != "right") throw Error("permission_denied", "wrong token");
      request.caller = std::string("me");
    };
    const auto put = [this](const Request& request) {
      EXPECT_TRUE(request.body_sink);
      EXPECT_EQ(std::any_cast<std::string>(request.caller), "me");
      std::lock_guard lock(seen_.mutex);
      return text(201, std::to_string(seen_.bytes.size()));
    };
    std::vector<Route> routes;
    routes.push_back({.method = "PUT",
                      .pattern = "/blob",
                      .who = "provider",
                      .body_limit_bytes = std::uint64_t{64} << 20,
                      .handler = put,
                      .open_body = [this](const Request&) { return std::make_unique<CountingSink>(seen_); }});
    routes.push_back({.method = "GET", .pattern = "/me", .who = "provider", .handler = [](const Request& request) {
                        return text(200, std::any_cast<std::string>(request.caller));
                      }});
    server_ = std::make_unique<Server>(ServerConfig{}, Router(std::move(routes), gate));
  }
  Seen seen_;
  std::unique_ptr<Server> server_;
};

TEST_F(UploadTest, ALargeBodyPassesInPieces) {
  RawClient client(server_->port());
  std::string body(20 << 20, 'b');
  for (std::size_t i = 0; i < body.size(); i += 997) body[i] = static_cast<char>('a' + i % 26);
  client.write("PUT /blob HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer right\r\nContent-Length: " +
               std::to_string(body.size()) + "\r\n\r\n");
  client.write(body);
  const std::string answer = client.read_answer();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 201 "));
  EXPECT_TRUE(seen_.bytes == body);
  EXPECT_LE(seen_.largest, std::size_t{1} << 20);
  server_->stop();
  EXPECT_EQ(seen_.sinks_alive, 0);
}

TEST_F(UploadTest, TheGateRefusesBeforeTheBodyIsRead) {
  RawClient client(server_->port());
  client.write(
      "PUT /blob HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer wrong\r\nContent-Length: 1000000\r\nExpect: "
      "100-continue\r\n\r\n");
  EXPECT_THAT(client.read_to_end(), StartsWith("HTTP/1.1 403 "));
  EXPECT_EQ(seen_.bytes, "");
}

TEST_F(UploadTest, TheGateHoldsForRequestsWithoutABody) {
  RawClient client(server_->port());
  client.write("GET /me HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_THAT(client.read_answer(), StartsWith("HTTP/1.1 403 "));
  client.write("GET /me HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer right\r\n\r\n");
  EXPECT_THAT(client.read_answer(), testing::EndsWith("\r\n\r\nme"));
}

TEST_F(UploadTest, ASinkMayRefuseAndIsDropped) {
  RawClient client(server_->port());
  client.write("PUT /blob HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer right\r\nContent-Length: 100000\r\n\r\npoison");
  const std::string answer = client.read_to_end();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 507 "));
  EXPECT_THAT(answer, testing::Not(HasSubstr("/srv/secret")));
  server_->stop();
  EXPECT_EQ(seen_.sinks_alive, 0);
}

TEST_F(UploadTest, AClientThatGoesAwayDropsTheSink) {
  {
    RawClient client(server_->port());
    client.write("PUT /blob HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer right\r\nContent-Length: 100000\r\n\r\nabc");
  }
  server_->stop();
  EXPECT_EQ(seen_.sinks_alive, 0);
  EXPECT_LE(seen_.bytes.size(), 3u);
}

}  // namespace
}  // namespace tb::http
