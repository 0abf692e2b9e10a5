// One accepted connection: its coroutine reads requests, lets workers answer them, and writes the answers. Everything
// here runs on the connection's own loop, except what is handed to the workers, during which the coroutine sleeps.
// Internal to http/.
#pragma once

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "async/workers.h"
#include "http/request_reader.h"
#include "http/server.h"

namespace tb::http {

/// What all connections of a server have in common; outlives them.
struct ServerShared {
  ServerConfig config;
  Router router;
  obs::Log log;
  obs::Metrics* metrics = nullptr;
  std::mutex tls_mutex;
  std::shared_ptr<boost::asio::ssl::context> tls;  ///< under the mutex; null: plain; replaced when files are read again
  std::unique_ptr<async::Workers> workers;
  std::atomic<bool> draining{false};
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(boost::asio::ip::tcp::socket socket, ServerShared& shared);
  /// The whole life; never throws.
  boost::asio::awaitable<void> run();
  /// Ends it at the next step. On the loop.
  void abort();
  /// Ends it if no request is under way. On the loop.
  void end_if_idle();
  /// Since when the client has not sent a byte that it is waited for; nothing while it is the server's turn. On the
  /// loop.
  const std::optional<std::chrono::steady_clock::time_point>& silent_since() const { return silent_since_; }

 private:
  using TimePoint = std::chrono::steady_clock::time_point;
  using Tls = boost::asio::ssl::stream<boost::asio::ip::tcp::socket&>;
  struct Exchange;

  boost::asio::awaitable<bool> handshake();
  /// One request and its answer; false ends the connection.
  boost::asio::awaitable<bool> exchange();
  boost::asio::awaitable<bool> read_head(Exchange& x);
  void choose_route(Exchange& x);
  boost::asio::awaitable<void> take_body(Exchange& x);
  /// Until the handler's late answer is there, or its time is over.
  boost::asio::awaitable<void> await_late(Exchange& x);
  void wake_late();
  boost::asio::awaitable<bool> answer(Exchange& x, bool close);
  boost::asio::awaitable<bool> send_file(const FileBody& file);
  boost::asio::awaitable<bool> send_file_by_kernel(const FileBody& file);
  boost::asio::awaitable<void> linger();
  void open_sink(Exchange& x);
  void call_handler(Exchange& x);
  void account(const Exchange& x) const;

  /// Bytes read, appended to buffer_; 0: the peer ended, the deadline passed, or abort().
  boost::asio::awaitable<std::size_t> read_some(TimePoint deadline, std::size_t room);
  /// False: as above.
  boost::asio::awaitable<bool> write_all(std::string_view first, std::string_view second);
  /// Runs `job` on a worker and waits for it; false if the pool is full. `job` must not throw.
  template <typename Job>
  boost::asio::awaitable<bool> on_worker(Job& job);

  void arm(TimePoint deadline);
  void disarm() { deadline_ = TimePoint::max(); }
  void start_timer();
  std::string_view unread() const { return std::string_view(buffer_).substr(consumed_); }
  void consume(std::size_t bytes);

  boost::asio::ip::tcp::socket socket_;
  std::optional<Tls> tls_;
  ServerShared& shared_;
  boost::asio::steady_timer timer_;
  TimePoint deadline_ = TimePoint::max();
  bool timer_runs_ = false;
  bool timed_out_ = false;
  bool aborted_ = false;
  bool idle_ = false;
  std::optional<TimePoint> silent_since_;
  boost::asio::steady_timer* late_timer_ = nullptr;  ///< set while await_late sleeps
  std::string buffer_;
  std::size_t consumed_ = 0;
  std::size_t requests_ = 0;
  std::string peer_address_;
  std::uint16_t peer_port_ = 0;
  bool peer_is_loopback_ = false;
  std::string client_cert_sha256_;
};

}  // namespace tb::http
