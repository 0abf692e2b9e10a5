#include "sentinel/proxy/h2_stream.h"

#include <sys/socket.h>

#include <array>
#include <cstring>

#include "sentinel/proxy/session.h"

namespace tb::sentinel::proxy {
namespace {

constexpr std::size_t kReadBytes = 16 * 1024;
/// Of each side of a pair, in the kernel: what a slow client makes it keep of an answer.
constexpr int kPairBytes = 64 * 1024;

}  // namespace

bool H2Stream::open(const Peer& peer, bool ends) {
  std::array<int, 2> ends_of_pair{-1, -1};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends_of_pair.data()) != 0) return false;
  Fd ours(ends_of_pair[0]);
  Fd theirs(ends_of_pair[1]);
  for (const int fd : ends_of_pair) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &kPairBytes, sizeof kPairBytes);
  pair_.emplace(std::move(ours));
  auto session = std::make_unique<Session>(engine_, Stream(std::move(theirs)), peer);
  if (!engine_.poller.watch(session->stream(), *session) || !engine_.poller.watch(*pair_, *this)) return false;
  const std::string text = head.text(ends);
  out_.add(text);
  request_ended = ends;
  flush();
  engine_.add(std::move(session));
  return true;
}

void H2Stream::frame(std::string_view data) {
  if (head.has_length()) return out_.add(data);
  out_.add_chunk_size(data.size());
  out_.add(data);
  out_.add("\r\n");
}

void H2Stream::give(std::string_view data) {
  if (data.empty()) return;
  owed_ += data.size();
  if (out_.is_waiting()) {
    waiting_.append(data);
  } else {
    frame(data);
  }
}

void H2Stream::give_end() {
  request_ended = true;
  end_waits_ = !head.has_length();
}

std::size_t H2Stream::flush() {
  const std::uint64_t before = out_.took();
  while (!is_deaf_) {
    const Io io = out_.flush(*pair_, [](std::string_view) {});
    if (io == Io::kWait) break;
    if (io != Io::kDone) {
      is_deaf_ = true;
    } else if (!waiting_.empty()) {
      frame(waiting_);
      out_.hold();
      waiting_.clear();
    } else if (end_waits_) {
      out_.add("0\r\n\r\n");
      end_waits_ = false;
    } else {
      break;
    }
  }
  if (is_deaf_) {
    out_.clear();
    waiting_.clear();
  }
  const bool all = !out_.is_waiting() && waiting_.empty();
  if (all) waiting_.shrink_to_fit();
  const std::size_t left = all ? owed_ : std::min<std::size_t>(owed_, out_.took() - before);
  owed_ -= left;
  return left;
}

H2Stream::Heard H2Stream::listen() {
  while (true) {
    const HeadEnd end = find_head_end(in_, known_);
    if (end.kind == HeadEnd::kFound) {
      if (read_response_head(std::string_view(in_).substr(0, end.bytes), head.method(), answer)) return Heard::kBroken;
      in_.erase(0, end.bytes);
      known_ = 0;
      if (answer.status == 100) return Heard::kContinue;
      if (answer.status < 200) return Heard::kBroken;
      body_ = BodyCursor(answer.framing, answer.length);
      return Heard::kHead;
    }
    if (end.kind != HeadEnd::kNeedMore) return Heard::kBroken;
    known_ = in_.size();
    std::array<char, kReadBytes> room;
    const IoResult result = pair_->read(room);
    if (result.io == Io::kWait) return Heard::kNothing;
    if (result.io != Io::kDone) return Heard::kBroken;
    in_.append(room.data(), result.bytes);
  }
}

H2Stream::Given H2Stream::provide(std::span<char> room, std::size_t& bytes) {
  std::array<char, kReadBytes> read;
  bytes = 0;
  const auto broken = [&] {  // what came before that is given first
    is_broken_ = true;
    return bytes > 0 ? Given::kSome : Given::kBroken;
  };
  if (is_broken_) return broken();
  while (true) {
    std::string_view from = in_;
    if (from.empty()) {
      if (bytes == room.size()) return body_is_over() ? Given::kEnd : Given::kSome;
      const IoResult result = pair_->read({read.data(), std::min(read.size(), room.size() - bytes)});
      if (result.io == Io::kWait) return body_is_over() ? Given::kEnd : bytes > 0 ? Given::kSome : Given::kWait;
      if (result.io != Io::kDone) return body_is_over() ? Given::kEnd : broken();
      from = {read.data(), result.bytes};
    }
    // No step gives more than it was shown, so that all of it finds room.
    while (!from.empty()) {
      const auto step = body_.next(from.substr(0, room.size() - bytes));
      from.remove_prefix(step.consumed);
      if (step.kind == BodyCursor::Kind::kMalformed) return broken();
      if (step.kind == BodyCursor::Kind::kEnd) return Given::kEnd;
      if (!step.data.empty()) std::memcpy(room.data() + bytes, step.data.data(), step.data.size());
      bytes += step.data.size();
      if (bytes == room.size()) break;
    }
    in_.assign(from);
    if (bytes == room.size()) return body_is_over() ? Given::kEnd : Given::kSome;
  }
}

}  // namespace tb::sentinel::proxy
