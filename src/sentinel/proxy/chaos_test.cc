// Clients and a runtime that do anything at any moment, while the gate is cut now and then: every request that began
// has ended, and nothing of it is left: no connection and no descriptor.
#include <gtest/gtest.h>

#include <filesystem>
#include <random>

#include "base/test_scale.h"
#include "sentinel/proxy/peers_test.h"

namespace tb::sentinel::proxy {
namespace {

using test::eventually;
using test::FunctionTransform;
using test::Runtime;
using test::Wire;

std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

class ChaosTest : public test::ProxyCase {
 protected:
  /// One of `all` by a generator of its own for each thread.
  using Random = std::minstd_rand;

  static void misbehave(Wire& wire, Random& random) {
    static const std::string kBody(200'000, 'y');
    static const std::string kEvents =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    while (!wire.message().empty()) {
      switch (random() % 8) {
        case 0:
          return wire.close_hard();
        case 1:
          wire.say("HTTP/1.1 200 OK\r\nContent-Le");
          return;
        case 2:
          wire.say("HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + kBody);
          return;
        case 3:
          wire.say("HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + kBody + "more");
          break;
        case 4:
          wire.say(kEvents);
          for (int i = 0; i < 20; ++i) wire.say("9\r\ndata: x\n\n\r\n");
          if (random() % 2 == 0) return;
          wire.say("0\r\n\r\n");
          break;
        case 5:
          wire.say(kEvents + "zz");
          return;
        default:
          wire.say("HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + kBody);
      }
    }
  }

  void ask_anything(Random& random) {
    static const std::string kBody(100'000, 'x');
    Wire wire = client();
    for (int requests = 0; requests < 3; ++requests) {
      switch (random() % 8) {
        case 0:
          return wire.close_hard();
        case 1:
          wire.say("POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhalf");
          return;
        case 2:
          wire.say("POST /v1/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n");
          wire.to_end();
          return;
        case 3:
          wire.say(post(kBody));
          wire.more();
          return wire.close_hard();
        case 4:
          wire.say(chunked(kBody, 3000));
          break;
        case 5:
          wire.say("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
          break;
        default:
          wire.say(post(kBody));
      }
      if (wire.message().empty()) return;
    }
  }
};

TEST_F(ChaosTest, NothingIsLeft) {
  const std::size_t descriptors = open_descriptors();
  FunctionTransform as_it_is([](std::string_view in, bool, std::string& out) {
    out.append(in);
    return std::optional<Refusal>();
  });
  first_.request = first_.response = &as_it_is;
  second_.drain = DrainBounds{.ms = 50, .bytes = 100'000};
  std::atomic<int> begun = 0;
  second_.on_request = [&](Exchange&) {
    ++begun;
    return std::optional<Refusal>();
  };
  {
    Runtime runtime([](Wire& wire, int connection) {
      Random random(static_cast<unsigned>(connection) + 1);
      misbehave(wire, random);
    });
    begin(runtime.address, {.head_ms = 2'000, .client_ms = 2'000, .upstream_ms = 2'000});
    std::vector<std::thread> clients;
    std::atomic<bool> over = false;
    for (unsigned i = 0; i < 6; ++i) {
      clients.emplace_back([this, i] {
        Random random(1000 + i);
        for (int n = tb::test::scaled(300); n > 0; --n) ask_anything(random);
      });
    }
    std::thread cuts([&] {
      while (!over) {
        std::this_thread::sleep_for(std::chrono::milliseconds(40));
        proxy_->cut(reason_of(Gate::Door::kSuspended));
      }
    });
    for (std::thread& thread : clients) thread.join();
    over = true;
    cuts.join();
    proxy_->stop(0);
    EXPECT_EQ(metrics_.gauge("trustbridge_sentinel_connections", "").value(), 0);
    const std::scoped_lock lock(second_.mutex);
    EXPECT_GT(begun, 100);
    EXPECT_GE(second_.ended, begun) << "every request that began has a record";
    proxy_.reset();
  }
  EXPECT_TRUE(eventually([&] { return open_descriptors() <= descriptors; })) << open_descriptors() - descriptors;
}

}  // namespace
}  // namespace tb::sentinel::proxy
