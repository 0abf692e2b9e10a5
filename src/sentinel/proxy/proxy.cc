#include "sentinel/proxy/proxy.h"

#include <openssl/ssl.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>
#include <future>

#include "async/loop.h"
#include "base/clock.h"
#include "sentinel/proxy/session.h"

namespace tb::sentinel::proxy {
namespace {

asio::ip::tcp::acceptor listen_on(asio::io_context& io, const http::ListenAddress& address) {
  ErrorCode error;
  const asio::ip::tcp::endpoint endpoint(asio::ip::make_address(address.host), address.port);
  asio::ip::tcp::acceptor acceptor(io);
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(asio::socket_base::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) throw Error("address_unavailable", "cannot listen on " + address.to_text() + ": " + error.message());
  return acceptor;
}

}  // namespace

struct Proxy::Impl {
  Impl(ProxyOptions options_in, std::vector<std::unique_ptr<Filter>> filters_in, obs::Log log_in)
      : options(std::move(options_in)),
        filters(std::move(filters_in)),
        log(std::move(log_in)),
        loop("tb-proxy", [this](const std::exception_ptr&) { log.error("a connection failed in an unforeseen way"); }),
        shared{.io = loop.io(),
               .options = options,
               .filters = filters,
               .pool = UpstreamPool(loop.io(), options.upstream, options.connect_ms, options.pool_idle_ms,
                                    options.pool_size),
               .log = log,
               .allowed = options.allowed,
               .sessions = {}} {}

  /// Runs `work` on the loop and waits for it.
  void on_loop(std::function<void()> work) {
    if (stopped) return;
    std::promise<void> done;
    loop.post([&] {
      work();
      done.set_value();
    });
    done.get_future().wait();
  }

  bool wait_until_empty(std::int64_t ms) {
    const std::int64_t deadline = boot_ms_now() + ms;
    while (true) {
      bool empty = stopped;
      on_loop([&] { empty = shared.sessions.empty(); });
      if (empty) return true;
      if (boot_ms_now() >= deadline) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }

  asio::awaitable<void> accept() {
    while (acceptor && acceptor->is_open()) {
      asio::ip::tcp::socket socket(shared.io);
      const auto [error] = co_await acceptor->async_accept(socket, kAwait);
      if (error == asio::error::operation_aborted || shared.draining) break;
      if (error) {  // no descriptors left, most likely: a pause lets some come back
        asio::steady_timer pause(shared.io, std::chrono::milliseconds(100));
        co_await pause.async_wait(kAwait);
        continue;
      }
      if (shared.sessions.size() >= options.max_connections) continue;
      const auto session = std::make_shared<Session>(shared, std::move(socket), tls ? &*tls : nullptr);
      const auto on_end = [this, session](const std::exception_ptr& fault) {
        if (fault) log.error("a connection failed in an unforeseen way");
        session->end();
      };
      asio::co_spawn(shared.io, session->serve(), on_end);
      asio::co_spawn(shared.io, session->watch_deadlines(), asio::detached);
    }
    accepting = false;
  }

  void cut() {
    shared.pool.clear();
    for (Session* session : shared.sessions) session->cut();
  }

  ProxyOptions options;
  std::vector<std::unique_ptr<Filter>> filters;
  obs::Log log;
  async::Loop loop;
  Shared shared;
  std::optional<asio::ssl::context> tls;
  std::optional<asio::ip::tcp::acceptor> acceptor;
  std::uint16_t port = 0;
  std::atomic<bool> accepting = false;
  std::atomic<bool> stopped = false;  ///< nothing runs on the loop any more
};

Proxy::Proxy(ProxyOptions options, std::vector<std::unique_ptr<Filter>> filters, obs::Log log)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(filters), std::move(log))) {}

Proxy::~Proxy() {
  stop(0);
}

void Proxy::open() {
  if (is_open()) return;
  if (impl_->options.tls) {
    const auto context = http::make_server_tls(*impl_->options.tls);
    SSL_CTX_up_ref(context.get());
    impl_->tls.emplace(context.get());
  }
  impl_->acceptor.emplace(listen_on(impl_->shared.io, impl_->options.address));
  impl_->port = impl_->acceptor->local_endpoint().port();
  impl_->accepting = true;
  impl_->on_loop([this] { asio::co_spawn(impl_->shared.io, impl_->accept(), asio::detached); });
}

bool Proxy::is_open() const {
  return impl_->accepting;
}

std::uint16_t Proxy::port() const {
  return impl_->port;
}

void Proxy::set_upstream(const RuntimeAddress& upstream) {
  impl_->on_loop([&] { impl_->shared.pool.set_address(upstream); });
}

void Proxy::narrow(const std::vector<std::string>& patterns) {
  impl_->on_loop([&] {
    impl_->shared.allowed = impl_->options.allowed;
    if (!patterns.empty()) impl_->shared.allowed.narrow(patterns);
  });
}

void Proxy::cut() {
  impl_->on_loop([this] { impl_->cut(); });
  impl_->wait_until_empty(10'000);
}

void Proxy::stop(std::int64_t drain_ms) {
  if (impl_->stopped) return;
  impl_->on_loop([this] {
    impl_->shared.draining = true;
    ErrorCode ignored;
    if (impl_->acceptor) impl_->acceptor->close(ignored);
    for (Session* session : impl_->shared.sessions) session->close_if_idle();
  });
  if (!impl_->wait_until_empty(drain_ms)) {
    impl_->on_loop([this] { impl_->cut(); });
    impl_->wait_until_empty(10'000);
  }
  impl_->on_loop([this] { impl_->shared.pool.clear(); });
  impl_->stopped = true;
  impl_->loop.stop();
}

}  // namespace tb::sentinel::proxy
