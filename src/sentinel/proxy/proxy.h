// The public listener: a streaming HTTP/1.1 reverse proxy to one runtime (wire 2.4).
//
// One event loop on one thread serves all connections. Bodies pass in both directions in bounded memory, each piece
// written on as it came; what may pass is decided by rules.h and the filters. Life of a request: docs/design.md.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "http/listen.h"
#include "http/tls.h"
#include "obs/log.h"
#include "obs/metrics.h"
#include "sentinel/config.h"
#include "sentinel/proxy/filter.h"
#include "sentinel/proxy/rules.h"
#include "sentinel/runtime/connector.h"

namespace tb::sentinel::proxy {

struct ProxyOptions {
  http::ListenAddress address;
  std::optional<http::TlsConfig> tls;
  RuntimeAddress upstream;
  AllowList allowed;
  std::uint64_t max_body_bytes = std::uint64_t{1} << 30;
  std::size_t max_connections = 4096;  ///< beyond: accepted and closed at once
  std::int64_t head_ms = 15'000;       ///< for TLS and a request head, from its first byte
  std::int64_t idle_ms = 75'000;       ///< between requests of a connection
  std::int64_t client_ms = 60'000;     ///< without progress of a client that sends or takes a body
  std::int64_t upstream_ms = 600'000;  ///< without a byte from the runtime: 504 or the end
  std::int64_t connect_ms = 5'000;
  std::int64_t pool_idle_ms = 3'000;  ///< runtimes close idle connections after 5 s
  std::size_t pool_size = 64;
};

class Proxy {
 public:
  /// `filters` see every request in their order; what they refer to outlives the proxy. Nothing listens yet.
  /// `metrics` too; null: nothing of the proxy's own is counted.
  Proxy(ProxyOptions options, std::vector<std::unique_ptr<Filter>> filters, obs::Log log,
        obs::Metrics* metrics = nullptr);
  /// stop(0)
  ~Proxy();
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;

  /// Binds and listens, once; later calls do nothing. Throws "address_unavailable" or a TLS error.
  void open();
  bool is_open() const;
  /// 0 before open().
  std::uint16_t port() const;
  /// Where the runtime is from now on; connections to the one before are not used again. `connector`: see UpstreamPool;
  /// `bearer`: the key that it wants, null for none.
  void set_upstream(const RuntimeAddress& upstream, std::shared_ptr<runtime::Connector> connector = nullptr,
                    std::shared_ptr<const SecretString> bearer = nullptr);
  /// Leaves only these patterns of the configured allow-list from now on; empty: all of it again.
  void narrow(const std::vector<std::string>& patterns);
  /// True if the loop does a piece of work within `ms`, or has ended: it does not hang. For a watchdog.
  bool turns_within(std::int64_t ms);
  /// Ends every request under way and every connection. A stream of events ends between two of them, with an event that
  /// tells `reason` as the official clients understand it; an answer that has not begun is `reason`; others are cut so
  /// that no part is taken for the whole. Returns when that is done, after a quarter of a second for slow clients.
  void cut(const Refusal& reason);
  /// Serves on for `accept_ms` while others learn that nothing more should come here, stops listening, lets requests
  /// under way finish for `drain_ms`, then cuts them; joins. Idempotent.
  void stop(std::int64_t drain_ms, std::int64_t accept_ms = 0);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tb::sentinel::proxy
