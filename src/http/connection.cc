#include "http/connection.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/clock.h"
#include "base/secret.h"
#include "http/late_answer.h"
#include "http/on_worker.h"
#include "http/response_head.h"

namespace tb::http {

namespace asio = boost::asio;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

constexpr std::size_t kHeadRead = 16 * 1024;
constexpr std::size_t kBodyRead = 256 * 1024;
constexpr std::uint64_t kReserve = std::uint64_t{1} << 20;
constexpr std::uint64_t kMinBytesPerMs = 1;
constexpr auto kLingerTime = milliseconds(1000);
constexpr std::size_t kLingerBytes = std::size_t{16} << 20;

}  // namespace

/// One request's way through the connection.
struct Connection::Exchange {
  explicit Exchange(std::size_t header_bytes) : reader(header_bytes) {}
  ~Exchange() {
    // Either may hold a key.
    wipe(request().body.data(), request().body.size());
    wipe(response.body.data(), response.body.size());
  }
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;
  Request& request() { return reader.request(); }

  RequestReader reader;
  Router::Match match;
  bool gated = false;
  bool broken = false;  ///< the reader refused it: where the next request begins, nobody knows
  std::optional<Error> refusal;
  Response response;
  steady_clock::time_point started;
};

Connection::Connection(asio::ip::tcp::socket socket, ServerShared& shared)
    : socket_(std::move(socket)), shared_(shared), timer_(socket_.get_executor()) {
  boost::system::error_code ec;
  socket_.set_option(asio::ip::tcp::no_delay(true), ec);
  socket_.native_non_blocking(true, ec);
  const auto peer = socket_.remote_endpoint(ec);
  auto address = peer.address();
  if (address.is_v6() && address.to_v6().is_v4_mapped())
    address = asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
  peer_address_ = address.to_string();
  peer_port_ = peer.port();
  peer_is_loopback_ = !ec && address.is_loopback();
  const std::lock_guard lock(shared_.tls_mutex);
  if (shared_.tls) tls_.emplace(socket_, *shared_.tls);  // a stream keeps what it needs of it
}

void Connection::abort() {
  aborted_ = true;
  silent_since_.reset();
  wake_late();
  boost::system::error_code ec;
  // Not close(): a worker may be inside sendfile, and the descriptor's number must stay ours until it returns.
  socket_.shutdown(asio::ip::tcp::socket::shutdown_both, ec);
  socket_.cancel(ec);
}

void Connection::end_if_idle() {
  if (idle_) abort();
  wake_late();
}

void Connection::wake_late() {
  if (late_timer_ != nullptr) late_timer_->cancel();
}

void Connection::consume(std::size_t bytes) {
  consumed_ += bytes;
  if (consumed_ < buffer_.size()) return;
  // A body may have held a key.
  wipe(buffer_.data(), buffer_.size());
  buffer_.clear();
  consumed_ = 0;
}

void Connection::start_timer() {
  timer_runs_ = true;
  timer_.expires_at(deadline_);
  timer_.async_wait([self = shared_from_this()](const boost::system::error_code& ec) {
    if (ec) return;
    self->timer_runs_ = false;
    if (self->deadline_ == TimePoint::max()) return;
    if (self->deadline_ > steady_clock::now()) return self->start_timer();
    self->timed_out_ = true;
    boost::system::error_code ignored;
    self->socket_.cancel(ignored);
  });
}

void Connection::arm(TimePoint deadline) {
  // The timer is left alone while it is early enough: a deadline that moves with every read costs a store.
  deadline_ = deadline;
  timed_out_ = false;
  if (!timer_runs_ || timer_.expiry() > deadline) start_timer();
}

