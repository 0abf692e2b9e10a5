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

LeaseKeeper::LeaseKeeper(Authorizer& authorizer, const Lease& lease, OnUrl on_url, obs::Log log, OnTerms on_terms)
    : authorizer_(authorizer),
      lease_id_(lease.lease_id),
      on_url_(std::move(on_url)),
      on_terms_(std::move(on_terms)),
      log_(std::move(log)),
      held_{.lease_id = lease.lease_id, .renewal_token = lease.renewal_token.clone(), .unanswered = 0},
      expires_boot_ms_(lease.expires_boot_ms),
      renew_after_ms_(lease.renew_after_ms),
      offline_grace_ms_(lease.offline_grace_ms),
      policy_version_(lease.policy_version),
      thread_([this](const std::stop_token& stop) { run(stop); }),
      listener_([this](const std::stop_token& stop) { listen(stop); }) {}

LeaseKeeper::~LeaseKeeper() = default;

void LeaseKeeper::check() const {
  const std::scoped_lock lock(mutex_);
  if (denial_) throw Error(*denial_);
  if (boot_ms_now() >= expires_boot_ms_ + offline_grace_ms_) {
    throw Error("lease_expired", "the lease ran out and could not be renewed");
  }
}

void LeaseKeeper::renew_now() {
  const std::scoped_lock lock(mutex_);
  hinted_ = true;
  hint_came_.notify_all();
}

std::optional<HeardOf> LeaseKeeper::heard_of_denial() const {
  const std::scoped_lock lock(mutex_);
  return heard_;
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
    if (on_terms_) on_terms_(lease);
    const std::scoped_lock lock(mutex_);
    lease_id_ = lease.lease_id;
    policy_version_ = lease.policy_version;
    expires_boot_ms_ = lease.expires_boot_ms;
    renew_after_ms_ = lease.renew_after_ms;
    offline_grace_ms_ = lease.offline_grace_ms;
    ++renewals_;
    failing_ = false;
    hint_boot_ms_.reset();
    return lease;
  } catch (const Error& error) {
    const std::scoped_lock lock(mutex_);
    failing_ = true;
    if (error.reason != "control_plane_unavailable" && error.reason != "cancelled") {
      const std::int64_t now = boot_ms_now();
      if (!denial_) heard_ = HeardOf{.boot_ms = hint_boot_ms_.value_or(now), .denied_boot_ms = now};
      denial_ = error;
    }
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

bool LeaseKeeper::wait_to_renew(const std::stop_token& stop, std::int64_t wait_ms) {
  std::unique_lock lock(mutex_);
  hint_came_.wait_for(lock, stop, std::chrono::milliseconds(wait_ms), [&] { return hinted_; });
  hinted_ = false;
  return !stop.stop_requested();
}

void LeaseKeeper::listen(const std::stop_token& stop) {
  // After a hint, too, a moment: one that is always "changed" must not become a storm of renewals.
  constexpr std::int64_t kPauseMs = 1'000;
  constexpr std::int64_t kMaxPauseMs = 60'000;
  std::int64_t pause_ms = kPauseMs;
  do {
    std::string lease;
    std::optional<std::int64_t> version;
    {
      const std::scoped_lock lock(mutex_);
      lease = lease_id_;
      version = policy_version_;
    }
    if (!version || lease.empty()) return;
    try {
      if (authorizer_.wait_for_hint(lease, *version, stop)) {
        const std::scoped_lock lock(mutex_);
        hinted_ = true;
        hint_boot_ms_ = boot_ms_now();
        hint_came_.notify_all();
      }
      pause_ms = kPauseMs;
    } catch (const Error& error) {
      if (error.reason == "cancelled" || error.reason == "control_plane_refused") return;
      pause_ms = std::min(pause_ms * 2, kMaxPauseMs);
    }
  } while (async::sleep_unless_stopped(stop, std::chrono::milliseconds(pause_ms)));
}

void LeaseKeeper::run(const std::stop_token& stop) {
  std::int64_t retry_ms = kFirstRetryMs;
  auto wait_ms = static_cast<std::int64_t>(static_cast<double>(renew_after_ms()) * (0.9 + 0.2 * async::unit_random()));
  while (wait_to_renew(stop, wait_ms)) {
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
