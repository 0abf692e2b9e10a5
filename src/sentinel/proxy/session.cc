#include "sentinel/proxy/session.h"

#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <cerrno>
#include <ranges>

#include "base/clock.h"
#include "base/crypto.h"

namespace tb::sentinel::proxy {
namespace {

constexpr std::size_t kLingerBytes = std::size_t{4} << 20;
constexpr std::int64_t kLingerMs = 2'000;
constexpr int kMaxInterim = 8;

constexpr Refusal kUnreachable{502, "upstream_unreachable", "the model's runtime cannot be reached"};
constexpr Refusal kBroken{502, "upstream_failed", "the model's runtime gave no proper answer"};
constexpr Refusal kTooSlow{504, "upstream_timeout", "the model's runtime did not answer in time"};
constexpr Refusal kTooLarge{413, "body_too_large", "the request body is too large"};
constexpr Refusal kBadBody{400, "bad_request", "the request body is malformed"};

}  // namespace

struct Session::Run {
  explicit Run(asio::io_context& io) : changed(io) {}
  Exchange exchange;
  std::vector<std::unique_ptr<Visit>> visits;
  ResponseHead response;
  std::optional<Refusal> body_fault;  ///< the request body was refused on its way
  bool pumping = false;               ///< pump() runs
  bool pump_clean = true;             ///< it sent the whole body
  bool client_left = false;
  bool watching = false;       ///< watch_client() runs
  bool answered = false;       ///< a byte of an answer has gone out
  asio::steady_timer changed;  ///< cancelled when pumping or watching ends
};

Session::Session(Shared& shared, asio::ip::tcp::socket socket, asio::ssl::context* tls)
    : shared_(shared), client_(std::move(socket), tls), watchdog_(shared.io) {
  ErrorCode error;
  client_.socket().set_option(asio::ip::tcp::no_delay(true), error);
  const auto endpoint = client_.socket().remote_endpoint(error);
  const auto address = endpoint.address();
  peer_.address = address.is_v6() && address.to_v6().is_v4_mapped()
                      ? asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6()).to_string()
                      : address.to_string();
  peer_.tls = client_.is_tls();
  shared_.sessions.insert(this);
}

Session::~Session() {
  shared_.sessions.erase(this);
}

void Session::arm() {
  watchdog_.cancel();
}

void Session::client_deadline(std::int64_t ms) {
  const std::int64_t before = client_deadline_;
  client_deadline_ = ms == 0 ? 0 : boot_ms_now() + ms;
  if (client_deadline_ != 0 && (before == 0 || client_deadline_ < before)) arm();
}

void Session::upstream_deadline(std::int64_t ms) {
  const std::int64_t before = upstream_deadline_;
  upstream_deadline_ = ms == 0 ? 0 : boot_ms_now() + ms;
  if (upstream_deadline_ != 0 && (before == 0 || upstream_deadline_ < before)) arm();
}

asio::awaitable<void> Session::watch_deadlines() {
  const auto self = shared_from_this();
  while (!done_) {
    const std::int64_t now = boot_ms_now();
    if (client_deadline_ != 0 && client_deadline_ <= now) {
      client_timed_out_ = true;
      client_deadline_ = 0;
      client_.close();
      close_upstream();
    }
    if (upstream_deadline_ != 0 && upstream_deadline_ <= now) {
      upstream_timed_out_ = true;
      upstream_deadline_ = 0;
      close_upstream();
    }
    std::int64_t wake = now + 3'600'000;
    if (client_deadline_ != 0) wake = std::min(wake, client_deadline_);
    if (upstream_deadline_ != 0) wake = std::min(wake, upstream_deadline_);
    watchdog_.expires_after(std::chrono::milliseconds(wake - now));
    co_await watchdog_.async_wait(kAwait);
  }
}

void Session::close_upstream() {
  if (upstream_) upstream_->close();
}

void Session::cut() {
  cut_ = true;
  close_upstream();
  client_.close();
}

void Session::close_if_idle() {
  if (idle_) client_.close();
}

void Session::begin_visits(Run& run) {
  run.exchange.request_id = to_hex(as_bytes(random_token(12)));
  run.exchange.peer = peer_;
  run.exchange.started_boot_ms = boot_ms_now();
  for (const auto& filter : shared_.filters) run.visits.push_back(filter->visit(run.exchange));
}

void Session::end_visits(Run& run) {
  for (const auto& visit : run.visits | std::views::reverse) visit->on_end(run.exchange);
  run.visits.clear();
}