asio::awaitable<std::size_t> Connection::read_some(TimePoint deadline, std::size_t room) {
  if (aborted_) co_return 0;
  if (consumed_ > 0) {
    buffer_.erase(0, consumed_);
    consumed_ = 0;
  }
  const std::size_t held = buffer_.size();
  buffer_.resize(held + room);
  const asio::mutable_buffer into(buffer_.data() + held, room);
  boost::system::error_code ec;
  arm(deadline);
  silent_since_ = steady_clock::now();
  std::size_t got = 0;
  if (tls_) {
    got = co_await tls_->async_read_some(into, asio::redirect_error(asio::use_awaitable, ec));
  } else {
    got = co_await socket_.async_read_some(into, asio::redirect_error(asio::use_awaitable, ec));
  }
  silent_since_.reset();
  disarm();
  buffer_.resize(held + got);
  co_return aborted_ || timed_out_ || ec ? 0 : got;
}

asio::awaitable<bool> Connection::write_all(std::string_view first, std::string_view second) {
  std::array<asio::const_buffer, 2> parts{asio::const_buffer(first.data(), first.size()),
                                          asio::const_buffer(second.data(), second.size())};
  while (parts[0].size() + parts[1].size() > 0) {
    if (aborted_) co_return false;
    boost::system::error_code ec;
    arm(steady_clock::now() + milliseconds(shared_.config.write_ms));
    std::size_t sent = 0;
    if (tls_) {
      sent = co_await tls_->async_write_some(parts, asio::redirect_error(asio::use_awaitable, ec));
    } else {
      sent = co_await socket_.async_write_some(parts, asio::redirect_error(asio::use_awaitable, ec));
    }
    disarm();
    if (ec || aborted_ || timed_out_) co_return false;
    const std::size_t of_first = std::min(sent, parts[0].size());
    parts[0] += of_first;
    parts[1] += sent - of_first;
  }
  co_return true;
}

asio::awaitable<bool> Connection::handshake() {
  boost::system::error_code ec;
  arm(steady_clock::now() + milliseconds(shared_.config.header_ms));
  silent_since_ = steady_clock::now();
  co_await tls_->async_handshake(asio::ssl::stream_base::server, asio::redirect_error(asio::use_awaitable, ec));
  silent_since_.reset();
  disarm();
  if (ec || aborted_ || timed_out_) {
    const std::string why = ec.message();
    shared_.log.debug("tls handshake failed", {{"peer", peer_address_}, {"error", why}});
    co_return false;
  }
  client_cert_sha256_ = peer_cert_sha256(tls_->native_handle());
  co_return true;
}

asio::awaitable<void> Connection::run() {
  const auto self = shared_from_this();
  try {
    bool open = !tls_ || co_await handshake();
    while (open) open = co_await exchange();
    if (tls_ && !aborted_ && !timed_out_) {
      boost::system::error_code ec;
      arm(steady_clock::now() + kLingerTime);
      co_await tls_->async_shutdown(asio::redirect_error(asio::use_awaitable, ec));
    }
  } catch (const std::exception& e) {
    const std::string why = e.what();
    shared_.log.error("connection failed", {{"peer", peer_address_}, {"error", why}});
  }
  disarm();
  timer_.cancel();
  boost::system::error_code ec;
  socket_.close(ec);
}

asio::awaitable<bool> Connection::exchange() {
  Exchange x(shared_.config.header_bytes);
  if (!co_await read_head(x)) co_return false;
  ++requests_;
  if (!x.refusal) choose_route(x);
  if (!x.refusal) co_await take_body(x);
  if (aborted_ || (timed_out_ && !x.refusal)) co_return false;
  if (!x.refusal) {
    auto job = [&] { call_handler(x); };
    if (!co_await on_worker(job)) x.refusal.emplace("server_busy", "too many requests are waiting");
  }
  if (!x.refusal && x.response.late) co_await await_late(x);
  x.request().body_sink.reset();
  if (x.refusal) {
    x.response = problem(*x.refusal);
    if (shared_.metrics) {
      shared_.metrics
          ->counter("tb_http_errors_total", "Refusals and failures, by reason.", {{"reason", x.refusal->reason}})
          .add();
    }
    if (!x.match.allow.empty()) x.response.headers.add("Allow", x.match.allow);
  }
  const bool unread_rest = x.broken || !x.reader.all_done();
  const bool close = unread_rest || !x.reader.may_keep_alive() || shared_.draining;
  const bool sent = co_await answer(x, close);
  account(x);
  if (sent && unread_rest) co_await linger();
  co_return sent && !close;
}

