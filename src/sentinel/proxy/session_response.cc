// The answer on its way down: from the runtime's socket through the filters' transforms to the client.
#include <algorithm>
#include <ranges>

#include "sentinel/proxy/session.h"

namespace tb::sentinel::proxy {
namespace {

/// An answer of known length that filters change is put together up to this, so that it keeps a length.
constexpr std::uint64_t kCollectBytes = 64 * 1024;
constexpr std::size_t kMostPieces = 24;
constexpr int kReadsPerTurn = 2;
constexpr int kMaxInterim = 8;

constexpr Refusal kUnreachable{502, "upstream_unreachable", "the model's runtime cannot be reached"};
constexpr Refusal kBroken{502, "upstream_failed", "the model's runtime gave no proper answer"};
constexpr Refusal kTooSlow{504, "upstream_timeout", "the model's runtime did not answer in time"};

bool is_event_stream(const ResponseHead& head) {
  const Field* type = find_field(head.fields, "content-type");
  if (type == nullptr || find_field(head.fields, "content-encoding") != nullptr) return false;
  constexpr std::string_view kType = "text/event-stream";
  const std::string_view value = type->value;
  return equal_fold(value.substr(0, kType.size()), kType) &&
         (value.size() == kType.size() || value[kType.size()] == ';' || value[kType.size()] == ' ');
}

}  // namespace

bool Session::step_response() {
  if (!link_) return false;
  bool moved = false;
  if (client_out_.is_waiting()) {
    const Io io = flush_client();
    if (io == Io::kWait) return false;
    if (io == Io::kFailed) {
      client_left();
      return true;
    }
    moved = true;
  }
  if (link_->is_connecting()) return moved;
  for (int reads = 0; reads < kReadsPerTurn && phase_ == Phase::kExchange && link_; ++reads) {
    const bool went_on = run_.head_taken ? relay_body() : take_response_head();
    if (!went_on) return moved;
    moved = true;
    if (client_out_.is_waiting()) return moved;
  }
  return moved;
}

/// The runtime's head; interim answers are left out. False if it has to be waited for.
bool Session::take_response_head() {
  Run& run = run_;
  while (true) {
    const std::string_view view = upstream_in_.view();
    const HeadEnd end = find_head_end(view);
    if (end.kind == HeadEnd::kFound) {
      const auto fault = read_response_head(view.substr(0, end.bytes), run.exchange.request.method, run.response);
      const int status = run.response.status;
      if (fault || status == 101 || (status < 200 && ++run.interim > kMaxInterim)) {
        upstream_failed();
        return true;
      }
      upstream_in_.consume(end.bytes);
      if (status < 200) continue;
      run.head_taken = true;
      begin_response();
      return true;
    }
    if (end.kind != HeadEnd::kNeedMore) {
      upstream_failed();
      return true;
    }
    const IoResult result = upstream_in_.fill(link_->stream);
    if (result.io == Io::kWait) return false;
    if (result.io != Io::kDone) {
      upstream_failed();
      return true;
    }
    progress_ = true;
  }
}

/// Asks the filters what they make of the answer. Its head is sent with its first bytes, or now if there are none.
void Session::begin_response() {
  Run& run = run_;
  run.response_chain.begin();
  // As it came: what the filters make of the head does not move the body's end.
  run.response_body = BodyCursor(run.response.framing, run.response.length);
  const bool has_body = run.response.framing != Framing::kNone;
  for (const auto& visit : run.visits | std::views::reverse) {
    BodyTransform* transform = visit->response_transform(run.exchange, run.response);
    if (transform != nullptr && has_body) run.response_chain.add(transform);
  }
  const bool of_length = run.response.framing == Framing::kLength;
  run.collecting_answer = !run.response_chain.empty() && of_length && run.response.length <= kCollectBytes;
  run.events.begin(has_body && is_event_stream(run.response));
  relay_body();
}

/// One read's worth of the body. False if it has to be waited for.
bool Session::relay_body() {
  Run& run = run_;
  bool end = false;
  const bool first = !run.answered && !run.collecting_answer && !run.client_gone;
  const bool over = run.response_body.next({}).kind == BodyCursor::Kind::kEnd;
  if (upstream_in_.view().empty() && !first && !over) {
    const IoResult result =
        upstream_in_.fill(link_->stream, run.events.is_on() ? Stream::Taking::kLater : Stream::Taking::kNow);
    if (result.io == Io::kWait) return false;
    if (result.io == Io::kEnd && run.response_body.ends_with_connection()) {
      end = true;
    } else if (result.io != Io::kDone) {
      upstream_failed();
      return true;
    }
    progress_ = true;
  }
  std::size_t used = 0;
  if (!take_answer_pieces(used, end)) return true;
  const bool given = end;
  if (!transform_answer(end)) return true;
  if (run.collecting_answer && !end) {
    upstream_in_.consume(used);
    return used > 0;
  }
  send_pieces(end);
  if (link_) link_->stream.take();
  upstream_in_.consume(used);
  run.collected.clear();
  if (run.collected.capacity() > 4096) run.collected.shrink_to_fit();
  if (std::exchange(flush_failed_, false)) {
    client_left();
    if (phase_ != Phase::kExchange) return true;
  }
  if (end) finish_response(given);
  return true;
}

/// False if the answer is broken.
bool Session::take_answer_pieces(std::size_t& used, bool& end) {
  Run& run = run_;
  const std::string_view view = upstream_in_.view();
  std::vector<std::string_view>& pieces = engine_.pieces;
  pieces.clear();
  while (!end && pieces.size() < kMostPieces) {
    const auto step = run.response_body.next(view.substr(used));
    used += step.consumed;
    if (step.kind == BodyCursor::Kind::kMalformed) {
      upstream_failed();
      return false;
    }
    if (step.kind == BodyCursor::Kind::kEnd) end = true;
    if (step.kind != BodyCursor::Kind::kData) break;
    pieces.push_back(step.data);
    if (run.client_gone) run.drained += step.data.size();
  }
  if (!run.client_gone || run.drained <= run.drain_most) return true;
  end_run();
  return false;
}

/// What was taken becomes what goes on. False if a filter refuses the answer.
bool Session::transform_answer(bool& end) {
  Run& run = run_;
  std::vector<std::string_view>& pieces = engine_.pieces;
  if (!run.response_chain.empty()) {
    std::string& out = run.collecting_answer ? run.collected : engine_.transformed;
    if (!run.collecting_answer) out.clear();
    std::optional<Refusal> refusal;
    for (std::size_t i = 0; i < pieces.size() && !refusal && !run.response_chain.ends_here(); ++i) {
      refusal = run.response_chain.feed(pieces[i], end && i + 1 == pieces.size(), out);
    }
    if (pieces.empty() && end) refusal = run.response_chain.feed({}, true, out);
    if (refusal) {
      fail(*refusal, Outcome::kUpstreamError);
      return false;
    }
    end = end || run.response_chain.ends_here();
    pieces.assign(1, out);
  }
  run.events.pass(pieces, end, engine_.events_text);
  return true;
}

void Session::send_pieces(bool end) {
  Run& run = run_;
  if (run.client_gone) {
    for (const std::string_view piece : engine_.pieces) engine_.instruments.drained_bytes.add(piece.size());
    return;
  }
  if (!run.answered) send_response_head(end);
  std::uint64_t total = 0;
  for (const std::string_view piece : engine_.pieces) total += piece.size();
  const bool chunked = run.client_framing == Framing::kChunked;
  if (total > 0) {
    if (chunked) client_out_.add_chunk_size(total);
    for (const std::string_view piece : engine_.pieces) client_out_.add(piece, true);
    if (chunked) client_out_.add("\r\n");
  }
  if (end && chunked) client_out_.add("0\r\n\r\n");
  flush_failed_ = flush_client() == Io::kFailed;
}

/// `whole`: what stands in the pieces is the whole body.
void Session::send_response_head(bool whole) {
  Run& run = run_;
  const RequestHead& request = run.exchange.request;
  ResponseHead& response = run.response;
  if (!run.response_chain.empty()) {
    response.framing = whole ? Framing::kLength : Framing::kChunked;
    response.length = 0;
    for (const std::string_view piece : engine_.pieces) response.length += piece.size();
  }
  const bool streamed = response.framing == Framing::kChunked || response.framing == Framing::kUntilClose;
  run.client_framing = streamed ? (request.minor == 1 ? Framing::kChunked : Framing::kUntilClose) : response.framing;
  run.close_after =
      !request.keep_alive || !run.request_whole || engine_.is_ending() || run.client_framing == Framing::kUntilClose;
  for (const Field& field : run.exchange.answer_fields) {
    std::erase_if(response.fields, [&](const Field& other) { return equal_fold(other.name, field.name); });
    response.fields.push_back(field);
  }
  std::string& text = engine_.client_text;
  text.clear();
  append_client_head(text, response, run.exchange.request_id, request.minor, run.close_after);
  client_out_.add(text);
  run.answered = true;
  run.exchange.status = response.status;
}

/// `clean`: the runtime has said that its answer ends here.
void Session::finish_response(bool clean) {
  Run& run = run_;
  const bool reusable = clean && run.request_whole && !upstream_out_.is_waiting() && run.response.keep_alive &&
                        !run.response_body.ends_with_connection() && upstream_in_.view().empty() && !engine_.draining;
  if (reusable) {
    connect_deadline_ = connect_again_ = 0;
    engine_.pool.keep(std::move(link_));
  } else {
    drop_link();
  }
  upstream_out_.clear();
  upstream_deadline_ = 0;
  if (run.client_gone) return end_run();
  run.exchange.outcome = Outcome::kComplete;
  phase_ = Phase::kFinish;
  next_ = !run.request_whole ? Next::kLinger : run.close_after ? Next::kClose : Next::kRequest;
}

void Session::upstream_failed() {
  if (upstream_timed_out_) return fail(kTooSlow, Outcome::kUpstreamError);
  fail(upstream_out_.took() == run_.took_before ? kUnreachable : kBroken, Outcome::kUpstreamError);
}

Io Session::flush_client() {
  // Somebody looks on as events come; and holding them saves nothing, as each goes to another reader.
  if (!run_.events.is_on() && waits_for_the_round(client_out_)) return Io::kWait;
  const std::uint64_t before = client_out_.took();
  const Io io = client_out_.flush(client_, [&](std::string_view sent) {
    run_.exchange.response_bytes += sent.size();
    for (const auto& visit : run_.visits) visit->on_response_chunk(run_.exchange, as_bytes(sent));
  });
  if (client_out_.took() != before) progress_ = true;
  return io;
}

}  // namespace tb::sentinel::proxy
