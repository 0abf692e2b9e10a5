#include "sentinel/proxy/proxy.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <future>
#include <thread>

#include "base/clock.h"
#include "sentinel/proxy/session.h"
#include "sentinel/proxy/tls_files.h"

namespace tb::sentinel::proxy {
namespace {

constexpr int kAcceptsPerRound = 64;
constexpr std::int64_t kPauseMs = 100;
constexpr std::int64_t kCutMostMs = 10'000;
constexpr Refusal kShuttingDown{503, "shutting_down", "this server is shutting down"};

Fd listen_on(const http::ListenAddress& address) {
  const auto fail = [&]() -> Fd {
    throw Error("address_unavailable", "cannot listen on " + address.to_text() + ": " + std::strerror(errno));
  };
  sockaddr_storage where{};
  socklen_t bytes = sizeof(sockaddr_in);
  auto* const v4 = reinterpret_cast<sockaddr_in*>(&where);
  if (inet_pton(AF_INET, address.host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(address.port);
  } else {
    auto* const v6 = reinterpret_cast<sockaddr_in6*>(&where);
    errno = EINVAL;
    if (inet_pton(AF_INET6, address.host.c_str(), &v6->sin6_addr) != 1) return fail();
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(address.port);
    bytes = sizeof(sockaddr_in6);
  }
  Fd fd(socket(where.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail();
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // accepted ones inherit it
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&where), bytes) != 0 || listen(fd.get(), SOMAXCONN) != 0) {
    return fail();
  }
  return fd;
}

std::uint16_t port_of(int fd) {
  sockaddr_storage where{};
  socklen_t bytes = sizeof where;
  getsockname(fd, reinterpret_cast<sockaddr*>(&where), &bytes);
  return ntohs(where.ss_family == AF_INET ? reinterpret_cast<const sockaddr_in&>(where).sin_port
                                          : reinterpret_cast<const sockaddr_in6&>(where).sin6_port);
}

/// Numeric; an IPv4 address that came through an IPv6 socket as such.
std::string address_of(const sockaddr_storage& peer) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (peer.ss_family == AF_INET) {
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(peer).sin_addr, text.data(), text.size());
  } else {
    const in6_addr& address = reinterpret_cast<const sockaddr_in6&>(peer).sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(&address)) {
      inet_ntop(AF_INET, &address.s6_addr[12], text.data(), text.size());
    } else {
      inet_ntop(AF_INET6, &address, text.data(), text.size());
    }
  }
  return text.data();
}

}  // namespace

struct Proxy::Impl final : Watched {
  Impl(ProxyOptions options_in, std::vector<std::unique_ptr<Filter>> filters_in, obs::Log log_in,
       obs::Metrics* metrics_in)
      : options(std::move(options_in)),
        filters(std::move(filters_in)),
        log(std::move(log_in)),
        metrics(metrics_in != nullptr ? *metrics_in : own_metrics),
        engine(options, filters, log, metrics) {
    thread = std::thread([this] { run(); });
    pthread_setname_np(thread.native_handle(), "tb-proxy");
  }

  void run() {
    // OpenSSL writes to sockets without a word about signals. Blocked here it is no signal, only an error.
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
    while (!ended) {
      try {
        engine.round();
      } catch (...) {
        log.error("the proxy's loop failed in an unforeseen way");
      }
    }
  }

  /// Runs `work` on the loop and waits for it.
  void on_loop(const std::function<void()>& work) {
    if (stopped) return;
    std::promise<void> done;
    engine.poller.post([&] {
      work();
      done.set_value();
    });
    done.get_future().wait();
  }