asio::awaitable<void> Session::serve() {
  const auto self = shared_from_this();
  client_deadline(shared_.options.head_ms);
  const ErrorCode failed = co_await client_.handshake();
  bool goes_on = !failed;
  while (goes_on && !shared_.draining && !cut_) {
    auto run = std::make_shared<Run>(shared_.io);
    client_deadline(shared_.options.idle_ms);
    RequestHead head;
    goes_on = co_await read_head(head, *run);
    if (!goes_on) break;
    idle_ = false;
    goes_on = co_await exchange(run);
    idle_ = true;
  }
  end();
}

void Session::end() {
  done_ = true;
  client_.close();
  close_upstream();
  arm();
}

/// False if no request came, or one that was refused (and answered) for its head.
asio::awaitable<bool> Session::read_head(RequestHead& head, Run& run) {
  const auto fault = [&]() -> std::optional<Refusal> {
    const HeadEnd end = find_head_end(client_buffer_.view());
    if (end.kind == HeadEnd::kNeedMore) return std::nullopt;
    if (end.kind == HeadEnd::kBareLf) return Refusal{400, "bad_request", "a line ends without CR LF"};
    if (end.kind == HeadEnd::kTooLarge) return Refusal{431, "headers_too_large", "the request head is too large"};
    auto parsed = parse_request_head(client_buffer_.view().substr(0, end.bytes));
    if (!parsed) return parsed.error();
    client_buffer_.consume(end.bytes);
    head = std::move(*parsed);
    return std::nullopt;
  };
  bool started = false;
  while (true) {
    if (!client_buffer_.view().empty()) {
      if (!std::exchange(started, true)) {
        idle_ = false;
        client_deadline(shared_.options.head_ms);
      }
      if (const auto refusal = fault()) {
        begin_visits(run);
        co_await refuse(run, *refusal, Outcome::kRefused, true);
        end_visits(run);
        co_await linger();
        co_return false;
      }
      if (!head.method.empty()) break;
    }
    const asio::mutable_buffer room = client_buffer_.room();
    const auto [error, bytes] = co_await client_.read_some(room);
    if (error) co_return false;
    client_buffer_.filled(bytes);
  }
  client_deadline(0);
  begin_visits(run);
  run.exchange.request = std::move(head);
  co_return true;
}

/// True if the connection can take another request.
asio::awaitable<bool> Session::exchange(std::shared_ptr<Run> run) {
  Exchange& exchange = run->exchange;
  const RequestHead& request = exchange.request;
  std::optional<Refusal> refusal;
  for (const auto& visit : run->visits) {
    if (!refusal) refusal = visit->on_request(exchange);
  }
  auto target = shared_.allowed.match(request.method, request.target);
  if (!refusal && !target) refusal = target.error();
  if (!refusal && wants_websocket(request))
    refusal = Refusal{403, "upgrade_not_allowed", "WebSocket is not served here"};
  if (!refusal && request.framing == Framing::kLength && request.length > shared_.options.max_body_bytes)
    refusal = kTooLarge;
  if (refusal) {
    const bool body_waits = request.framing == Framing::kChunked || request.length > 0;
    const bool close = body_waits || !request.keep_alive || shared_.draining;
    const bool sent = co_await refuse(*run, *refusal, Outcome::kRefused, close);
    end_visits(*run);
    if (sent && body_waits) co_await linger();
    co_return sent && !close;
  }
  run->pump_clean = request.framing != Framing::kChunked && request.length == 0;
  const bool sent = co_await send_request(run, *target);
  const bool answered = sent && co_await read_response_head(*run);
  bool clean = false;
  if (answered) {
    clean = co_await send_response(*run);
  } else if (!cut_ && !run->client_left && !client_timed_out_) {
    const Refusal failure = run->body_fault.value_or(upstream_failure(*run));
    co_await refuse(*run, failure, run->body_fault ? Outcome::kRefused : Outcome::kUpstreamError, true);
  }
  const bool must_linger = !run->pump_clean && run->answered && !run->client_left && !cut_;
  // Whatever still runs for this request ends before the next one: by closing what it waits for.
  const bool early = run->pumping;
  if (early || !clean) close_upstream();
  ErrorCode ignored;
  if (early || run->watching) client_.socket().cancel(ignored);
  while (run->pumping || run->watching) {
    run->changed.expires_after(std::chrono::hours(1));
    co_await run->changed.async_wait(kAwait);
  }
  client_deadline(0);
  upstream_deadline(0);
  upstream_timed_out_ = false;
  const bool reusable =
      clean && !early && run->pump_clean && run->response.keep_alive && upstream_buffer_.view().empty();
  if (reusable && upstream_ && !shared_.draining && !cut_) shared_.pool.keep(std::move(upstream_));
  close_upstream();
  upstream_.reset();
  upstream_buffer_.consume(upstream_buffer_.view().size());
  end_visits(*run);
  if (must_linger) co_await linger();
  co_return clean && !early && run->pump_clean && request.keep_alive && !run->client_left;
}

