#include "sentinel/proxy/stream.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

namespace tb::sentinel::proxy {
namespace {

constexpr std::size_t kRecordBytes = 16 * 1024;
/// An Intake or Outbox that is empty gives memory beyond this back.
constexpr std::size_t kKeptCapacity = 4096;

}  // namespace

void SslFree::operator()(SSL* ssl) const {
  SSL_free(ssl);
}

void tune_for_loopback(int fd) {
  constexpr std::string_view kPlain = "reno";
  setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, kPlain.data(), kPlain.size());
}

bool Stream::watch(int epoll, void* whom) {
  epoll_event event{.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data = {.ptr = whom}};
  if (epoll_ctl(epoll, epoll_ < 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd_.get(), &event) != 0) return false;
  epoll_ = epoll;
  return true;
}

bool Stream::secure(SSL_CTX* context) {
  if (context == nullptr) return true;
  ssl_.reset(SSL_new(context));
  if (!ssl_ || SSL_set_fd(ssl_.get(), fd_.get()) != 1) return false;
  SSL_set_mode(ssl_.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_set_accept_state(ssl_.get());
  return true;
}

void Stream::note(std::uint32_t events) {
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) readable_ = true;
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) hung_up_ = true;
}

Io Stream::tls_wait(int result) {
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      return Io::kWait;
    case SSL_ERROR_ZERO_RETURN:
      return Io::kEnd;
    default:
      ERR_clear_error();
      return Io::kFailed;
  }
}

Io Stream::handshake() {
  if (!ssl_) return Io::kDone;
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_.get());
  return result == 1 ? Io::kDone : tls_wait(result);
}

IoResult Stream::read(std::span<char> room, Taking taking) {
  if (!take()) return {Io::kFailed, 0};
  if (!readable_ || room.empty()) return {Io::kWait, 0};
  if (ssl_) {
    ERR_clear_error();
    std::size_t bytes = 0;
    const int result = SSL_read_ex(ssl_.get(), room.data(), room.size(), &bytes);
    if (result == 1) return {Io::kDone, bytes};
    const Io io = tls_wait(result);
    if (io == Io::kWait) readable_ = false;
    return {io, 0};
  }
  while (true) {
    const bool later = taking == Taking::kLater && may_take_later_;
    const ssize_t got = recv(fd_.get(), room.data(), room.size(), later ? MSG_PEEK : 0);
    if (got > 0) {
      if (later) not_taken_ = static_cast<std::size_t>(got);
      // A short read has emptied the socket: the next byte gives a new edge. An end already told gives none.
      if (static_cast<std::size_t>(got) < room.size() && !hung_up_) readable_ = false;
      return {Io::kDone, static_cast<std::size_t>(got)};
    }
    if (got == 0) return {Io::kEnd, 0};
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return {Io::kFailed, 0};
    readable_ = false;
    return {Io::kWait, 0};
  }
}

bool Stream::take() {
  while (not_taken_ > 0) {
    const ssize_t taken = recv(fd_.get(), nullptr, not_taken_, MSG_TRUNC | MSG_DONTWAIT);  // drops them, tcp(7)
    if (taken < 0 && errno == EINTR) continue;
    if (taken <= 0) return false;
    not_taken_ -= static_cast<std::size_t>(taken);
  }
  return true;
}

IoResult Stream::write_tls(std::span<const iovec> parts) {
  std::array<char, kRecordBytes> record;
  const char* from = static_cast<const char*>(parts.front().iov_base);
  std::size_t bytes = parts.front().iov_len;
  if (parts.size() > 1 && bytes < kRecordBytes) {
    bytes = 0;
    for (const iovec& part : parts) {
      const std::size_t more = std::min(part.iov_len, kRecordBytes - bytes);
      std::memcpy(record.data() + bytes, part.iov_base, more);
      bytes += more;
      if (bytes == kRecordBytes) break;
    }
    from = record.data();
  }
  ERR_clear_error();
  std::size_t written = 0;
  const int result = SSL_write_ex(ssl_.get(), from, bytes, &written);
  if (result == 1) return {Io::kDone, written};
  return {tls_wait(result), 0};
}

IoResult Stream::write(std::span<const iovec> parts) {
  if (ssl_) return write_tls(parts);
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts.data());
  message.msg_iovlen = parts.size();
  while (true) {
    const ssize_t sent = parts.size() == 1
                             ? send(fd_.get(), parts.front().iov_base, parts.front().iov_len, MSG_NOSIGNAL)
                             : sendmsg(fd_.get(), &message, MSG_NOSIGNAL);
    if (sent >= 0) return {Io::kDone, static_cast<std::size_t>(sent)};
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return {Io::kWait, 0};
    return {Io::kFailed, 0};
  }
}

void Stream::end_writing() {
  if (end_sent_ || !fd_) return;
  end_sent_ = true;
  if (ssl_ && SSL_is_init_finished(ssl_.get()) == 1) {
    ERR_clear_error();
    SSL_shutdown(ssl_.get());
    ERR_clear_error();
  }
  shutdown(fd_.get(), SHUT_WR);
}

