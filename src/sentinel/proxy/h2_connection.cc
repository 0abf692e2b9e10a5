#include "sentinel/proxy/h2_connection.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <utility>

namespace tb::sentinel::proxy {
namespace {

constexpr int kReadsPerTurn = 8;
constexpr std::size_t kRecordBytes = 16 * 1024;
constexpr std::size_t kTurnBytes = 256 * 1024;
constexpr std::size_t kLingerBytes = std::size_t{4} << 20;
constexpr std::int64_t kLingerMs = 2'000;
constexpr std::int64_t kCutMs = 250;
/// Of all streams together; each of them is held by its own.
constexpr std::int32_t kConnectionWindowBytes = 1 << 20;
/// Frames that wait to be sent to a client that does not read: beyond, nothing more is taken from it.
constexpr std::size_t kMostQueued = 512;
constexpr std::size_t kMostAcks = 1000;
constexpr std::uint64_t kResetBurst = 100, kResetsPerSecond = 33;
/// Frames that ask for nothing (pings, settings, priorities, empty data), and ten times as dear the streams that we had
/// to reset.
constexpr double kTokens = 1000, kTokensPerSecond = 100, kResetTokens = 10;

std::uint8_t* bytes_of(std::string_view text) {
  return reinterpret_cast<std::uint8_t*>(const_cast<char*>(text.data()));
}

/// `name` and `value` outlive the frame's submission, which copies them.
nghttp2_nv field(std::string_view name, std::string_view value) {
  return {bytes_of(name), bytes_of(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

std::string_view text(const std::uint8_t* bytes, std::size_t size) {
  return {reinterpret_cast<const char*>(bytes), size};
}

constexpr NameSet kNotOfHttp2(std::to_array<std::string_view>({"connection", "keep-alive", "proxy-connection", "te",
                                                               "trailer", "transfer-encoding", "upgrade"}));

}  // namespace

/// What nghttp2 tells of, on its way through receive() and send().
struct H2Events {
  static H2Connection& of(void* user) { return *static_cast<H2Connection*>(user); }

  static int begin_frame(nghttp2_session*, const nghttp2_frame_hd* frame, void* user) {
    const bool asks = frame->type == NGHTTP2_DATA || frame->type == NGHTTP2_HEADERS ||
                      frame->type == NGHTTP2_CONTINUATION || frame->type == NGHTTP2_RST_STREAM ||
                      frame->type == NGHTTP2_WINDOW_UPDATE;
    if (!asks) of(user).spend(1);
    if (frame->type != NGHTTP2_CONTINUATION) of(user).head_deadline_ = 0;
    return 0;
  }

  static int begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    H2Connection& connection = of(user);
    connection.head_id_ = frame->hd.stream_id;
    connection.head_deadline_ = connection.engine_.poller.now_ms() + connection.engine_.options.head_ms;
    connection.engine_.note_deadline(connection.head_deadline_);
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) connection.add_stream(frame->hd.stream_id);
    return 0;
  }

  static int header(nghttp2_session* session, const nghttp2_frame* frame, const std::uint8_t* name,
                    std::size_t name_bytes, const std::uint8_t* value, std::size_t value_bytes, std::uint8_t,
                    void* user) {
    H2Stream* const stream = of(user).find(frame->hd.stream_id);
    if (stream == nullptr) return 0;
    const auto taken = frame->headers.cat == NGHTTP2_HCAT_REQUEST
                           ? stream->head.take(text(name, name_bytes), text(value, value_bytes))
                           : stream->head.skip(name_bytes + value_bytes);  // of trailers
    if (taken == H2Request::Taken::kYes) return 0;
    const auto code = taken == H2Request::Taken::kMalformed ? NGHTTP2_PROTOCOL_ERROR : NGHTTP2_ENHANCE_YOUR_CALM;
    nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream->id, code);
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  }

  static int invalid_header(nghttp2_session*, const nghttp2_frame*, const std::uint8_t*, std::size_t,
                            const std::uint8_t*, std::size_t, std::uint8_t, void*) {
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;  // the stream is reset; without this the field would be left out
  }