/// What to do with a fault that escaped from what runs beside a request: the request must not wait for it any more.
std::function<void(std::exception_ptr)> Session::abandon(const std::shared_ptr<Run>& run) {
  return [self = shared_from_this(), run](const std::exception_ptr& fault) {
    if (!fault) return;
    self->shared_.log.error("a request failed in an unforeseen way");
    run->pumping = run->watching = run->pump_clean = false;
    run->client_left = true;
    self->close_upstream();
    run->changed.cancel();
  };
}

/// Connects, sends the head, and starts pump() where there is a body. False if the runtime could not be reached.
asio::awaitable<bool> Session::send_request(const std::shared_ptr<Run>& run, const std::string& target) {
  const RequestHead& request = run->exchange.request;
  upstream_ = co_await shared_.pool.acquire();
  if (!upstream_ || cut_) co_return false;
  if (request.expects_continue && client_buffer_.view().empty() && request.framing != Framing::kNone) {
    client_deadline(shared_.options.client_ms);
    const asio::const_buffer interim = asio::buffer("HTTP/1.1 100 Continue\r\n\r\n", 25);
    if (co_await client_.write(interim)) {
      run->client_left = true;
      co_return false;
    }
  }
  const std::string head = upstream_head(request, target, peer_, run->exchange.request_id);
  upstream_deadline(shared_.options.upstream_ms);
  const asio::const_buffer whole = asio::buffer(head);
  if (co_await upstream_->write(whole)) co_return false;
  if (request.framing == Framing::kNone) {
    client_deadline(0);
    run->watching = true;
    asio::co_spawn(shared_.io, watch_client(run), abandon(run));
  } else {
    run->pumping = true;
    asio::co_spawn(shared_.io, pump(run), abandon(run));
  }
  co_return true;
}

/// The request's body, from the client to the runtime. A fault of the body closes the runtime's side, so that whoever
/// waits for the answer learns of it.
asio::awaitable<void> Session::pump(std::shared_ptr<Run> run) {
  const auto self = shared_from_this();
  const RequestHead& request = run->exchange.request;
  const bool chunked = request.framing == Framing::kChunked;
  BodyReader<ClientStream> body(client_, client_buffer_, request.framing, request.length);
  run->pump_clean = false;
  while (true) {
    client_deadline(shared_.options.client_ms);
    const Piece piece = co_await body.next();
    if (piece.kind == Piece::kEnd) {
      const asio::const_buffer last = asio::buffer("0\r\n\r\n", 5);
      const bool failed = chunked && bool(co_await upstream_->write(last));
      run->pump_clean = !failed;
      break;
    }
    if (piece.kind != Piece::kData) {
      if (piece.kind == Piece::kMalformed) run->body_fault = kBadBody;
      if (piece.kind == Piece::kCut) run->client_left = true;
      close_upstream();
      break;
    }
    run->exchange.request_bytes += piece.data.size();
    if (run->exchange.request_bytes > shared_.options.max_body_bytes) {
      run->body_fault = kTooLarge;
      close_upstream();
      break;
    }
    for (const auto& visit : run->visits) visit->on_request_chunk(run->exchange, as_bytes(piece.data));
    if (!run->answered) client_deadline(0);
    upstream_deadline(shared_.options.upstream_ms);
    if (co_await write_piece(*upstream_, piece.data, chunked)) break;
  }
  if (!run->answered) client_deadline(0);
  run->pumping = false;
  run->changed.cancel();
  if (run->pump_clean && !run->answered) {
    run->watching = true;
    co_await watch_client(run);
  }
}

/// Notices a client that leaves while it waits: the runtime must not go on for nobody. A client that sends its next
/// request early is left alone.
asio::awaitable<void> Session::watch_client(std::shared_ptr<Run> run) {
  const auto self = shared_from_this();
  const auto [error] = co_await client_.socket().async_wait(asio::socket_base::wait_read, kAwait);
  if (!error && client_.socket().is_open()) {
    char byte = 0;
    const ssize_t got = recv(client_.socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    const bool left = got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK);
    if (left) {
      run->client_left = true;
      close_upstream();
    }
  }
  run->watching = false;
  run->changed.cancel();
}

