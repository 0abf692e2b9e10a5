#include "http/transfer_loop.h"

#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>

#include "base/clock.h"
#include "base/error.h"

namespace tb::http {
namespace {

/// How late `stop` may be seen while nothing comes.
constexpr int kLookMs = 250;
/// Attempts at a name's addresses, and the resolver.
constexpr std::size_t kMostWatched = 8;
/// Of TLS records, for each connection.
constexpr std::size_t kReadAheadBytes = std::size_t{128} << 10;
/// Beyond what OpenSSL may have of a record that it has begun.
constexpr std::uint64_t kRecordSlack = std::uint64_t{32} << 10;

void wake_at(curl_socket_t socket, int bytes) {
  setsockopt(socket, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof bytes);
}

}  // namespace

TransferLoop::TransferLoop() : multi_(curl_multi_init()), easy_(curl_easy_init()) {
  watched_.reserve(kMostWatched);  // a callback of C must not throw
  if (multi_ == nullptr || easy_ == nullptr) {
    curl_easy_cleanup(easy_);
    curl_multi_cleanup(multi_);
    throw Error("out_of_memory", "no memory for an HTTP handle");
  }
  curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, &TransferLoop::on_socket);
  curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
  curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, &TransferLoop::on_timer);
  curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
}

TransferLoop::~TransferLoop() {
  curl_easy_cleanup(easy_);
  curl_multi_cleanup(multi_);
}

int TransferLoop::on_socket(CURL*, curl_socket_t socket, int what, void* self, void*) {
  auto& watched = static_cast<TransferLoop*>(self)->watched_;
  std::erase_if(watched, [&](const Watched& other) { return other.socket == socket; });
  if (what == CURL_POLL_REMOVE) return 0;
  if (watched.size() == kMostWatched) return -1;
  watched.push_back({socket, what});
  return 0;
}

int TransferLoop::on_timer(CURLM*, long ms, void* self) {
  static_cast<TransferLoop*>(self)->timer_boot_ms_ = ms < 0 ? -1 : boot_ms_now() + ms;
  return 0;
}

CURLcode TransferLoop::on_tls_context(CURL*, void* context, void*) {
  SSL_CTX_set_default_read_buffer_len(static_cast<SSL_CTX*>(context), kReadAheadBytes);
  return CURLE_OK;
}

bool TransferLoop::timer_is_due() const {
  return timer_boot_ms_ >= 0 && boot_ms_now() >= timer_boot_ms_;
}

void TransferLoop::act(curl_socket_t socket, int events) {
  int running = 0;
  curl_multi_socket_action(multi_, socket, events, &running);
}

CURLcode TransferLoop::run(const Run& run) {
  watched_.clear();
  timer_boot_ms_ = -1;
  large_ = false;
  used_ = CURL_SOCKET_BAD;
  curl_easy_setopt(easy_, CURLOPT_SSL_CTX_FUNCTION, &TransferLoop::on_tls_context);
  if (curl_multi_add_handle(multi_, easy_) != CURLM_OK) return CURLE_FAILED_INIT;
  CURLcode code = CURLE_OK;
  act(CURL_SOCKET_TIMEOUT, 0);
  while (true) {
    int left = 0;
    if (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
      code = message->data.result;
      break;
    }
    if (run.stop.stop_requested()) {
      code = CURLE_ABORTED_BY_CALLBACK;
      break;
    }
    wait(run);
  }
  curl_easy_getinfo(easy_, CURLINFO_ACTIVESOCKET, &used_);
  if (large_ && used_ != CURL_SOCKET_BAD) wake_at(used_, 1);
  curl_multi_remove_handle(multi_, easy_);
  return code;
}

void TransferLoop::wait(const Run& run) {
  std::array<pollfd, kMostWatched> polled{};
  const std::size_t count = watched_.size();
  for (std::size_t i = 0; i < count; ++i) {
    const auto [socket, what] = watched_[i];
    polled[i] = {.fd = socket,
                 .events = static_cast<short>(((what & CURL_POLL_IN) != 0 ? POLLIN : 0) |
                                              ((what & CURL_POLL_OUT) != 0 ? POLLOUT : 0)),
                 .revents = 0};
  }
  std::int64_t ms = large_ ? kLargePieceMs : kLookMs;
  if (timer_boot_ms_ >= 0) ms = std::clamp<std::int64_t>(timer_boot_ms_ - boot_ms_now(), 0, ms);
  const int ready = poll(polled.data(), static_cast<nfds_t>(count), static_cast<int>(ms));
  if (timer_is_due()) act(CURL_SOCKET_TIMEOUT, 0);
  for (std::size_t i = 0; i < count; ++i) {
    const pollfd& one = polled[i];
    int events = 0;
    if ((one.revents & (POLLIN | POLLHUP)) != 0) events |= CURL_CSELECT_IN;
    if ((one.revents & POLLOUT) != 0) events |= CURL_CSELECT_OUT;
    if ((one.revents & (POLLERR | POLLNVAL)) != 0) events |= CURL_CSELECT_ERR;
    // Less than a large piece may have come.
    if (ready == 0 && large_ && (one.events & POLLIN) != 0) events = CURL_CSELECT_IN;
    const bool still = std::ranges::any_of(watched_, [&](const Watched& w) { return w.socket == one.fd; });
    if (events != 0 && still) go_on(run, one.fd, events);
  }
}

/// As long as bytes come: OpenSSL may have more of them than poll(2) knows of.
void TransferLoop::go_on(const Run& run, curl_socket_t socket, int events) {
  std::uint64_t before = 0;
  do {
    before = run.body.received;
    act(socket, events);
    expect(run);
    events = CURL_CSELECT_IN;
  } while (run.body.received != before && !run.stop.stop_requested());
}

/// A read takes kReadAheadBytes at most, so that nothing behind the body is read.
void TransferLoop::expect(const Run& run) {
  const BodyProgress& body = run.body;
  const bool large = run.direct && body.received > 0 && body.length > body.received &&
                     body.length - body.received > kLargePiece + kRecordSlack;
  if (large == large_ || watched_.size() != 1) return;
  large_ = large;
  wake_at(watched_.front().socket, large ? static_cast<int>(kLargePiece) : 1);
  if (SSL* const ssl = tls()) SSL_set_read_ahead(ssl, large ? 1 : 0);
}

SSL* TransferLoop::tls() const {
  curl_tlssessioninfo* info = nullptr;
  if (curl_easy_getinfo(easy_, CURLINFO_TLS_SSL_PTR, &info) != CURLE_OK || info == nullptr) return nullptr;
  return info->backend == CURLSSLBACKEND_OPENSSL ? static_cast<SSL*>(info->internals) : nullptr;
}

void TransferLoop::look_behind_body() {
  SSL* const ssl = tls();
  if (ssl != nullptr && SSL_has_pending(ssl) != 0) curl_easy_setopt(easy_, CURLOPT_FORBID_REUSE, 1L);
}

bool TransferLoop::has_unread_bytes() const {
  pollfd idle{used_, POLLIN, 0};
  return used_ != CURL_SOCKET_BAD && poll(&idle, 1, 0) > 0;
}

}  // namespace tb::http