asio::awaitable<bool> Connection::read_head(Exchange& x) {
  // Between requests the connection is idle; the first byte starts the header's own deadline, as does the accept.
  TimePoint deadline = steady_clock::now() + milliseconds(shared_.config.header_ms);
  bool begun = requests_ == 0;
  for (;;) {
    if (!unread().empty()) {
      try {
        consume(x.reader.feed(unread()));
      } catch (const Error& e) {
        x.broken = true;
        x.refusal = e;
      }
      if (x.refusal || x.reader.head_done()) break;
    }
    idle_ = unread().empty();
    if (idle_ && shared_.draining) co_return false;
    const bool waits = idle_ && !begun;
    const std::size_t got =
        co_await read_some(waits ? steady_clock::now() + milliseconds(shared_.config.idle_ms) : deadline, kHeadRead);
    idle_ = false;
    if (got == 0) {
      if (aborted_ || unread().empty() || !timed_out_) co_return false;
      x.refusal.emplace("request_timeout", "the request's header did not come in time");
      break;
    }
    if (waits) deadline = steady_clock::now() + milliseconds(shared_.config.header_ms);
    begun = true;
  }
  x.started = steady_clock::now();
  co_return true;
}

void Connection::choose_route(Exchange& x) {
  Request& request = x.request();
  request.peer_address = peer_address_;
  request.peer_port = peer_port_;
  request.peer_is_loopback = peer_is_loopback_;
  request.client_cert_sha256 = client_cert_sha256_;
  x.match = shared_.router.match(request.method, request.path);
  if (!x.match.route && x.match.allow.empty()) {
    x.refusal.emplace("not_found", "there is nothing at this path");
  } else if (!x.match.route) {
    x.refusal.emplace("method_not_allowed", "this path does not take that method");
  } else if (x.reader.declared_bytes() > x.match.route->body_limit_bytes) {
    x.refusal.emplace("body_too_large", "the request's body is too large");
  }
  request.params = x.match.params;
}

asio::awaitable<void> Connection::take_body(Exchange& x) {
  const Route& route = *x.match.route;
  // A body that came along with its head costs nothing any more: the gate then goes with the handler, and the request
  // changes threads once instead of twice.
  const bool is_here = !x.reader.chunked() && x.reader.declared_bytes() <= unread().size();
  if ((x.reader.has_body() && shared_.router.gate() && !is_here) || route.open_body) {
    auto job = [&] { open_sink(x); };
    if (!co_await on_worker(job)) x.refusal.emplace("server_busy", "too many requests are waiting");
    if (x.refusal) co_return;
  }
  if (x.reader.expects_continue() && !x.reader.all_done() && unread().empty()) {
    if (!co_await write_all("HTTP/1.1 100 Continue\r\n\r\n", {})) co_return abort();
  }
  // Growing would leave copies behind that nobody wipes.
  if (!x.request().body_sink) x.request().body.reserve(std::min<std::uint64_t>(x.reader.declared_bytes(), kReserve));
  const auto began = steady_clock::now();
  std::uint64_t total = 0;
  while (!x.reader.all_done()) {
    std::size_t used = 0;
    try {
      if (!unread().empty()) used = x.reader.feed(unread());
    } catch (const Error& e) {
      x.broken = true;
      x.refusal = e;
      co_return;
    }
    consume(used);
    std::string piece = x.reader.take_body();
    total += piece.size();
    if (total > route.body_limit_bytes) {
      x.refusal.emplace("body_too_large", "the request's body is too large");
    } else if (!x.request().body_sink) {
      x.request().body.append(piece);
    } else if (!piece.empty()) {
      auto job = [&] { x.refusal = refusal_of([&] { x.request().body_sink->write(as_bytes(piece)); }, shared_.log); };
      if (!co_await on_worker(job)) x.refusal.emplace("server_busy", "too many requests are waiting");
    }
    wipe(piece.data(), piece.size());
    if (x.refusal || x.reader.all_done()) co_return;
    if (used > 0 && !unread().empty()) continue;
    // Progress counts only at kMinBytesPerMs and more: a byte now and then must not hold a connection for hours.
    const auto fair = began + milliseconds(shared_.config.read_ms + static_cast<std::int64_t>(total / kMinBytesPerMs));
    const auto deadline = std::min(steady_clock::now() + milliseconds(shared_.config.read_ms), fair);
    const std::uint64_t left = x.reader.chunked() ? kBodyRead : x.reader.content_length_remaining().value_or(0);
    const auto room = static_cast<std::size_t>(std::clamp<std::uint64_t>(left, kHeadRead, kBodyRead));
    if (co_await read_some(deadline, room) == 0) {
      if (!timed_out_ || aborted_) co_return abort();
      x.refusal.emplace("request_timeout", "the request's body did not come in time");
      co_return;
    }
  }
}