/// The runtime's head, interim answers left out. False if there is none.
asio::awaitable<bool> Session::read_response_head(Run& run) {
  for (int interim = 0; interim < kMaxInterim;) {
    const HeadEnd end = find_head_end(upstream_buffer_.view());
    if (end.kind == HeadEnd::kFound) {
      auto head = parse_response_head(upstream_buffer_.view().substr(0, end.bytes), run.exchange.request.method);
      if (!head || head->status == 101) co_return false;
      upstream_buffer_.consume(end.bytes);
      if (head->status < 200) {
        ++interim;
        continue;
      }
      run.response = std::move(*head);
      co_return true;
    }
    if (end.kind != HeadEnd::kNeedMore) co_return false;
    const asio::mutable_buffer room = upstream_buffer_.room();
    const auto [error, bytes] = co_await upstream_->read_some(room);
    if (error) co_return false;
    upstream_buffer_.filled(bytes);
    upstream_deadline(shared_.options.upstream_ms);
  }
  co_return false;
}

/// True if the whole answer went out and the connection is as good as before.
asio::awaitable<bool> Session::send_response(Run& run) {
  const RequestHead& request = run.exchange.request;
  const bool streamed = run.response.framing == Framing::kChunked || run.response.framing == Framing::kUntilClose;
  const bool chunked = streamed && request.minor == 1;
  const bool close = !request.keep_alive || !run.pump_clean || shared_.draining || (streamed && !chunked);
  const std::string head = client_head(run.response, run.exchange.request_id, request.minor, close);
  run.answered = true;
  run.exchange.status = run.response.status;
  client_deadline(shared_.options.client_ms);
  const asio::const_buffer whole = asio::buffer(head);
  if (co_await client_.write(whole)) {
    run.client_left = true;
    co_return false;
  }
  const bool complete = co_await relay_response(run, chunked);
  co_return complete && !close;
}

asio::awaitable<bool> Session::relay_response(Run& run, bool chunked) {
  BodyReader<UpstreamStream> body(*upstream_, upstream_buffer_, run.response.framing, run.response.length);
  while (true) {
    client_deadline(0);
    upstream_deadline(shared_.options.upstream_ms);
    const Piece piece = co_await body.next();
    upstream_deadline(0);
    client_deadline(shared_.options.client_ms);
    if (piece.kind == Piece::kEnd) break;
    if (piece.kind != Piece::kData) {
      run.exchange.outcome = cut_ || run.client_left ? Outcome::kAborted : Outcome::kUpstreamError;
      client_.close();  // a client must not take a cut body for a whole one
      co_return false;
    }
    const ErrorCode failed = co_await write_piece(client_, piece.data, chunked);
    if (failed) {
      run.client_left = true;
      co_return false;
    }
    run.exchange.response_bytes += piece.data.size();
    for (const auto& visit : run.visits) visit->on_response_chunk(run.exchange, as_bytes(piece.data));
  }
  const asio::const_buffer last = asio::buffer("0\r\n\r\n", 5);
  if (chunked && co_await client_.write(last)) {
    run.client_left = true;
    co_return false;
  }
  run.exchange.outcome = Outcome::kComplete;
  co_return true;
}

Refusal Session::upstream_failure(const Run&) const {
  if (upstream_timed_out_) return kTooSlow;
  return upstream_ ? kBroken : kUnreachable;
}

/// An answer of our own. False if the client did not take it.
asio::awaitable<bool> Session::refuse(Run& run, Refusal refusal, Outcome outcome, bool close) {
  run.exchange.status = refusal.status;
  run.exchange.outcome = outcome;
  run.answered = true;
  const bool head_only = run.exchange.request.method == "HEAD";
  const int wait = refusal.status == 503 ? 5 : 0;
  const std::string answer = error_answer(refusal, run.exchange.request_id, close, head_only, wait);
  const std::string body = head_only ? std::string() : error_body(refusal);
  client_deadline(shared_.options.client_ms);
  const asio::const_buffer whole = asio::buffer(answer);
  if (co_await client_.write(whole)) co_return false;
  run.exchange.response_bytes = body.size();
  for (const auto& visit : run.visits) visit->on_response_chunk(run.exchange, as_bytes(body));
  co_return true;
}

/// What the client may still be sending is read and dropped for a moment: closing on it would reset the connection and
/// take the answer away.
asio::awaitable<void> Session::linger() {
  ErrorCode error;
  client_.socket().shutdown(asio::socket_base::shutdown_send, error);
  client_deadline(kLingerMs);
  for (std::size_t dropped = 0; dropped < kLingerBytes && !cut_;) {
    client_buffer_.consume(client_buffer_.view().size());
    const asio::mutable_buffer room = client_buffer_.room();
    const auto [failed, bytes] = co_await client_.socket().async_read_some(room, kAwait);
    if (failed) break;
    dropped += bytes;
  }
}

}  // namespace tb::sentinel::proxy