  static int frame_received(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    H2Connection& connection = of(user);
    const bool ends = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    const bool is_head = frame->hd.type == NGHTTP2_HEADERS;
    if (!is_head && frame->hd.type != NGHTTP2_DATA) return 0;
    if (is_head) connection.head_deadline_ = 0;
    if (!is_head && frame->hd.length == 0 && !ends) connection.spend(1);
    H2Stream* const stream = connection.find(frame->hd.stream_id);
    if (stream == nullptr || stream->is_reset) return 0;
    if (is_head && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
      stream->has_head = true;
      connection.open(*stream, ends);
    } else if (ends) {
      stream->give_end();
      connection.on_stream(*stream);
    }
    return 0;
  }

  static int data(nghttp2_session* session, std::uint8_t, std::int32_t id, const std::uint8_t* data, std::size_t bytes,
                  void* user) {
    H2Stream* const stream = of(user).find(id);
    if (stream == nullptr || stream->is_reset) return nghttp2_session_consume(session, id, bytes);
    if (stream->is_over) {
      nghttp2_session_consume(session, id, bytes);
      stream->dropped += bytes;
      if (stream->dropped > kLingerBytes) of(user).reset(*stream, NGHTTP2_NO_ERROR);
      return 0;
    }
    stream->give(text(data, bytes));
    nghttp2_session_consume_connection(session, bytes);
    nghttp2_session_consume_stream(session, id, stream->flush());
    return 0;
  }

  static ssize_t provide(nghttp2_session*, std::int32_t, std::uint8_t* room, std::size_t room_bytes,
                         std::uint32_t* flags, nghttp2_data_source* source, void* user) {
    auto& stream = *static_cast<H2Stream*>(source->ptr);
    H2Connection& connection = of(user);
    if (stream.is_reset) return NGHTTP2_ERR_DEFERRED;
    std::size_t bytes = 0;
    const auto given = stream.provide({reinterpret_cast<char*>(room), room_bytes}, bytes);
    stream.is_deferred = given == H2Stream::Given::kWait;
    stream.deadline = 0;
    if (given == H2Stream::Given::kBroken) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (given == H2Stream::Given::kWait) return NGHTTP2_ERR_DEFERRED;
    if (given == H2Stream::Given::kEnd) *flags |= NGHTTP2_DATA_FLAG_EOF;
    stream.deadline = connection.engine_.poller.now_ms() + connection.engine_.options.client_ms;
    connection.engine_.note_deadline(stream.deadline);
    return static_cast<ssize_t>(bytes);
  }