void Connection::open_sink(Exchange& x) {
  x.refusal = refusal_of(
      [&] {
        if (shared_.router.gate()) shared_.router.gate()(x.request(), *x.match.route);
        x.gated = true;
        if (x.match.route->open_body) x.request().body_sink = x.match.route->open_body(x.request());
      },
      shared_.log);
}

void Connection::call_handler(Exchange& x) {
  x.refusal = refusal_of(
      [&] {
        if (!x.gated && shared_.router.gate()) shared_.router.gate()(x.request(), *x.match.route);
        x.response = x.match.route->handler(x.request());
      },
      shared_.log);
}

asio::awaitable<void> Connection::await_late(Exchange& x) {
  const auto late = std::exchange(x.response.late, nullptr);
  const auto executor = co_await asio::this_coro::executor;
  asio::steady_timer pause(executor, milliseconds(late->wait_ms()));
  auto wake = [executor, weak = weak_from_this()] {
    asio::post(executor, [weak] {
      if (const auto self = weak.lock()) self->wake_late();
    });
  };
  late->when_completed(wake);
  if (!shared_.draining && !aborted_) {
    late_timer_ = &pause;
    boost::system::error_code ec;
    co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, ec));
    late_timer_ = nullptr;
  }
  x.response = late->take();
}

asio::awaitable<bool> Connection::answer(Exchange& x, bool close) {
  Response& response = x.response;
  const bool bodiless = response.status == 204 || response.status == 304;
  std::optional<std::uint64_t> length;
  if (!bodiless) length = response.file ? response.file->length : response.body.size();
  std::string head;
  try {
    head = response_head(response, length, close, unix_ms_now());
  } catch (const Error& e) {
    shared_.log.error("answer refused", e);
    response = problem(e);
    length = response.body.size();
    head = response_head(response, length, close, unix_ms_now());
  }
  const bool with_body = !bodiless && x.request().method != "HEAD";
  const bool sent = co_await write_all(head, with_body && !response.file ? std::string_view(response.body) : "");
  if (!sent || !with_body || !response.file) co_return sent;
  if (tls_) co_return co_await send_file(*response.file);
  co_return co_await send_file_by_kernel(*response.file);
}

asio::awaitable<void> Connection::linger() {
  // Closing with unread bytes resets the connection, and the client would lose the answer that says why.
  boost::system::error_code ec;
  if (!tls_) socket_.shutdown(asio::ip::tcp::socket::shutdown_send, ec);
  const auto deadline = steady_clock::now() + kLingerTime;
  for (std::size_t total = 0; total < kLingerBytes;) {
    consume(unread().size());
    const std::size_t got = co_await read_some(deadline, kBodyRead);
    if (got == 0) break;
    total += got;
  }
  consume(unread().size());
}

void Connection::account(const Exchange& x) const {
  if (!shared_.metrics) return;
  const std::string route = x.match.route ? x.match.route->pattern : "none";
  const std::string status = std::to_string(x.response.status);
  const std::chrono::duration<double> took = steady_clock::now() - x.started;
  shared_.metrics->counter("tb_http_requests_total", "Requests answered.", {{"route", route}, {"status", status}})
      .add();
  shared_.metrics
      ->histogram("tb_http_request_seconds", "Time from the head of a request to the end of its answer.",
                  obs::latency_buckets(), {{"route", route}})
      .observe(took.count());
}

}  // namespace tb::http
