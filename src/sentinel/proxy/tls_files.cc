#include "sentinel/proxy/tls_files.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include "base/clock.h"

namespace tb::sentinel::proxy {
namespace {

constexpr std::int64_t kLookMs = 1'000;

/// Through links: orchestrators renew a mounted secret by changing one.
std::string stamp_of(const std::string& path) {
  struct stat info{};
  if (path.empty() || stat(path.c_str(), &info) != 0) return "-";
  return fmt::format("{}.{}.{}.{}.{}", info.st_dev, info.st_ino, info.st_size, info.st_mtim.tv_sec,
                     info.st_mtim.tv_nsec);
}

}  // namespace

TlsFiles::TlsFiles(http::TlsConfig config, obs::Log log, obs::Metrics& metrics)
    : config_(std::move(config)),
      log_(std::move(log)),
      expiry_(metrics.gauge("trustbridge_sentinel_tls_certificate_end_seconds",
                            "when the certificate in force ends, in seconds since 1970")),
      failures_(metrics.counter("trustbridge_sentinel_tls_reloads_failed_total",
                                "changed certificate files that could not be used")),
      seen_(stamps()),
      looked_at_boot_ms_(boot_ms_now()) {
  take(http::make_server_tls(config_));
}

std::string TlsFiles::stamps() const {
  return stamp_of(config_.cert_path) + "," + stamp_of(config_.key_path) + "," + stamp_of(config_.client_ca_path);
}

void TlsFiles::take(std::shared_ptr<SSL_CTX> context) {
  context_ = std::move(context);
  expiry_.set(static_cast<double>(http::certificate_end(context_.get())) / 1000);
}

SSL_CTX* TlsFiles::current(std::int64_t now_boot_ms) {
  if (now_boot_ms - looked_at_boot_ms_ < kLookMs) return context_.get();
  looked_at_boot_ms_ = now_boot_ms;
  std::string stamps_now = stamps();
  if (stamps_now == seen_) return context_.get();
  seen_ = std::move(stamps_now);
  try {
    take(http::make_server_tls(config_));
    log_.info("took a new TLS certificate", {{"end", to_rfc3339(http::certificate_end(context_.get()))}});
  } catch (const Error& error) {
    failures_.add();
    log_.error("the changed TLS files cannot be used; the certificate before stays in force", error);
  }
  return context_.get();
}

}  // namespace tb::sentinel::proxy
