// A client that waits holds no worker, gets its answer when it is there, in time, or when the server stops.
#include "http/late_answer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "http/server.h"
#include "http/test_peer.h"

namespace tb::http {
namespace {

using test::RawClient;
using testing::HasSubstr;

constexpr const char* kWait = "GET /late HTTP/1.1\r\nHost: h\r\n\r\n";
constexpr std::int64_t kLong = 600'000;

class LateAnswerTest : public testing::Test {
 protected:
  void start(std::int64_t wait_ms) {
    std::vector<Route> routes;
    routes.push_back({.method = "GET", .pattern = "/late", .handler = [this, wait_ms](const Request&) {
                        auto late = std::make_shared<LateAnswer>(wait_ms, text(200, "nothing happened"));
                        const std::lock_guard lock(mutex_);
                        waiting_.push_back(late);
                        came_.notify_all();
                        Response response;
                        response.late = late;
                        return response;
                      }});
    routes.push_back({.method = "GET", .pattern = "/now", .handler = [](const Request&) { return text(200, "now"); }});
    server_ = std::make_unique<Server>(ServerConfig{.workers = 1}, Router(std::move(routes)));
  }
  std::vector<std::shared_ptr<LateAnswer>> wait_for(std::size_t count) {
    std::unique_lock lock(mutex_);
    came_.wait(lock, [&] { return waiting_.size() >= count; });
    return waiting_;
  }

  std::mutex mutex_;
  std::condition_variable came_;
  std::vector<std::shared_ptr<LateAnswer>> waiting_;
  std::unique_ptr<Server> server_;
};

TEST_F(LateAnswerTest, WaitersHoldNoWorker) {
  start(kLong);
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(std::make_unique<RawClient>(server_->port()));
    clients.back()->write(kWait);
  }
  const auto waiting = wait_for(20);
  RawClient other(server_->port());
  other.write("GET /now HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_THAT(other.read_answer(), HasSubstr("now")) << "the one worker is free";
  for (const auto& late : waiting) late->complete(text(200, "it happened"));
  for (const auto& client : clients) {
    EXPECT_THAT(client->read_answer(), HasSubstr("it happened"));
    client->write("GET /now HTTP/1.1\r\nHost: h\r\n\r\n");
    EXPECT_THAT(client->read_answer(), HasSubstr("now")) << "the connection goes on";
  }
}

TEST_F(LateAnswerTest, ItsTimeEndsTheWait) {
  start(20);
  RawClient client(server_->port());
  client.write(kWait);
  EXPECT_THAT(client.read_answer(), HasSubstr("nothing happened"));
  wait_for(1)[0]->complete(text(200, "too late"));
  client.write("GET /now HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_THAT(client.read_answer(), HasSubstr("now"));
}

TEST_F(LateAnswerTest, AStopOfTheServerEndsTheWait) {
  start(kLong);
  RawClient client(server_->port());
  client.write(kWait);
  wait_for(1);
  server_->stop();
  EXPECT_THAT(client.read_to_end(), HasSubstr("nothing happened"));
}

TEST_F(LateAnswerTest, AClientThatWentAwayAndACompletionAfterTheServerAreHarmless) {
  start(kLong);
  {
    RawClient client(server_->port());
    client.write(kWait);
    wait_for(1);
  }
  wait_for(1)[0]->complete(text(200, "for nobody"));
  RawClient client(server_->port());
  client.write(kWait);
  const auto late = wait_for(2)[1];
  server_.reset();
  late->complete(text(200, "for nobody"));
}

TEST(LateAnswer, TheFirstCompletionCounts) {
  LateAnswer late(kLong, text(200, "nothing"));
  int woken = 0;
  late.complete(text(200, "first"));
  late.complete(text(200, "second"));
  late.when_completed([&] { ++woken; });
  EXPECT_EQ(woken, 1);
  EXPECT_EQ(late.take().body, "first");
  late.complete(text(200, "third"));
  EXPECT_EQ(woken, 1);
}

}  // namespace
}  // namespace tb::http
