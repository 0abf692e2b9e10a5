// Keeps a lease alive: renews it in time on a thread of its own, and knows by the boot clock when it is over.
//
// The deadline is what counts: a control plane that cannot be reached, or a proxy that answers nonsense, changes
// nothing until the lease has run out, its grace included; a denial ends it at once.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "blob/url.h"
#include "obs/log.h"
#include "sentinel/authorizer.h"

namespace tb::sentinel {

/// When the end of a lease was heard of, by the boot clock.
struct HeardOf {
  std::int64_t boot_ms = 0;         ///< the hint that was followed by the denial, or the denial itself
  std::int64_t denied_boot_ms = 0;  ///< the denial's answer
};

struct LeaseView {
  std::int64_t expires_in_ms = 0;  ///< negative: in the grace
  std::int64_t renew_after_ms = 0;
  std::int64_t offline_grace_ms = 0;
  std::uint64_t renewals = 0;
  bool renewal_failing = false;
};

class LeaseKeeper {
 public:
  /// Takes the signed URL of the ciphertext.
  using OnUrl = std::function<void(blob::DatedUrl)>;
  /// Sees the terms of every renewal; an Error that it throws is the lease's end.
  using OnTerms = std::function<void(const Lease&)>;

  /// `on_url` gets the ciphertext's URL of every renewal but renew_url()'s, which returns it. `authorizer` outlives the
  /// keeper.
  LeaseKeeper(Authorizer& authorizer, const Lease& lease, OnUrl on_url, obs::Log log, OnTerms on_terms = {});
  /// Stops; the lease is not released.
  ~LeaseKeeper();
  LeaseKeeper(const LeaseKeeper&) = delete;
  LeaseKeeper& operator=(const LeaseKeeper&) = delete;

  /// Throws the denial, or "lease_expired".
  void check() const;
  /// Renews now, for the ciphertext's URL. Throws as Authorizer::renew, and the denial is remembered.
  blob::DatedUrl renew_url(std::stop_token stop);
  /// The same for the manifest's URL.
  blob::DatedUrl renew_manifest_url(std::stop_token stop);
  /// Brings the next renewal forward to now.
  void renew_now();
  std::uint64_t renewals() const { return view().renewals; }
  /// Nothing before a denial.
  std::optional<HeardOf> heard_of_denial() const;
  std::string lease_id() const;
  std::int64_t renew_after_ms() const;
  /// Until the lease and its grace are over.
  std::int64_t left_ms() const;
  LeaseView view() const;

 private:
  void run(const std::stop_token& stop);
  void listen(const std::stop_token& stop);
  bool wait_to_renew(const std::stop_token& stop, std::int64_t wait_ms);
  Lease renew_once(const std::stop_token& stop);

  Authorizer& authorizer_;
  std::string lease_id_;  ///< guarded by mutex_, as what follows it there
  OnUrl on_url_;
  OnTerms on_terms_;
  obs::Log log_;
  std::mutex renewing_;  ///< one renewal at a time
  Holding held_;         ///< guarded by renewing_
  mutable std::mutex mutex_;
  std::int64_t expires_boot_ms_, renew_after_ms_, offline_grace_ms_;
  std::uint64_t renewals_ = 0;
  bool failing_ = false;
  std::optional<Error> denial_;
  std::optional<std::int64_t> policy_version_;
  bool hinted_ = false;
  std::optional<std::int64_t> hint_boot_ms_;  ///< of a hint that no renewal has followed yet
  std::optional<HeardOf> heard_;
  std::condition_variable_any hint_came_;
  std::jthread thread_;
  std::jthread listener_;  ///< a hint only moves the next renewal to now
};

}  // namespace tb::sentinel