void Stream::close(bool hard) {
  if (!fd_) return;
  if (hard) {
    const linger reset{.l_onoff = 1, .l_linger = 0};
    setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  }
  ssl_.reset();
  // epoll watches what the descriptor stands for, and that lives on while another process has it: the init that made
  // it, or a child between fork and exec. Events of it would come to an object that is gone.
  if (epoll_ >= 0) epoll_ctl(epoll_, EPOLL_CTL_DEL, fd_.get(), nullptr);
  fd_ = Fd();
}

void Intake::clear() {
  view_ = {};
  in_room_ = false;
  own_.clear();
  if (own_.capacity() > kKeptCapacity) own_.shrink_to_fit();
}

IoResult Intake::fill(Stream& stream, Stream::Taking taking) {
  char* const room = room_.data();
  if (view_.empty()) {
    view_ = {room, 0};
  } else if (!in_room_ || view_.data() + view_.size() + ReadRoom::kReadBytes > room + ReadRoom::kBytes) {
    std::memmove(room, view_.data(), view_.size());
    view_ = {room, view_.size()};
  }
  in_room_ = true;
  own_.clear();
  char* const end = room + (view_.data() - room) + view_.size();
  const auto left = static_cast<std::size_t>(room + ReadRoom::kBytes - end);
  const IoResult result = stream.read({end, std::min(left, most_bytes_)}, taking);
  view_ = {view_.data(), view_.size() + result.bytes};
  return result;
}

void Intake::park() {
  if (view_.empty()) {
    clear();
    return;
  }
  if (!in_room_) return;
  own_.assign(view_);
  view_ = own_;
  in_room_ = false;
}

void Outbox::add(std::string_view bytes, bool body) {
  if (bytes.empty()) return;
  if (gather_.count == Gather::kParts) keep();
  if (is_waiting()) {
    kept_.append(bytes);
    segments_.push_back({bytes.size(), body});
    return;
  }
  gather_.parts[gather_.count] = {const_cast<char*>(bytes.data()), bytes.size()};
  gather_.is_body[gather_.count++] = body;
}

void Outbox::add_chunk_size(std::uint64_t bytes) {
  if (gather_.text_bytes + 24 > gather_.text.size()) keep();
  char* const begin = gather_.text.data() + gather_.text_bytes;
  char* end = std::to_chars(begin, begin + 16, bytes, 16).ptr;
  *end++ = '\r';
  *end++ = '\n';
  gather_.text_bytes += static_cast<std::size_t>(end - begin);
  add({begin, static_cast<std::size_t>(end - begin)});
}

std::span<const iovec> Outbox::next_parts(std::size_t& count) {
  if (is_waiting()) {
    one_ = {kept_.data() + sent_, kept_.size() - sent_};
    count = 1;
    return {&one_, 1};
  }
  count = gather_.count;
  return {gather_.parts.data(), gather_.count};
}

std::span<const iovec> Outbox::gathered(std::span<const iovec> parts) {
  if (parts.size() < 2) return parts;
  std::size_t total = 0;
  for (const iovec& part : parts) total += part.iov_len;
  if (total > gather_.small.size()) return parts;
  std::size_t at = 0;
  for (const iovec& part : parts) {
    std::memcpy(gather_.small.data() + at, part.iov_base, part.iov_len);
    at += part.iov_len;
  }
  one_ = {gather_.small.data(), total};
  return {&one_, 1};
}

/// What still lies elsewhere becomes this connection's own.
void Outbox::keep() {
  if (gather_.count == 0) return;
  if (!is_waiting()) {
    kept_.clear();
    segments_.clear();
    sent_ = first_segment_ = 0;
  }
  for (std::size_t i = 0; i < gather_.count; ++i) {
    const iovec& part = gather_.parts[i];
    kept_.append(static_cast<const char*>(part.iov_base), part.iov_len);
    segments_.push_back({part.iov_len, gather_.is_body[i]});
  }
  drop_parts(gather_.count);
}

void Outbox::drop_parts(std::size_t count) {
  if (count < gather_.count) {
    std::copy(gather_.parts.begin() + static_cast<std::ptrdiff_t>(count),
              gather_.parts.begin() + static_cast<std::ptrdiff_t>(gather_.count), gather_.parts.begin());
    std::copy(gather_.is_body.begin() + static_cast<std::ptrdiff_t>(count),
              gather_.is_body.begin() + static_cast<std::ptrdiff_t>(gather_.count), gather_.is_body.begin());
  }
  gather_.count -= count;
  if (gather_.count == 0) gather_.text_bytes = 0;
}

void Outbox::drop_kept() {
  kept_.clear();
  segments_.clear();
  sent_ = first_segment_ = 0;
  if (kept_.capacity() > kKeptCapacity) kept_.shrink_to_fit();
  if (segments_.capacity() > 64) segments_.shrink_to_fit();
}

void Outbox::clear() {
  drop_parts(gather_.count);
  drop_kept();
}

}  // namespace tb::sentinel::proxy
