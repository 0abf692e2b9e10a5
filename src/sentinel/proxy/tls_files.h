// The certificate and key that new connections get: read again when their files change, without a restart. A pair that
// cannot be used leaves the one before in force and is told of once in the log.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "http/tls.h"
#include "obs/log.h"
#include "obs/metrics.h"

namespace tb::sentinel::proxy {

class TlsFiles {
 public:
  /// Throws what is wrong with the files at the start.
  TlsFiles(http::TlsConfig config, obs::Log log, obs::Metrics& metrics);
  /// For a new connection. Looks at the files' stamps at most once a second.
  SSL_CTX* current(std::int64_t now_boot_ms);

 private:
  std::string stamps() const;
  void take(std::shared_ptr<SSL_CTX> context);

  http::TlsConfig config_;
  obs::Log log_;
  obs::Gauge& expiry_;
  obs::Counter& failures_;
  std::shared_ptr<SSL_CTX> context_;
  std::string seen_;
  std::int64_t looked_at_boot_ms_ = 0;
};

}  // namespace tb::sentinel::proxy
