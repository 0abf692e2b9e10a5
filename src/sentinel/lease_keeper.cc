#include "sentinel/lease_keeper.h"

#include <algorithm>

#include "async/backoff.h"
#include "async/stop.h"
#include "base/clock.h"

namespace tb::sentinel {
namespace {

constexpr std::int64_t kFirstRetryMs = 1'000;
constexpr std::int64_t kMaxRetryMs = 30'000;
constexpr std::int64_t kMinRetryMs = 100;

}  // namespace

LeaseKeeper::LeaseKeeper(Authorizer& authorizer, const Lease& lease, OnUrl on_url, obs::Log log)
    : authorizer_(authorizer),
      lease_id_(lease.lease_id),
      on_url_(std::move(on_url)),
      log_(std::move(log)),
      held_{.lease_id = lease.lease_id, .renewal_token = lease.renewal_token.clone(), .unanswered = 0},
      expires_boot_ms_(lease.expires_boot_ms),
      renew_after_ms_(lease.renew_after_ms),
      offline_grace_ms_(lease.offline_grace_ms),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

LeaseKeeper::~LeaseKeeper() = default;

void LeaseKeeper::check() const {
  const std::scoped_lock lock(mutex_);
  if (denial_) throw Error(*denial_);
  if (boot_ms_now() >= expires_boot_ms_ + offline_grace_ms_) {
    throw Error("lease_expired", "the lease ran out and could not be renewed");
  }
}

std::string LeaseKeeper::lease_id() const {
  const std::scoped_lock lock(mutex_);
  return lease_id_;
}

std::int64_t LeaseKeeper::renew_after_ms() const {
  const std::scoped_lock lock(mutex_);
  return renew_after_ms_;
}

std::int64_t LeaseKeeper::left_ms() const {
  const std::scoped_lock lock(mutex_);
  return expires_boot_ms_ + offline_grace_ms_ - boot_ms_now();
}

LeaseView LeaseKeeper::view() const {
  const std::scoped_lock lock(mutex_);
  return {.expires_in_ms = expires_boot_ms_ - boot_ms_now(),
          .renew_after_ms = renew_after_ms_,
          .offline_grace_ms = offline_grace_ms_,
          .renewals = renewals_,
          .renewal_failing = failing_};
}

Lease LeaseKeeper::renew_once(const std::stop_token& stop) {
  const std::scoped_lock one(renewing_);
  try {
    Lease lease = authorizer_.renew(held_, stop);
    const std::scoped_lock lock(mutex_);
    lease_id_ = lease.lease_id;
    expires_boot_ms_ = lease.expires_boot_ms;
    renew_after_ms_ = lease.renew_after_ms;
    offline_grace_ms_ = lease.offline_grace_ms;
    ++renewals_;
    failing_ = false;
    return lease;
  } catch (const Error& error) {
    const std::scoped_lock lock(mutex_);
    failing_ = true;
    if (error.reason != "control_plane_unavailable" && error.reason != "cancelled") denial_ = error;
    throw;
  }
}

blob::DatedUrl LeaseKeeper::renew_url(std::stop_token stop) {
  Lease lease = renew_once(stop);
  return {std::move(lease.sas_url), lease.urls_expire_boot_ms};
}

blob::DatedUrl LeaseKeeper::renew_manifest_url(std::stop_token stop) {
  Lease lease = renew_once(stop);
  if (on_url_) on_url_({std::move(lease.sas_url), lease.urls_expire_boot_ms});
  return {std::move(lease.manifest_url), lease.urls_expire_boot_ms};
}

void LeaseKeeper::run(const std::stop_token& stop) {
  std::int64_t retry_ms = kFirstRetryMs;
  auto wait_ms = static_cast<std::int64_t>(static_cast<double>(renew_after_ms()) * (0.9 + 0.2 * async::unit_random()));
  while (async::sleep_unless_stopped(stop, std::chrono::milliseconds(wait_ms))) {
    try {
      Lease lease = renew_once(stop);
      if (on_url_) on_url_({std::move(lease.sas_url), lease.urls_expire_boot_ms});
      retry_ms = kFirstRetryMs;
      wait_ms = static_cast<std::int64_t>(static_cast<double>(renew_after_ms()) * (0.9 + 0.2 * async::unit_random()));
      log_.debug("lease renewed");
    } catch (const Error& error) {
      if (error.reason == "cancelled") return;
      if (error.reason != "control_plane_unavailable") return;
      log_.error("lease not renewed", error, obs::Level::kWarn);
      wait_ms = std::max(kMinRetryMs, std::min(retry_ms, left_ms() / 4));
      retry_ms = std::min(retry_ms * 2, kMaxRetryMs);
    }
  }
}

}  // namespace tb::sentinel
