#include "sentinel/proxy/session.h"

#include <sys/epoll.h>

#include <ranges>

#include "base/clock.h"
#include "http/tls.h"
#include "sentinel/proxy/h2_connection.h"

namespace tb::sentinel::proxy {
namespace {

constexpr std::size_t kLingerBytes = std::size_t{4} << 20;
constexpr std::int64_t kLingerMs = 2'000;
constexpr std::int64_t kCutMs = 250;
constexpr int kTurns = 6;
constexpr std::size_t kCrowd = 8, kMostHeldBytes = 8192;
/// What a slow client makes us keep of an answer is no more than this.
constexpr std::size_t kAnswerReadBytes = 60 * 1024;
/// Of the next requests that a client sends while one is under way.
constexpr std::size_t kMostAheadBytes = 16 * 1024;

constexpr Refusal kTooLarge{413, "body_too_large", "the request body is too large"};
constexpr Refusal kConnectTimeout{502, "upstream_unreachable", "the model's runtime cannot be reached"};

}  // namespace

Session::Session(Engine& engine, Stream client, Peer peer)
    : engine_(engine),
      client_(std::move(client)),
      peer_(std::move(peer)),
      client_in_(engine.client_room, ReadRoom::kReadBytes),
      upstream_in_(engine.upstream_room, kAnswerReadBytes),
      client_out_(engine.to_client),
      upstream_out_(engine.to_upstream) {}

void Session::begin() {
  client_deadline_ = engine_.poller.now_ms() + engine_.options.head_ms;
  engine_.note_deadline(client_deadline_);
  if (!client_.is_tls()) to_next_head();
}

void Session::on_ready(std::uint32_t events) {
  client_.note(events);
  advance();
}

void Session::on_upstream() {
  advance();
}

void Session::resume() {
  queued_ = false;
  advance();
}

void Session::advance() {
  try {
    int turns = 0;
    while (phase_ != Phase::kGone && turns < kTurns && step()) ++turns;
    if (phase_ == Phase::kGone) return;
    if (phase_ == Phase::kExchange && run_.request_over && client_.hung_up() && !run_.client_gone) look_for_client();
    if (phase_ == Phase::kGone) return;
    if (turns == kTurns && !queued_) {
      queued_ = true;
      engine_.again(*this);
    }
    park();
    set_deadlines();
  } catch (...) {  // of a filter: this connection is not worth the others
    engine_.log.error("a request failed in an unforeseen way");
    client_out_.clear();
    upstream_out_.clear();
    client_.close(true);
    drop_link();
    run_.active = false;
    run_.visits.clear();
    gone();
  }
}

/// While many are served in one round, short messages are sent at its end, one after the other: whoever reads them is
/// woken once and not for each.
bool Session::waits_for_the_round(Outbox& out) {
  if (engine_.poller.crowd() < kCrowd || out.unsent_bytes() > kMostHeldBytes) return false;
  out.hold();
  if (!std::exchange(queued_, true)) engine_.again(*this);
  return true;
}

/// One move. False if everything waits.
bool Session::step() {
  switch (phase_) {
    case Phase::kHandshake:
      return shake_hands();
    case Phase::kHead:
      return read_head();
    case Phase::kExchange: {
      const bool up = step_request();
      if (phase_ != Phase::kExchange) return true;
      const bool down = step_response();
      return up || down || phase_ != Phase::kExchange;
    }
    case Phase::kFinish:
      return finish();
    case Phase::kLinger:
      return linger();
    case Phase::kGone:
      break;
  }
  return false;
}

void Session::park() {
  client_in_.park();
  upstream_in_.park();
}

/// Who must move next, and by when. A deadline moves on with every byte that moves.
void Session::set_deadlines() {
  const bool progress = std::exchange(progress_, false);
  if (cut_) return;
  const ProxyOptions& options = engine_.options;
  const auto set = [&](std::int64_t& deadline, bool runs, std::int64_t ms) {
    if (!runs) {
      deadline = 0;
    } else if (progress || deadline == 0) {
      deadline = engine_.poller.now_ms() + ms;
      engine_.note_deadline(deadline);
    }
  };
  if (phase_ == Phase::kFinish) return set(client_deadline_, true, options.client_ms);
  if (phase_ != Phase::kExchange) return;
  const bool to_client = client_out_.is_waiting();
  const bool to_upstream = upstream_out_.is_waiting();
  set(client_deadline_, !run_.client_gone && (to_client || (!run_.request_over && !to_upstream)), options.client_ms);
  const bool upstream_moves = run_.request_over || to_upstream || run_.head_taken;
  set(upstream_deadline_, link_ && !link_->is_connecting() && !to_client && upstream_moves, options.upstream_ms);
}

void Session::check_deadlines(std::int64_t now_ms) {
  const auto is_over = [&](std::int64_t& deadline) {
    if (deadline == 0) return false;
    if (deadline > now_ms) {
      engine_.note_deadline(deadline);
      return false;
    }
    deadline = 0;
    return true;
  };
  if (is_over(client_deadline_)) {
    engine_.instruments.timeouts.add();
    return hard_end(Outcome::kAborted);
  }
  if (is_over(drain_deadline_)) return hard_end(Outcome::kAborted);
  if (link_ && !link_->is_connecting()) connect_deadline_ = 0;
  bool moved = false;
  if (is_over(connect_again_)) {
    connect_upstream();
    moved = true;
  }
  if (phase_ == Phase::kExchange && is_over(connect_deadline_)) {
    fail(kConnectTimeout, Outcome::kUpstreamError);
    moved = true;
  }
  if (phase_ == Phase::kExchange && is_over(upstream_deadline_)) {
    upstream_timed_out_ = true;
    upstream_failed();
    moved = true;
  }
  if (moved && phase_ != Phase::kGone) advance();
}

bool Session::shake_hands() {
  const Io io = client_.handshake();
  if (io == Io::kWait) return false;
  if (io != Io::kDone) {
    engine_.instruments.tls_failures.add();
    client_.close();
    gone();
    return false;
  }
  if (client_.is_tls()) peer_.certificate_subject = http::peer_cert_subject(client_.ssl());
  if (client_.is_tls() && http::chose_http2(client_.ssl())) {
    auto next = std::make_unique<H2Connection>(engine_, std::move(client_), std::move(peer_));
    gone();
    if (engine_.poller.watch(next->stream(), *next)) engine_.add(std::move(next));
    return false;
  }
  to_next_head();
  return true;
}

void Session::to_next_head() {
  if (engine_.draining || cut_) return close_or_linger(false);
  phase_ = Phase::kHead;
  head_known_ = 0;
  client_deadline_ = engine_.poller.now_ms() + engine_.options.idle_ms;
  engine_.note_deadline(client_deadline_);
}

bool Session::read_head() {
  while (true) {
    const std::string_view view = client_in_.view();
    if (!view.empty()) {
      if (head_known_ == 0) {
        client_deadline_ = engine_.poller.now_ms() + engine_.options.head_ms;
        engine_.note_deadline(client_deadline_);
      }
      const HeadEnd end = find_head_end(view, head_known_);
      std::optional<Refusal> refusal;
      if (end.kind == HeadEnd::kBareLf) refusal = Refusal{400, "bad_request", "a line ends without CR LF"};
      if (end.kind == HeadEnd::kTooLarge) refusal = Refusal{431, "headers_too_large", "the request head is too large"};
      if (end.kind != HeadEnd::kNeedMore) {
        if (end.kind == HeadEnd::kFound) refusal = read_request_head(view.substr(0, end.bytes), run_.exchange.request);
        if (refusal) run_.exchange.request = {};
        client_in_.consume(end.bytes);
        begin_visits();
        if (refusal) {
          refuse(*refusal, Outcome::kRefused, Next::kLinger);
        } else {
          begin_exchange();
        }
        return true;
      }
      head_known_ = view.size();
    }
    const IoResult result = client_in_.fill(client_);
    if (result.io == Io::kWait) return false;
    if (result.io != Io::kDone) {
      client_.close();
      gone();
      return false;
    }
  }
}

void Session::begin_visits() {
  Run& run = run_;
  Exchange& exchange = run.exchange;
  engine_.ids.next(exchange.request_id);
  exchange.peer = peer_;
  exchange.subject.clear();
  exchange.limits = {};
  exchange.answer_fields.clear();
  exchange.status = 0;
  exchange.outcome = Outcome::kAborted;
  exchange.started_boot_ms = engine_.poller.now_ms();
  exchange.request_bytes = exchange.response_bytes = 0;
  exchange.model.clear();
  exchange.usage.reset();
  run.collected.clear();
  run.request_chain.clear();
  run.response_chain.clear();
  run.upstream_framing = run.client_framing = Framing::kNone;
  run.interim = 0;
  run.drained = 0;
  run.collecting = run.request_over = run.request_whole = run.head_taken = run.collecting_answer = false;
  run.answered = run.close_after = run.client_gone = false;
  run.active = true;
  upstream_timed_out_ = false;
  client_deadline_ = upstream_deadline_ = connect_deadline_ = connect_again_ = drain_deadline_ = 0;
  progress_ = true;
  for (const auto& filter : engine_.filters) run.visits.push_back(filter->visit(exchange));
}

void Session::end_visits() {
  if (!std::exchange(run_.active, false)) return;
  for (const auto& visit : run_.visits | std::views::reverse) visit->on_end(run_.exchange);
  run_.visits.clear();
}

std::optional<Refusal> Session::decide() {
  Exchange& exchange = run_.exchange;
  for (const auto& visit : run_.visits) {
    if (auto refusal = visit->on_request(exchange)) return refusal;
  }
  auto target = engine_.allowed.match(exchange.request.method, exchange.request.target);
  if (!target) return target.error();
  run_.target = std::move(*target);
  if (wants_websocket(exchange.request)) return Refusal{403, "upgrade_not_allowed", "WebSocket is not served here"};
  if (exchange.request.framing == Framing::kLength && exchange.request.length > engine_.options.max_body_bytes) {
    return kTooLarge;
  }
  return std::nullopt;
}

void Session::begin_exchange() {
  Run& run = run_;
  const RequestHead& request = run.exchange.request;
  const bool body_comes = request.framing == Framing::kChunked || request.length > 0;
  if (const auto refusal = decide()) {
    const Next keep = request.keep_alive ? Next::kRequest : Next::kClose;
    return refuse(*refusal, Outcome::kRefused, body_comes ? Next::kLinger : keep);
  }
  for (const auto& visit : run.visits) {
    if (BodyTransform* transform = visit->request_transform(run.exchange)) run.request_chain.add(transform);
  }
  run.request_chain.begin();
  run.request_body = BodyCursor(request.framing, request.length);
  run.took_before = upstream_out_.took();
  phase_ = Phase::kExchange;
  run.collecting = !run.request_chain.empty();
  if (!run.collecting) open_upstream(request.framing, request.length);
  if (phase_ != Phase::kExchange || !request.expects_continue || !body_comes || !client_in_.view().empty()) return;
  client_out_.add("HTTP/1.1 100 Continue\r\n\r\n");
  if (flush_client() == Io::kFailed) client_left();
}

/// An answer of our own.
void Session::refuse(Refusal refusal, Outcome outcome, Next next) {
  Exchange& exchange = run_.exchange;
  exchange.status = refusal.status;
  exchange.outcome = outcome;
  run_.answered = true;
  if (refusal.status == 503 && refusal.retry_after_seconds == 0) refusal.retry_after_seconds = 5;
  if (next == Next::kRequest && engine_.is_ending()) next = Next::kClose;
  const std::string head =
      error_answer(refusal, exchange.request_id, next != Next::kRequest, true, exchange.answer_fields);
  const std::string body = exchange.request.method == "HEAD" ? std::string() : error_body(refusal);
  client_out_.add(head);
  client_out_.add(body, true);
  phase_ = Phase::kFinish;
  next_ = next;
  if (flush_client() == Io::kFailed) client_left();
}

/// The end of what the client is answered is on its way.
bool Session::finish() {
  if (client_out_.is_waiting()) {
    const Io io = flush_client();
    if (io == Io::kWait) return false;
    if (io == Io::kFailed) {
      client_left();
      return true;
    }
  }
  end_visits();
  if (next_ == Next::kRequest) {
    to_next_head();
  } else {
    close_or_linger(next_ == Next::kLinger);
  }
  return true;
}

/// Closing on bytes that the client has sent would reset the connection and take the answer away: they are read and
/// dropped for a moment.
void Session::close_or_linger(bool must_linger) {
  if (!must_linger && client_in_.view().empty() && !client_.may_read()) {
    client_.end_writing();
    client_.close();
    return gone();
  }
  client_.end_writing();
  client_in_.clear();
  lingered_ = 0;
  phase_ = Phase::kLinger;
  if (cut_) return;  // its deadline stands
  client_deadline_ = engine_.poller.now_ms() + kLingerMs;
  engine_.note_deadline(client_deadline_);
}

bool Session::linger() {
  while (lingered_ < kLingerBytes) {
    const IoResult result = client_in_.fill(client_);
    if (result.io == Io::kWait) return false;
    if (result.io != Io::kDone) break;
    lingered_ += result.bytes;
    client_in_.clear();
  }
  client_.close();
  gone();
  return false;
}

/// What was asked for cannot be had: the client learns why if it has been answered nothing yet.
void Session::fail(const Refusal& refusal, Outcome outcome) {
  drop_link();
  upstream_out_.clear();
  if (run_.client_gone) return end_run();
  if (run_.answered) return hard_end(outcome == Outcome::kRefused ? Outcome::kAborted : outcome);
  refuse(refusal, outcome, run_.request_over ? Next::kClose : Next::kLinger);
}

void Session::hard_end(Outcome outcome) {
  if (run_.active && run_.exchange.outcome != Outcome::kRefused) run_.exchange.outcome = outcome;
  client_.close(run_.active && run_.answered && run_.client_framing == Framing::kUntilClose);
  end_run();
}

/// A client that leaves while it waits: the runtime must not go on for nobody. One that has sent its next request and
/// ended its side still hears its answers.
void Session::look_for_client() {
  while (client_in_.view().size() < kMostAheadBytes) {
    const IoResult result = client_in_.fill(client_);
    if (result.io == Io::kDone) continue;
    if (result.io == Io::kFailed || (result.io == Io::kEnd && client_in_.view().empty())) client_left();
    return;
  }
}

void Session::client_left() {
  Run& run = run_;
  if (run.exchange.outcome != Outcome::kRefused) run.exchange.outcome = Outcome::kAborted;
  std::optional<DrainBounds> bounds;
  if (phase_ == Phase::kExchange && link_ && run.request_whole && !cut_) {
    for (const auto& visit : run.visits) {
      const auto more = visit->on_client_left(run.exchange);
      if (!more) continue;
      if (!bounds) bounds.emplace();
      bounds->ms = std::max(bounds->ms, more->ms);
      bounds->bytes = std::max(bounds->bytes, more->bytes);
    }
  }
  client_out_.clear();
  client_in_.clear();
  client_.close();
  if (!bounds) return end_run();
  run.client_gone = true;
  run.drain_most = bounds->bytes;
  client_deadline_ = 0;
  drain_deadline_ = engine_.poller.now_ms() + bounds->ms;
  engine_.note_deadline(drain_deadline_);
  engine_.instruments.drained.add();
}

/// The exchange is over and so is the connection.
void Session::end_run() {
  client_out_.clear();
  upstream_out_.clear();
  drop_link();
  end_visits();
  client_.close();
  gone();
}

void Session::gone() {
  if (phase_ == Phase::kGone) return;
  phase_ = Phase::kGone;
  drop_link();
  engine_.remove(*this);
}

void Session::cut(const Refusal& reason) {
  if (phase_ == Phase::kGone) return;
  cut_ = true;
  Run& run = run_;
  if (phase_ == Phase::kFinish) {
    next_ = Next::kClose;
  } else if (phase_ != Phase::kExchange || run.client_gone) {
    return hard_end(Outcome::kAborted);
  } else if (!run.answered) {
    drop_link();
    upstream_out_.clear();
    refuse(reason, Outcome::kAborted, run.request_over ? Next::kClose : Next::kLinger);
  } else if (run.events.is_between() && run.client_framing != Framing::kLength) {
    drop_link();
    upstream_out_.clear();
    const std::string event = "data: " + error_body(reason) + "\n\n";
    if (run.client_framing == Framing::kChunked) client_out_.add_chunk_size(event.size());
    client_out_.add(event, true);
    if (run.client_framing == Framing::kChunked) client_out_.add("\r\n0\r\n\r\n");
    run.exchange.outcome = Outcome::kAborted;
    engine_.instruments.cut_streams.add();
    phase_ = Phase::kFinish;
    next_ = run.request_over ? Next::kClose : Next::kLinger;
    if (flush_client() == Io::kFailed) client_left();
  } else {
    return hard_end(Outcome::kAborted);
  }
  if (phase_ == Phase::kGone) return;
  upstream_deadline_ = connect_deadline_ = connect_again_ = 0;
  client_deadline_ = engine_.poller.now_ms() + kCutMs;
  engine_.note_deadline(client_deadline_);
  advance();
}

void Session::close_if_idle() {
  if (phase_ == Phase::kHandshake || (phase_ == Phase::kHead && client_in_.view().empty())) {
    client_.end_writing();
    client_.close();
    gone();
  }
}

}  // namespace tb::sentinel::proxy