  bool wait_until(std::int64_t ms, const std::function<bool()>& is_so) {
    const std::int64_t deadline = boot_ms_now() + ms;
    while (true) {
      bool so = stopped;
      on_loop([&] { so = is_so(); });
      if (so) return true;
      if (boot_ms_now() >= deadline) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }

  void on_ready(std::uint32_t) override {
    for (int i = 0; i < kAcceptsPerRound; ++i) {
      sockaddr_storage from{};
      socklen_t bytes = sizeof from;
      Fd fd(accept4(listener.get(), reinterpret_cast<sockaddr*>(&from), &bytes, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!fd) {
        if (errno == EINTR || errno == ECONNABORTED) continue;
        if (errno != EAGAIN && errno != EWOULDBLOCK) pause();
        return;
      }
      if (engine.clients.size() >= options.max_connections) {
        engine.instruments.turned_away.add();
        continue;
      }
      serve(std::move(fd), address_of(from));
    }
  }

  void serve(Fd fd, std::string address) {
    if (address.starts_with("127.") || address == "::1") tune_for_loopback(fd.get());
    Stream client(std::move(fd));
    if (!client.secure(tls ? tls->current(engine.poller.now_ms()) : nullptr)) return;
    Peer peer{.address = std::move(address), .tls = tls.has_value()};
    auto session = std::make_unique<Session>(engine, std::move(client), std::move(peer));
    if (engine.poller.watch(session->stream(), *session)) engine.add(std::move(session));
  }

  /// No descriptors left, most likely: a pause lets some come back.
  void pause() {
    engine.poller.forget(listener.get());
    engine.call_at(engine.poller.now_ms() + kPauseMs, [this] {
      if (listener) engine.poller.watch_listener(listener.get(), *this);
    });
  }

  ProxyOptions options;
  std::vector<std::unique_ptr<Filter>> filters;
  obs::Log log;
  obs::Metrics own_metrics;
  obs::Metrics& metrics;
  Engine engine;
  std::optional<TlsFiles> tls;
  Fd listener;
  std::uint16_t port = 0;
  std::atomic<bool> accepting = false;
  std::atomic<bool> stopped = false;  ///< nothing runs on the loop any more
  bool ended = false;                 ///< of the loop's thread
  std::thread thread;
};

Proxy::Proxy(ProxyOptions options, std::vector<std::unique_ptr<Filter>> filters, obs::Log log, obs::Metrics* metrics)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(filters), std::move(log), metrics)) {}

Proxy::~Proxy() {
  stop(0);
}

void Proxy::open() {
  if (is_open() || impl_->stopped) return;
  if (impl_->options.tls) impl_->tls.emplace(*impl_->options.tls, impl_->log, impl_->metrics);
  impl_->listener = listen_on(impl_->options.address);
  impl_->port = port_of(impl_->listener.get());
  impl_->accepting = true;
  impl_->on_loop([this] { impl_->engine.poller.watch_listener(impl_->listener.get(), *impl_); });
}

bool Proxy::is_open() const {
  return impl_->accepting;
}

std::uint16_t Proxy::port() const {
  return impl_->port;
}

void Proxy::set_upstream(const RuntimeAddress& upstream, std::shared_ptr<runtime::Connector> connector,
                         std::shared_ptr<const SecretString> bearer) {
  impl_->on_loop([&] {
    impl_->engine.bearer = std::move(bearer);
    impl_->engine.pool.set_address(upstream, std::move(connector));
  });
}

void Proxy::narrow(const std::vector<std::string>& patterns) {
  impl_->on_loop([&] {
    impl_->engine.allowed = impl_->options.allowed;
    if (!patterns.empty()) impl_->engine.allowed.narrow(patterns);
  });
}

bool Proxy::turns_within(std::int64_t ms) {
  if (impl_->stopped) return true;
  const auto turned = std::make_shared<std::promise<void>>();  // a loop that answers too late still finds it
  impl_->engine.poller.post([turned] { turned->set_value(); });
  return turned->get_future().wait_for(std::chrono::milliseconds(ms)) == std::future_status::ready || impl_->stopped;
}

void Proxy::cut(const Refusal& reason) {
  impl_->on_loop([&] { impl_->engine.cut(reason); });
  impl_->wait_until(kCutMostMs, [this] { return impl_->engine.left_of_cut() == 0; });
}

void Proxy::stop(std::int64_t drain_ms, std::int64_t accept_ms) {
  if (impl_->stopped) return;
  if (accept_ms > 0 && is_open()) {
    impl_->on_loop([this] { impl_->engine.say_ending(false); });
    std::this_thread::sleep_for(std::chrono::milliseconds(accept_ms));
  }
  impl_->on_loop([this] {
    impl_->engine.poller.forget(impl_->listener.get());
    impl_->listener = Fd();
    impl_->engine.say_ending(true);
  });
  impl_->accepting = false;
  const auto is_empty = [this] { return impl_->engine.clients.empty(); };
  if (!impl_->wait_until(drain_ms, is_empty)) {
    impl_->on_loop([this] { impl_->engine.cut(kShuttingDown); });
    impl_->wait_until(kCutMostMs, is_empty);
  }
  impl_->on_loop([this] {
    impl_->engine.pool.clear();
    impl_->ended = true;
  });
  impl_->stopped = true;
  impl_->thread.join();
}

}  // namespace tb::sentinel::proxy