  static int frame_sent(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    H2Connection& connection = of(user);
    if (frame->hd.type == NGHTTP2_RST_STREAM && frame->rst_stream.error_code != NGHTTP2_NO_ERROR) {
      connection.spend(kResetTokens);
    }
    const bool ends = (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
                      (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    H2Stream* const stream = ends ? connection.find(frame->hd.stream_id) : nullptr;
    if (stream != nullptr && !stream->request_ended) connection.drop_rest(*stream);
    return 0;
  }

  static int stream_closed(nghttp2_session*, std::int32_t id, std::uint32_t, void* user) {
    H2Connection& connection = of(user);
    if (connection.head_id_ == id) connection.head_deadline_ = 0;
    H2Stream* const stream = connection.find(id);
    if (stream == nullptr) return 0;
    if (!stream->has_head) connection.engine_.note_refused(connection.peer_, stream->head.is_too_large() ? 431 : 400);
    connection.remove(*stream);
    return 0;
  }
};

namespace {

const nghttp2_session_callbacks& callbacks() {
  static const auto made = [] {
    nghttp2_session_callbacks* made = nullptr;
    if (nghttp2_session_callbacks_new(&made) != 0) throw std::bad_alloc();
    nghttp2_session_callbacks_set_on_begin_frame_callback(made, H2Events::begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(made, H2Events::begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(made, H2Events::header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(made, H2Events::invalid_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(made, H2Events::frame_received);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(made, H2Events::data);
    nghttp2_session_callbacks_set_on_frame_send_callback(made, H2Events::frame_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(made, H2Events::stream_closed);
    return std::unique_ptr<nghttp2_session_callbacks, decltype(&nghttp2_session_callbacks_del)>(
        made, nghttp2_session_callbacks_del);
  }();
  return *made;
}

const nghttp2_option& options() {
  static const auto made = [] {
    nghttp2_option* made = nullptr;
    if (nghttp2_option_new(&made) != 0) throw std::bad_alloc();
    nghttp2_option_set_no_auto_window_update(made, 1);
    nghttp2_option_set_no_closed_streams(made, 1);
    nghttp2_option_set_max_outbound_ack(made, kMostAcks);
    nghttp2_option_set_stream_reset_rate_limit(made, kResetBurst, kResetsPerSecond);
    return std::unique_ptr<nghttp2_option, decltype(&nghttp2_option_del)>(made, nghttp2_option_del);
  }();
  return *made;
}

}  // namespace

void H2Connection::SessionFree::operator()(nghttp2_session* session) const {
  nghttp2_session_del(session);
}

H2Connection::H2Connection(Engine& engine, Stream client, Peer peer)
    : engine_(engine),
      client_(std::move(client)),
      peer_(std::move(peer)),
      tokens_(kTokens),
      tokens_at_ms_(engine.poller.now_ms()) {
  nghttp2_session* session = nullptr;
  if (nghttp2_session_server_new2(&session, &callbacks(), this, &options()) != 0) throw std::bad_alloc();
  session_.reset(session);
  const std::array settings{
      nghttp2_settings_entry{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, kMostH2Streams},
      nghttp2_settings_entry{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kH2WindowBytes},
      nghttp2_settings_entry{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<std::uint32_t>(kMaxHeadBytes)},
      nghttp2_settings_entry{NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1}};
  nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings.data(), settings.size());
  nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, kConnectionWindowBytes);
}

H2Connection::~H2Connection() = default;

void H2Connection::begin() {
  engine_.instruments.http2_connections.add();
  if (engine_.draining) leave();
  if (engine_.last_requests) say_ending();
  again();
  set_deadlines();
}

void H2Connection::again() {
  if (std::exchange(queued_, true)) return;
  engine_.again(*this);
}

void H2Connection::on_ready(std::uint32_t events) {
  client_.note(events);
  if (phase_ != Phase::kGone) again();
}

void H2Connection::on_stream(H2Stream& stream) {
  if (phase_ == Phase::kGone || std::exchange(stream.is_ready, true)) return;
  ready_.push_back(&stream);
  again();
}

void H2Connection::resume() {
  queued_ = false;
  try {
    if (phase_ == Phase::kServe) {
      receive();
      serve_ready();
      send();
      settle();
    }
    if (phase_ == Phase::kLinger) linger();
    if (phase_ != Phase::kGone) set_deadlines();
  } catch (...) {
    engine_.log.error("an HTTP/2 connection failed in an unforeseen way");
    gone();
  }
}

void H2Connection::receive() {
  for (int reads = 0; reads < kReadsPerTurn; ++reads) {
    if (calmed_) return;
    if (!out_.empty() && nghttp2_session_get_outbound_queue_size(session_.get()) > kMostQueued) return;
    std::array<char, kRecordBytes> room;
    const IoResult result = client_.read(room);
    if (result.io == Io::kWait) return;
    if (result.io != Io::kDone) {
      failed_ = true;
      return;
    }
    const ssize_t taken =
        nghttp2_session_mem_recv(session_.get(), reinterpret_cast<std::uint8_t*>(room.data()), result.bytes);
    if (taken == NGHTTP2_ERR_FLOODED) return calm_down();
    if (taken < 0) {
      failed_ = true;
      return;
    }
  }
  again();
}

void H2Connection::serve_ready() {
  std::vector<H2Stream*> ready;
  ready.swap(ready_);
  for (H2Stream* const stream : ready) {
    stream->is_ready = false;
    if (!stream->is_reset) serve(*stream);
  }
}

void H2Connection::serve(H2Stream& stream) {
  nghttp2_session_consume_stream(session_.get(), stream.id, stream.flush());
  if (stream.is_answered) {
    if (!std::exchange(stream.is_deferred, false)) return;
    stream.deadline = engine_.poller.now_ms() + engine_.options.client_ms;
    engine_.note_deadline(stream.deadline);
    nghttp2_session_resume_data(session_.get(), stream.id);
    return;
  }
  while (true) {
    const auto heard = stream.listen();
    if (heard == H2Stream::Heard::kNothing) return;
    if (heard == H2Stream::Heard::kBroken) return reset(stream, NGHTTP2_INTERNAL_ERROR);
    if (heard == H2Stream::Heard::kHead) return answer(stream);
    const nghttp2_nv status = field(":status", "100");
    nghttp2_submit_headers(session_.get(), NGHTTP2_FLAG_NONE, stream.id, nullptr, &status, 1, nullptr);
  }
}

void H2Connection::answer(H2Stream& stream) {
  ResponseHead& head = stream.answer;
  stream.is_answered = true;
  const std::string status = std::to_string(head.status);
  std::vector<nghttp2_nv> fields{field(":status", status)};
  for (Field& one : head.fields) {
    if (kNotOfHttp2.contains(one.name)) continue;
    std::ranges::transform(one.name, one.name.begin(), [](char c) { return to_lower(c); });
    fields.push_back(field(one.name, one.value));
  }
  const nghttp2_data_provider body{.source = {.ptr = &stream}, .read_callback = H2Events::provide};
  const int result = nghttp2_submit_response(session_.get(), stream.id, fields.data(), fields.size(),
                                             stream.has_body() ? &body : nullptr);
  if (result != 0) return reset(stream, NGHTTP2_INTERNAL_ERROR);
  head.fields = {};
  stream.deadline = engine_.poller.now_ms() + engine_.options.client_ms;
  engine_.note_deadline(stream.deadline);
}

/// One write of what the session has to say. False if there is nothing, or if the client takes no more.
bool H2Connection::write_some(std::size_t& bytes) {
  while (out_.size() < kRecordBytes) {
    const std::uint8_t* frames = nullptr;
    const ssize_t more = nghttp2_session_mem_send(session_.get(), &frames);
    if (more < 0) failed_ = true;
    if (more <= 0) break;
    out_.append(text(frames, static_cast<std::size_t>(more)));
  }
  if (out_.empty()) return false;
  const iovec part{out_.data(), out_.size()};
  const IoResult result = client_.write({&part, 1});
  if (result.io == Io::kWait) return false;
  if (result.io != Io::kDone) {
    failed_ = true;
    return false;
  }
  progress_ = true;
  bytes += result.bytes;
  out_.erase(0, result.bytes);
  return true;
}

void H2Connection::send() {
  std::size_t bytes = 0;
  while (!failed_ && write_some(bytes)) {
    if (bytes > kTurnBytes) return again();
  }
  if (out_.empty()) out_.shrink_to_fit();
}

/// Whether this goes on.
void H2Connection::settle() {
  if (failed_) return gone();
  if (!out_.empty()) return;
  nghttp2_session* const session = session_.get();
  if (nghttp2_session_want_read(session) != 0 || nghttp2_session_want_write(session) != 0) return;
  if (!must_linger_) return gone();
  while (!streams_.empty()) remove(*streams_.back());
  client_.end_writing();
  phase_ = Phase::kLinger;
  client_deadline_ = idle_deadline_ = head_deadline_ = 0;
  if (end_deadline_ != 0) return;
  end_deadline_ = engine_.poller.now_ms() + kLingerMs;
  engine_.note_deadline(end_deadline_);
}

/// Closing on bytes that the client has sent would reset the connection and take the answer away.
void H2Connection::linger() {
  std::array<char, kRecordBytes> room;
  while (lingered_ < kLingerBytes) {
    const IoResult result = client_.read(room);
    if (result.io == Io::kWait) return;
    if (result.io != Io::kDone) break;
    lingered_ += result.bytes;
  }
  gone();
}

void H2Connection::set_deadlines() {
  const bool progress = std::exchange(progress_, false);
  if (phase_ != Phase::kServe) return;
  const auto set = [&](std::int64_t& deadline, bool runs, bool anew, std::int64_t ms) {
    if (!runs) {
      deadline = 0;
    } else if (anew || deadline == 0) {
      deadline = engine_.poller.now_ms() + ms;
      engine_.note_deadline(deadline);
    }
  };
  set(client_deadline_, !out_.empty(), progress, engine_.options.client_ms);
  set(idle_deadline_, streams_.empty() && !leaving_, false, engine_.options.idle_ms);
}

void H2Connection::check_deadlines(std::int64_t now_ms) {
  const auto is_over = [&](std::int64_t& deadline) {
    if (deadline == 0) return false;
    if (deadline > now_ms) {
      engine_.note_deadline(deadline);
      return false;
    }
    deadline = 0;
    return true;
  };
  if (is_over(end_deadline_)) return gone();
  const bool slow = is_over(client_deadline_);
  if (is_over(head_deadline_) || slow) {
    engine_.instruments.timeouts.add();
    return gone();
  }
  if (is_over(idle_deadline_)) leave();
  for (const auto& stream : streams_) {
    if (stream->is_reset || !is_over(stream->deadline)) continue;
    if (!stream->is_over) engine_.instruments.timeouts.add();
    reset(*stream, stream->is_over ? NGHTTP2_NO_ERROR : NGHTTP2_CANCEL);
  }
}

void H2Connection::cut(const Refusal&) {
  if (phase_ == Phase::kGone) return;
  cut_ = true;
  leave();
  end_deadline_ = engine_.poller.now_ms() + kCutMs;
  engine_.note_deadline(end_deadline_);
}

void H2Connection::say_ending() {
  if (phase_ != Phase::kServe || leaving_) return;
  nghttp2_submit_shutdown_notice(session_.get());
  again();
}

void H2Connection::close_if_idle() {
  leave();
}

/// What is under way finishes; a stream that comes after the last one known is the client's to ask for elsewhere.
void H2Connection::leave() {
  if (phase_ != Phase::kServe || std::exchange(leaving_, true)) return;
  must_linger_ = idle_deadline_ == 0;
  nghttp2_submit_goaway(session_.get(), NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_.get()),
                        NGHTTP2_NO_ERROR, nullptr, 0);
  again();
}

void H2Connection::calm_down() {
  if (std::exchange(calmed_, true)) return;
  leaving_ = must_linger_ = true;
  end_deadline_ = engine_.poller.now_ms() + kLingerMs;
  engine_.note_deadline(end_deadline_);
  engine_.instruments.floods.add();
  nghttp2_session_terminate_session(session_.get(), NGHTTP2_ENHANCE_YOUR_CALM);
  again();
}

void H2Connection::spend(double tokens) {
  const std::int64_t now = engine_.poller.now_ms();
  tokens_ = std::min(kTokens, tokens_ + static_cast<double>(now - tokens_at_ms_) * kTokensPerSecond / 1000) - tokens;
  tokens_at_ms_ = now;
  if (tokens_ < 0) calm_down();
}

/// The Session sees its client leave at once.
void H2Connection::reset(H2Stream& stream, std::uint32_t code) {
  stream.is_reset = true;
  stream.deadline = 0;
  stream.close();
  nghttp2_submit_rst_stream(session_.get(), NGHTTP2_FLAG_NONE, stream.id, code);
  again();
}

/// Answered before all was asked. A reset at once would take the answer away from clients that are still sending.
void H2Connection::drop_rest(H2Stream& stream) {
  stream.is_over = true;
  stream.close();
  stream.deadline = engine_.poller.now_ms() + kLingerMs;
  engine_.note_deadline(stream.deadline);
}

H2Stream& H2Connection::add_stream(std::int32_t id) {
  auto stream = std::make_unique<H2Stream>(*this, engine_, id);
  H2Stream& added = *stream;
  added.place = streams_.size();
  streams_.push_back(std::move(stream));
  nghttp2_session_set_stream_user_data(session_.get(), id, &added);
  return added;
}

H2Stream* H2Connection::find(std::int32_t id) {
  return static_cast<H2Stream*>(nghttp2_session_get_stream_user_data(session_.get(), id));
}

void H2Connection::open(H2Stream& stream, bool ends) {
  if (leaving_) return reset(stream, NGHTTP2_REFUSED_STREAM);
  if (engine_.clients.size() >= engine_.options.max_connections || !stream.open(peer_, ends)) {
    engine_.instruments.turned_away.add();
    return reset(stream, NGHTTP2_REFUSED_STREAM);
  }
  // Streams take turns; what the client would like is its own affair.
  const nghttp2_extpri turns{.urgency = NGHTTP2_EXTPRI_DEFAULT_URGENCY, .inc = 1};
  nghttp2_session_change_extpri_stream_priority(session_.get(), stream.id, &turns, 1);
}

void H2Connection::remove(H2Stream& stream) {
  stream.close();
  std::erase(ready_, &stream);
  nghttp2_session_set_stream_user_data(session_.get(), stream.id, nullptr);
  const std::size_t place = stream.place;
  std::unique_ptr<H2Stream> gone = std::move(streams_[place]);
  if (place + 1 != streams_.size()) {
    streams_[place] = std::move(streams_.back());
    streams_[place]->place = place;
  }
  streams_.pop_back();
  engine_.poller.retire(std::move(gone));
}

void H2Connection::gone() {
  if (phase_ == Phase::kGone) return;
  phase_ = Phase::kGone;
  while (!streams_.empty()) remove(*streams_.back());
  client_.end_writing();
  client_.close();
  engine_.remove(*this);
}

}  // namespace tb::sentinel::proxy
