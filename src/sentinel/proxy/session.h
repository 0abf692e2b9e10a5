// One client connection from accept to close: reads heads, asks the filters, and passes bodies both ways.
//
// Who runs: serve() is the connection's own coroutine. While a request's body goes up, pump() runs beside it, so that
// an early answer passes; while an answer is awaited, a watch on the client's socket notices a client that leaves. One
// timer for the connection closes whichever side has made no progress for its time; every wait then ends with an error
// and the code that waited decides what that means. Nothing but these closes ends an exchange from outside.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <set>
#include <vector>

#include "sentinel/proxy/proxy.h"
#include "sentinel/proxy/stream.h"
#include "sentinel/proxy/upstream.h"

namespace tb::sentinel::proxy {

class Session;

/// What all sessions share; owned by the proxy, which outlives them.
struct Shared {
  asio::io_context& io;
  const ProxyOptions& options;
  const std::vector<std::unique_ptr<Filter>>& filters;
  UpstreamPool pool;
  obs::Log log;
  AllowList allowed;
  bool draining = false;
  std::set<Session*> sessions;
};

class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(Shared& shared, asio::ip::tcp::socket socket, asio::ssl::context* tls);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  asio::awaitable<void> serve();
  /// Watches the deadlines until the session is done.
  asio::awaitable<void> watch_deadlines();
  /// Closes both sides for good; serve() has returned, or failed.
  void end();
  /// Ends what is under way at once.
  void cut();
  /// Draining: ends the connection if it is between requests.
  void close_if_idle();

 private:
  struct Run;  ///< one request

  asio::awaitable<bool> read_head(RequestHead& head, Run& run);
  asio::awaitable<bool> exchange(std::shared_ptr<Run> run);
  asio::awaitable<bool> send_request(const std::shared_ptr<Run>& run, const std::string& target);
  asio::awaitable<bool> read_response_head(Run& run);
  asio::awaitable<bool> send_response(Run& run);
  asio::awaitable<bool> relay_response(Run& run, bool chunked);
  asio::awaitable<void> pump(std::shared_ptr<Run> run);
  asio::awaitable<void> watch_client(std::shared_ptr<Run> run);
  std::function<void(std::exception_ptr)> abandon(const std::shared_ptr<Run>& run);
  asio::awaitable<bool> refuse(Run& run, Refusal refusal, Outcome outcome, bool close);
  asio::awaitable<void> linger();
  Refusal upstream_failure(const Run& run) const;
  void begin_visits(Run& run);
  void end_visits(Run& run);
  void client_deadline(std::int64_t ms);
  void upstream_deadline(std::int64_t ms);
  void arm();
  void close_upstream();

  Shared& shared_;
  ClientStream client_;
  Peer peer_;
  ReadBuffer client_buffer_;
  std::unique_ptr<UpstreamStream> upstream_;
  ReadBuffer upstream_buffer_;
  asio::steady_timer watchdog_;
  std::int64_t client_deadline_ = 0, upstream_deadline_ = 0;  ///< boot ms; 0: none
  bool client_timed_out_ = false, upstream_timed_out_ = false;
  bool idle_ = true, cut_ = false, done_ = false;
};

}  // namespace tb::sentinel::proxy
