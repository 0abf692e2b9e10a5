// What the handlers work with: made in main, passed by reference, never global.
#pragma once

#include <atomic>
#include <mutex>
#include <string>

#include "attest/verify_evidence.h"
#include "base/clock.h"
#include "blob/signing_store.h"
#include "controlplane/blob_files.h"
#include "controlplane/hint_board.h"
#include "controlplane/keyring.h"
#include "controlplane/rate_limits.h"
#include "obs/log.h"
#include "obs/metrics.h"
#include "store/store.h"

namespace tb::controlplane {

/// The base of signed URLs: configured, or known only once the listener has its port.
class PublicUrl {
 public:
  void set(std::string url) {
    const std::lock_guard lock(mutex_);
    url_ = std::move(url);
  }
  std::string get() const {
    const std::lock_guard lock(mutex_);
    return url_;
  }

 private:
  mutable std::mutex mutex_;
  std::string url_;
};

struct Deps {
  store::Store& store;
  const Keyring& keyring;
  const BlobFiles& blobs;
  const PublicUrl& public_url;
  HintBoard& hints;
  Clock clock;
  obs::Log log;
  obs::Metrics& metrics;
  RateLimits& rate_limits;
  const attest::Trust& attestation_trust;
  bool allow_unauthenticated_sentinels = false;
  std::string marketplace_tenant;  ///< whose contracts may name a marketplace; empty: nobody's
  std::int64_t url_seconds = 3600;
  blob::SigningStore* signing_store = nullptr;  ///< where tenants keep blobs elsewhere, and we sign their URLs
  std::mutex simulating;                        ///< held by the one that runs: it takes memory and a handler's thread
  std::atomic<bool> stopping = false;           ///< told to end: no new work should come here
};

}  // namespace tb::controlplane
