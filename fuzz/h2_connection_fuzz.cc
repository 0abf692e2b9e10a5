// Bytes of an HTTP/2 client in pieces of any size: nothing is left over when it leaves, what it is told are frames of
// proper size, and what becomes a request is one that our strict reader takes.
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"
#include "sentinel/proxy/h2_connection.h"

namespace {

using namespace tb;
using namespace tb::sentinel::proxy;

class Looking final : public Filter {
  class Look final : public Visit {
    std::optional<Refusal> on_request(Exchange& exchange) override {
      const RequestHead& head = exchange.request;
      FUZZ_CHECK(!head.method.empty() && head.target.find_first_of(" \t\r\n") == std::string::npos);
      FUZZ_CHECK(head.minor == 1 && head.keep_alive && find_field(head.fields, "connection") == nullptr);
      for (const Field& field : head.fields) {
        FUZZ_CHECK(field.value.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos);
      }
      return Refusal{401, "invalid_api_key", "no"};
    }
  };
  std::unique_ptr<Visit> visit(const Exchange&) override { return std::make_unique<Look>(); }
};

struct Gate {
  ProxyOptions options;
  std::vector<std::unique_ptr<Filter>> filters;
  obs::Metrics metrics;
  std::optional<Engine> engine;
  Gate() {
    filters.push_back(std::make_unique<Looking>());
    engine.emplace(options, filters, obs::Log(), metrics);
  }
  void turn() {
    engine->poller.post([] {});  // so that it does not wait
    engine->round();
  }
};

/// What `fd` has been told; whole frames up to the last one.
void hear(int fd, std::string& heard) {
  char room[65536];
  for (ssize_t got = recv(fd, room, sizeof room, MSG_DONTWAIT); got > 0;
       got = recv(fd, room, sizeof room, MSG_DONTWAIT)) {
    heard.append(room, static_cast<std::size_t>(got));
  }
  while (heard.size() >= 9) {
    const auto byte = [&](std::size_t at) { return static_cast<std::size_t>(static_cast<unsigned char>(heard[at])); };
    const std::size_t bytes = byte(0) << 16 | byte(1) << 8 | byte(2);
    FUZZ_CHECK(bytes <= 16384 && byte(3) < 10);
    if (heard.size() < 9 + bytes) return;
    heard.erase(0, 9 + bytes);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  static Gate gate;
  Engine& engine = *gate.engine;
  if (bytes < 1) return 0;
  const std::size_t piece_bytes = 1 + data[0] % 64;
  std::string said = (data[0] & 64) != 0 ? "" : std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 33);
  said.append(reinterpret_cast<const char*>(data) + 1, bytes - 1);
  int pair[2];
  FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
  auto connection =
      std::make_unique<H2Connection>(engine, Stream(Fd(pair[0])), Peer{.address = "127.0.0.1", .tls = true});
  FUZZ_CHECK(engine.poller.watch(connection->stream(), *connection));
  engine.add(std::move(connection));
  std::string heard;
  for (std::size_t at = 0; at < said.size() && at / piece_bytes < 200; at += piece_bytes) {
    const std::string_view piece =
        std::string_view(said).substr(at, at / piece_bytes == 199 ? said.size() : piece_bytes);
    if (send(pair[1], piece.data(), piece.size(), MSG_NOSIGNAL) <= 0) break;
    gate.turn();
    hear(pair[1], heard);
  }
  for (int i = 0; i < 3; ++i) gate.turn();
  hear(pair[1], heard);
  close(pair[1]);
  for (int i = 0; i < 20 && !engine.clients.empty(); ++i) gate.turn();
  FUZZ_CHECK(engine.clients.empty());
  return 0;
}
