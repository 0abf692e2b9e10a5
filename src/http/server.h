// The HTTP/1.1 server of the control plane and of the sentinel's health port. Connections live on event loops; handlers
// are ordinary synchronous functions on a bounded worker pool. An Error thrown by a handler becomes a problem+json with
// the error table's status; any other exception is a 500 with fixed text, told to the log.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "http/listen.h"
#include "http/message.h"
#include "http/router.h"
#include "http/tls.h"
#include "obs/log.h"
#include "obs/metrics.h"

namespace tb::http {

struct ServerConfig {
  ListenAddress address{.host = "127.0.0.1", .port = 0, .is_loopback = true};  ///< port 0: any free one, see port()
  std::optional<TlsConfig> tls;
  std::size_t loops = 1;                 ///< event loop threads; TLS and file sending scale with them
  std::size_t workers = 4;               ///< handler threads
  std::size_t queue = 256;               ///< requests that may wait for a handler thread; beyond: 503
  std::size_t max_connections = 512;     ///< beyond: the longest silent one gives way, else the new one is closed
  std::size_t header_bytes = 16 * 1024;  ///< request line and headers; beyond: 431
  std::int64_t idle_ms = 60'000;         ///< between requests of a connection
  std::int64_t header_ms = 10'000;       ///< from a request's first byte (or the accept) to the end of its headers
  std::int64_t read_ms = 30'000;         ///< without progress of a body; on the whole at least 1 kB/s after it
  std::int64_t write_ms = 30'000;        ///< without progress of an answer
  std::int64_t drain_ms = 10'000;        ///< stop(): for requests under way
};

class Server {
 public:
  /// Binds, listens and starts its threads. Throws "address_unavailable" or what make_server_tls throws. `metrics` may
  /// be null and outlives the server; families: tb_http_requests_total, tb_http_request_seconds, tb_http_errors_total,
  /// tb_http_connections.
  Server(const ServerConfig& config, Router router, obs::Log log = {}, obs::Metrics* metrics = nullptr);
  /// stop()
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// The port in use.
  std::uint16_t port() const;
  /// True if every event loop does a piece of work within `ms`: none hangs. For a watchdog.
  bool turns_within(std::int64_t ms);
  /// Reads certificate, key and authority again, for connections that begin from now on. Throws what make_server_tls
  /// throws, and then those of before stay in force. Nothing happens without TLS.
  void read_tls_again();
  /// Stops accepting, closes idle connections, lets requests under way finish for drain_ms, then closes them too; joins
  /// all threads. Handlers are not interrupted: a handler that never ends never lets this return. Idempotent.
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tb::http
