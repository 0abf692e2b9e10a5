// File bodies: sendfile where the socket is plain (the bytes never enter this process), pieces through one buffer where
// TLS must see them. Disk reads happen on workers; a slow client holds neither a worker nor memory.
#include <sys/sendfile.h>

#include <boost/asio/redirect_error.hpp>
#include <cerrno>

#include "http/connection.h"
#include "http/on_worker.h"
#include "http/sigpipe.h"

namespace tb::http {

namespace asio = boost::asio;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

constexpr std::size_t kPieceBytes = 512 * 1024;
// What one visit to a worker may send while the socket takes it: other requests want the worker too.
constexpr std::uint64_t kVisitBytes = std::uint64_t{8} << 20;

struct Visit {
  std::uint64_t sent = 0;
  int error = 0;  ///< of errno; EAGAIN: the socket is full; ENODATA: the file ended early
};

Visit send_while_ready(int socket, const FileBody& file, std::uint64_t done) {
  const SigpipeBlock block;
  Visit visit;
  while (done + visit.sent < file.length && visit.sent < kVisitBytes) {
    auto at = static_cast<off_t>(file.offset + done + visit.sent);
    const std::uint64_t left = std::min(file.length - done - visit.sent, kVisitBytes - visit.sent);
    const ssize_t n = ::sendfile(socket, file.fd.get(), &at, left);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      visit.error = n < 0 ? errno : ENODATA;
      break;
    }
    visit.sent += static_cast<std::uint64_t>(n);
  }
  return visit;
}

}  // namespace

// A full pool makes these wait a little, not fail: the head has gone out already.

asio::awaitable<bool> Connection::send_file_by_kernel(const FileBody& file) {
  auto last_progress = steady_clock::now();
  std::uint64_t done = 0;
  while (done < file.length) {
    Visit visit;
    const int socket = socket_.native_handle();
    auto job = [&] { visit = send_while_ready(socket, file, done); };
    boost::system::error_code ec;
    if (!co_await on_worker(job)) {
      asio::steady_timer pause(socket_.get_executor(), milliseconds(5));
      co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, ec));
    }
    if (aborted_) co_return false;
    if (visit.sent > 0) last_progress = steady_clock::now();
    done += visit.sent;
    if (visit.error != 0 && visit.error != EAGAIN) {
      if (visit.error == ENODATA) shared_.log.error("file ended before its answer");
      co_return false;
    }
    if (visit.error == EAGAIN) {
      arm(last_progress + milliseconds(shared_.config.write_ms));
      co_await socket_.async_wait(asio::ip::tcp::socket::wait_write, asio::redirect_error(asio::use_awaitable, ec));
      disarm();
      if (ec || aborted_ || timed_out_) co_return false;
    }
  }
  co_return true;
}

asio::awaitable<bool> Connection::send_file(const FileBody& file) {
  std::string piece(static_cast<std::size_t>(std::min<std::uint64_t>(kPieceBytes, file.length)), '\0');
  for (std::uint64_t done = 0; done < file.length;) {
    const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(piece.size(), file.length - done));
    std::size_t got = 0;
    bool failed = false;
    auto job = [&] {
      const MutableBytes into(reinterpret_cast<std::uint8_t*>(piece.data()), wanted);
      const auto n = pread_full(file.fd.get(), into, file.offset + done, "file of an answer");
      failed = !n || *n != wanted;
      got = n ? *n : 0;
    };
    if (!co_await on_worker(job)) {
      boost::system::error_code ec;
      asio::steady_timer pause(socket_.get_executor(), milliseconds(5));
      co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, ec));
    }
    if (failed) {
      shared_.log.error("file of an answer could not be read");
      co_return false;
    }
    if (got > 0 && !co_await write_all(std::string_view(piece).substr(0, got), {})) co_return false;
    done += got;
    if (aborted_) co_return false;
  }
  co_return true;
}

}  // namespace tb::http
