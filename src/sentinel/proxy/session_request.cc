// The request on its way up: from the client's socket through the filters and their transforms to the runtime.
#include "sentinel/proxy/session.h"

namespace tb::sentinel::proxy {
namespace {

/// A body that filters change is put together up to this, so that it goes up with its new length.
constexpr std::size_t kCollectBytes = 64 * 1024;
constexpr std::size_t kMostPieces = 24;
constexpr int kReadsPerTurn = 2;
constexpr std::int64_t kConnectAgainMs = 5;

constexpr Refusal kUnreachable{502, "upstream_unreachable", "the model's runtime cannot be reached"};
constexpr Refusal kTooLarge{413, "body_too_large", "the request body is too large"};
constexpr Refusal kBadBody{400, "bad_request", "the request body is malformed"};

}  // namespace

bool Session::step_request() {
  Run& run = run_;
  if (upstream_out_.is_waiting() && flush_upstream() != Io::kDone) return phase_ != Phase::kExchange;
  if (run.request_over) return false;
  if (!run.collecting && !link_) return false;  // the runtime's queue is full at the moment
  bool moved = false;
  for (int reads = 0; reads < kReadsPerTurn;) {
    std::size_t used = 0;
    BodyCursor::Kind kind{};
    if (!take_request_pieces(used, kind)) return true;
    const bool end = kind == BodyCursor::Kind::kEnd;
    moved |= used > 0 || end;
    if (!send_up(end) || run.request_over) return true;
    client_in_.consume(used);
    if (end) {
      run.request_over = run.request_whole = true;
      return true;
    }
    if (upstream_out_.is_waiting()) return moved;
    if (kind != BodyCursor::Kind::kNeedMore) continue;
    const IoResult result = client_in_.fill(client_);
    if (result.io == Io::kWait) return moved;
    if (result.io != Io::kDone) {
      client_left();
      return true;
    }
    progress_ = moved = true;
    ++reads;
  }
  return true;
}

/// The body's pieces in what was read, seen by the filters. False if the body is refused, which is then answered.
bool Session::take_request_pieces(std::size_t& used, BodyCursor::Kind& kind) {
  Run& run = run_;
  const std::string_view view = client_in_.view();
  std::vector<std::string_view>& pieces = engine_.pieces;
  pieces.clear();
  do {
    const auto step = run.request_body.next(view.substr(used));
    kind = step.kind;
    used += step.consumed;
    if (kind != BodyCursor::Kind::kData) break;
    pieces.push_back(step.data);
    run.exchange.request_bytes += step.data.size();
  } while (pieces.size() < kMostPieces);
  if (kind == BodyCursor::Kind::kMalformed) {
    fail(kBadBody, Outcome::kRefused);
    return false;
  }
  if (run.exchange.request_bytes > engine_.options.max_body_bytes) {
    fail(kTooLarge, Outcome::kRefused);
    return false;
  }
  for (const std::string_view piece : pieces) {
    for (const auto& visit : run.visits) visit->on_request_chunk(run.exchange, as_bytes(piece));
  }
  return true;
}

/// What was taken goes on, through the transforms if there are any. False if the exchange has ended by that.
bool Session::send_up(bool end) {
  Run& run = run_;
  std::vector<std::string_view>& pieces = engine_.pieces;
  if (!run.request_chain.empty()) {
    std::string& out = run.collecting ? run.collected : engine_.transformed;
    if (!run.collecting) out.clear();
    std::optional<Refusal> refusal;
    for (std::size_t i = 0; i < pieces.size() && !refusal; ++i) {
      refusal = run.request_chain.feed(pieces[i], end && i + 1 == pieces.size(), out);
    }
    if (pieces.empty() && end) refusal = run.request_chain.feed({}, true, out);
    if (refusal) {
      fail(*refusal, Outcome::kRefused);
      return false;
    }
    if (run.collecting) {
      if (end || run.exchange.request_bytes > kCollectBytes) send_collected(end);
      return phase_ == Phase::kExchange;
    }
    pieces.assign(1, out);
  }
  std::uint64_t total = 0;
  for (const std::string_view piece : pieces) total += piece.size();
  if (total > 0) {
    if (run.upstream_framing == Framing::kChunked) upstream_out_.add_chunk_size(total);
    for (const std::string_view piece : pieces) upstream_out_.add(piece);
    if (run.upstream_framing == Framing::kChunked) upstream_out_.add("\r\n");
  }
  if (end && run.upstream_framing == Framing::kChunked) upstream_out_.add("0\r\n\r\n");
  flush_upstream();
  return phase_ == Phase::kExchange;
}

void Session::send_collected(bool end) {
  Run& run = run_;
  run.collecting = false;
  const bool none = run.exchange.request.framing == Framing::kNone && run.collected.empty();
  open_upstream(!end ? Framing::kChunked : none ? Framing::kNone : Framing::kLength, run.collected.size());
  if (phase_ != Phase::kExchange) return;
  if (!end && !run.collected.empty()) upstream_out_.add_chunk_size(run.collected.size());
  upstream_out_.add(run.collected);
  if (!end && !run.collected.empty()) upstream_out_.add("\r\n");
  flush_upstream();
  run.collected.clear();
  if (run.collected.capacity() > 4096) run.collected.shrink_to_fit();
}

/// Puts the head on its way. Nothing is sent before flush_upstream().
void Session::open_upstream(Framing framing, std::uint64_t length) {
  Run& run = run_;
  run.upstream_framing = framing;
  std::string& text = engine_.upstream_text;
  text.clear();
  append_upstream_head(text, run.exchange.request, run.target, peer_, run.exchange.request_id, framing, length,
                       engine_.bearer ? std::string_view(engine_.bearer->reveal()) : std::string_view());
  upstream_out_.add(text);
  connect_deadline_ = engine_.poller.now_ms() + engine_.options.connect_ms;
  connect_upstream();
}

void Session::connect_upstream() {
  const std::uint64_t before = engine_.pool.connected();
  UpstreamPool::Acquired acquired = engine_.pool.acquire(*this);
  if (engine_.pool.connected() != before) engine_.instruments.upstream_connections.add();
  link_ = std::move(acquired.link);
  if (link_) {
    if (!link_->is_connecting()) connect_deadline_ = 0;
  } else if (acquired.failure == UpstreamPool::Failure::kBusy) {
    connect_again_ = engine_.poller.now_ms() + kConnectAgainMs;
    engine_.note_deadline(connect_again_);
  } else if (acquired.failure != UpstreamPool::Failure::kOnItsWay) {
    return fail(kUnreachable, Outcome::kUpstreamError);
  }
  if (!link_) upstream_out_.hold();  // what was gathered is this request's alone
  if (connect_deadline_ != 0) engine_.note_deadline(connect_deadline_);
}

void Session::on_connection(std::unique_ptr<UpstreamLink> link) {
  link_ = std::move(link);
  if (link_) {
    engine_.instruments.upstream_connections.add();
  } else {
    fail(kUnreachable, Outcome::kUpstreamError);
  }
  if (phase_ != Phase::kGone) advance();
}

/// Sends what can be sent up. A runtime that takes no more may still have answered: that is looked for elsewhere.
Io Session::flush_upstream() {
  if (!link_) {
    upstream_out_.hold();
    return Io::kWait;
  }
  if (waits_for_the_round(upstream_out_)) return Io::kWait;
  const std::uint64_t before = upstream_out_.took();
  const Io io = upstream_out_.flush(link_->stream, [](std::string_view) {});
  if (upstream_out_.took() != before) progress_ = true;
  if (io != Io::kFailed) return io;
  upstream_out_.clear();
  if (upstream_out_.took() == run_.took_before) {
    fail(kUnreachable, Outcome::kUpstreamError);
  } else {
    run_.request_over = true;
  }
  return Io::kFailed;
}

void Session::drop_link() {
  connect_deadline_ = connect_again_ = 0;
  upstream_in_.clear();
  if (!link_) engine_.pool.forget(*this);
  if (link_) engine_.pool.drop(std::move(link_));
}

}  // namespace tb::sentinel::proxy
