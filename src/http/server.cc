#include "http/server.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <condition_variable>
#include <mutex>
#include <unordered_set>

#include <fmt/format.h>

#include "async/loop.h"
#include "http/connection.h"

namespace tb::http {

namespace asio = boost::asio;
using asio::ip::tcp;

struct Server::Impl {
  /// A loop and the connections that live on it; only touched on it.
  struct Home {
    explicit Home(async::FaultHandler on_fault) : loop("tb-http", std::move(on_fault)) {}
    std::unordered_set<std::shared_ptr<Connection>> connections;
    async::Loop loop;  // last: its thread ends before the set goes
  };

  Impl(const ServerConfig& config, Router router, obs::Log log, obs::Metrics* metrics);
  ~Impl() { stop(); }

  void read_tls();
  bool turns_within(std::int64_t ms);
  void listen();
  asio::awaitable<void> accept_loop();
  void adopt(Home& home, tcp::socket socket);
  bool make_room(Home& home);
  void left(Home& home, const std::shared_ptr<Connection>& connection);
  void on_all_homes(void (Connection::*what)());
  void stop();

  ServerShared shared;
  std::vector<std::unique_ptr<Home>> homes;
  std::optional<tcp::acceptor> acceptor;
  std::uint16_t port = 0;
  std::mutex mutex;
  std::condition_variable changed;
  std::size_t open = 0;  ///< connections, counted from the accept
  bool accepting = false;
  std::mutex stop_mutex;
  bool stopped = false;
};

Server::Impl::Impl(const ServerConfig& config, Router router, obs::Log log, obs::Metrics* metrics) {
  shared.config = config;
  shared.router = std::move(router);
  shared.log = std::move(log);
  shared.metrics = metrics;
  read_tls();
  const auto on_fault = [this](std::exception_ptr) { shared.log.error("a callback of the server failed"); };
  shared.workers = std::make_unique<async::Workers>("tb-handler", config.workers, config.queue, on_fault);
  for (std::size_t i = 0; i < std::max<std::size_t>(config.loops, 1); ++i) {
    homes.push_back(std::make_unique<Home>(on_fault));
  }
  listen();
}

void Server::Impl::read_tls() {
  if (!shared.config.tls) return;
  const auto context = make_server_tls(*shared.config.tls);
  SSL_CTX_up_ref(context.get());  // Asio's wrapper takes one reference over
  auto tls = std::make_shared<asio::ssl::context>(context.get());
  const std::lock_guard lock(shared.tls_mutex);
  shared.tls.swap(tls);
}

bool Server::Impl::turns_within(std::int64_t ms) {
  struct Round {
    std::mutex mutex;
    std::condition_variable changed;
    std::size_t missing;
  };
  const auto round = std::make_shared<Round>();  // a loop that answers too late still finds it
  round->missing = homes.size();
  for (const auto& home : homes) {
    home->loop.post([round] {
      const std::lock_guard lock(round->mutex);
      --round->missing;
      round->changed.notify_all();
    });
  }
  std::unique_lock lock(round->mutex);
  return round->changed.wait_for(lock, std::chrono::milliseconds(ms), [&] { return round->missing == 0; });
}

void Server::Impl::listen() {
  const ListenAddress& address = shared.config.address;
  try {
    const tcp::endpoint endpoint(asio::ip::make_address(address.host), address.port);
    acceptor.emplace(homes[0]->loop.io());
    acceptor->open(endpoint.protocol());
    acceptor->set_option(tcp::acceptor::reuse_address(true));
    acceptor->bind(endpoint);
    acceptor->listen();
    port = acceptor->local_endpoint().port();
  } catch (const boost::system::system_error& e) {
    throw Error("address_unavailable", fmt::format("cannot listen on {}: {}", address.to_text(), e.code().message()));
  }
  accepting = true;
  const auto ended = [this](std::exception_ptr) {
    std::lock_guard lock(mutex);
    accepting = false;
    changed.notify_all();
  };
  asio::co_spawn(homes[0]->loop.io(), accept_loop(), ended);
}

asio::awaitable<void> Server::Impl::accept_loop() {
  for (std::size_t next = 0; !shared.draining; next = (next + 1) % homes.size()) {
    Home& home = *homes[next];
    boost::system::error_code ec;
    tcp::socket socket = co_await acceptor->async_accept(home.loop.io(), asio::redirect_error(asio::use_awaitable, ec));
    if (shared.draining) break;
    if (ec) {
      // Out of descriptors, most likely: accepting again at once would spin.
      const std::string why = ec.message();
      shared.log.warn("accept failed", {{"error", why}});
      asio::steady_timer pause(homes[0]->loop.io(), std::chrono::milliseconds(50));
      co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, ec));
      continue;
    }
    {
      std::lock_guard lock(mutex);
      ++open;
      if (shared.metrics)
        shared.metrics->gauge("tb_http_connections", "Open connections.").set(static_cast<double>(open));
    }
    const auto parcel = std::make_shared<tcp::socket>(std::move(socket));
    home.loop.post([this, &home, parcel] { adopt(home, std::move(*parcel)); });
  }
}

