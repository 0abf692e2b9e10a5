#include "sentinel/proxy/upstream.h"

#include <sys/socket.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>

#include "base/clock.h"

namespace tb::sentinel::proxy {
namespace {

/// Neither ended nor readable: whatever stands there was not asked for.
bool is_quiet(UpstreamStream& stream) {
  char byte = 0;
  const ssize_t got = recv(stream.socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

}  // namespace

asio::awaitable<std::unique_ptr<UpstreamStream>> UpstreamPool::acquire() {
  while (!kept_.empty()) {
    Kept last = std::move(kept_.back());
    kept_.pop_back();
    if (boot_ms_now() - last.since_boot_ms > idle_ms_) {
      kept_.clear();  // all others are older
      break;
    }
    if (is_quiet(*last.stream)) co_return std::move(last.stream);
  }
  co_return co_await connect();
}

asio::awaitable<std::unique_ptr<UpstreamStream>> UpstreamPool::connect() {
  auto stream = std::make_unique<UpstreamStream>(asio::generic::stream_protocol::socket(io_));
  asio::generic::stream_protocol::endpoint endpoint;
  ErrorCode error;
  if (address_.is_unix()) {
    endpoint = asio::local::stream_protocol::endpoint(address_.unix_path);
  } else {
    const auto ip = asio::ip::make_address(address_.host, error);
    if (error) co_return nullptr;
    endpoint = asio::ip::tcp::endpoint(ip, address_.port);
  }
  asio::steady_timer timer(io_, std::chrono::milliseconds(connect_ms_));
  UpstreamStream* raw = stream.get();
  const auto on_timeout = [raw](const ErrorCode& cancelled) {
    if (!cancelled) raw->close();
  };
  timer.async_wait(on_timeout);
  const auto [failed] = co_await stream->socket().async_connect(endpoint, kAwait);
  // Cancelling comes too late if the timer has fired and its handler only waits to run: then the socket must stay alive
  // until it has, so the stream is not handed out.
  if (timer.cancel() == 0 && !failed) {
    co_await asio::post(io_, asio::use_awaitable);
    co_return nullptr;
  }
  if (failed) {
    co_await asio::post(io_, asio::use_awaitable);
    co_return nullptr;
  }
  if (!address_.is_unix()) stream->socket().set_option(asio::ip::tcp::no_delay(true), error);
  co_return std::move(stream);
}

void UpstreamPool::keep(std::unique_ptr<UpstreamStream> stream) {
  if (most_ == 0) return;
  if (kept_.size() >= most_) kept_.pop_front();
  kept_.push_back({std::move(stream), boot_ms_now()});
}

void UpstreamPool::set_address(RuntimeAddress address) {
  address_ = std::move(address);
  clear();
}

void UpstreamPool::clear() {
  kept_.clear();
}

}  // namespace tb::sentinel::proxy