/// On the home's loop. A newcomer takes the place of whoever has kept silent longest: those who hold connections
/// without using them, however many, keep nobody out. One whose request is being worked on is never ended for it.
bool Server::Impl::make_room(Home& home) {
  const std::size_t bound = std::max<std::size_t>(shared.config.max_connections / homes.size(), 1);
  if (home.connections.size() < bound) return true;
  Connection* longest = nullptr;
  for (const auto& connection : home.connections) {
    if (!connection->silent_since()) continue;
    if (longest == nullptr || *connection->silent_since() < *longest->silent_since()) longest = connection.get();
  }
  if (longest == nullptr) return false;
  longest->abort();
  return true;
}

void Server::Impl::adopt(Home& home, tcp::socket socket) {
  if (!make_room(home)) return left(home, nullptr);  // the socket closes
  const auto connection = std::make_shared<Connection>(std::move(socket), shared);
  home.connections.insert(connection);
  const auto ended = [this, &home, connection](std::exception_ptr) { left(home, connection); };
  asio::co_spawn(home.loop.io(), connection->run(), ended);
}

void Server::Impl::left(Home& home, const std::shared_ptr<Connection>& connection) {
  home.connections.erase(connection);
  std::lock_guard lock(mutex);
  --open;
  if (shared.metrics) shared.metrics->gauge("tb_http_connections", "Open connections.").set(static_cast<double>(open));
  changed.notify_all();
}

void Server::Impl::on_all_homes(void (Connection::*what)()) {
  for (const auto& home : homes) {
    home->loop.post([&connections = home->connections, what] {
      for (const auto& connection : connections) ((*connection).*what)();
    });
  }
}

// Stop order: stop accepting, end what is idle, wait, cancel what is left, drain workers, end loops.
void Server::Impl::stop() {
  std::lock_guard stopping(stop_mutex);
  if (std::exchange(stopped, true)) return;
  shared.draining = true;
  homes[0]->loop.post([this] {
    boost::system::error_code ec;
    if (acceptor) acceptor->close(ec);
  });
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return !accepting; });
  lock.unlock();
  on_all_homes(&Connection::end_if_idle);
  lock.lock();
  const auto drain = std::chrono::milliseconds(shared.config.drain_ms);
  if (!changed.wait_for(lock, drain, [&] { return open == 0; })) {
    const std::size_t left_over = open;
    lock.unlock();
    shared.log.warn("connections cut off at shutdown", {{"connections", left_over}});
    on_all_homes(&Connection::abort);
    lock.lock();
    changed.wait(lock, [&] { return open == 0; });
  }
  lock.unlock();
  shared.workers->stop();
  for (const auto& home : homes) home->loop.stop();
}

Server::Server(const ServerConfig& config, Router router, obs::Log log, obs::Metrics* metrics)
    : impl_(std::make_unique<Impl>(config, std::move(router), std::move(log), metrics)) {}

Server::~Server() = default;

std::uint16_t Server::port() const {
  return impl_->port;
}

bool Server::turns_within(std::int64_t ms) {
  return impl_->turns_within(ms);
}

void Server::read_tls_again() {
  impl_->read_tls();
}

void Server::stop() {
  impl_->stop();
}

}  // namespace tb::http
