// From an authenticated manifest and its key to something that a runtime can read, and back to nothing: one delivery,
// fed by one hydration, which may go on beside a runtime that reads already (TB_HYDRATE=lazy).
#pragma once

#include <functional>
#include <future>
#include <memory>
#include <stop_token>
#include <string>

#include "asset/sink.h"
#include "blob/source.h"
#include "deliver/delivery.h"
#include "hydrate/hydration.h"
#include "hydrate/manifest_check.h"
#include "obs/log.h"
#include "sentinel/config.h"

namespace tb::sentinel {

/// How the configuration wants an asset fetched and kept.
hydrate::Options hydrate_options(const Config& config);

class Provision {
 public:
  /// Before anything is asked for: guards the places of the configured deliveries and wipes what a run that was killed
  /// has left there; otherwise a sentinel that is denied now would stay beside the plaintext of before. Throws Error:
  /// "plaintext_on_disk", "swap_enabled", "path_unsafe".
  static void clear_leftovers(const Config& config);

  /// `config` outlives it. `kept`: cache() of the provision before, if there was one. Throws Error as the makers of
  /// deliveries do.
  Provision(const Config& config, const hydrate::AuthenticatedManifest& asset, FileKey key,
            std::unique_ptr<blob::BlobSource> source, std::shared_ptr<hydrate::Cache> kept, obs::Log log);
  /// Ends the hydration and wipes.
  ~Provision();
  Provision(const Provision&) = delete;
  Provision& operator=(const Provision&) = delete;

  /// Returns when the delivery is usable; throws what went wrong. `check` is called every few milliseconds and may
  /// throw to end it.
  void until_usable(const std::function<void()>& check);
  /// Throws what has ended a usable delivery since: a chunk that did not verify or could not be had any more.
  void check();
  /// A delivery that serves on demand serves nothing from now on: before the runtime is ended, so that nobody waits for
  /// a chunk that will not come.
  void stop_serving();
  /// Wipes all of it; the error says what could not be wiped.
  Result<> revoke();

  std::string kind() const { return delivery_->kind(); }
  std::string path() const { return delivery_->path(); }
  bool usable() const { return delivery_->usable(); }
  hydrate::Progress progress() const { return hydration_->progress(); }
  std::shared_ptr<hydrate::Cache> cache() const { return hydration_->cache(); }

 private:
  void bring();
  void log_progress();

  const Config& config_;
  hydrate::AuthenticatedManifest asset_;
  std::unique_ptr<blob::BlobSource> source_;
  obs::Log log_;
  std::shared_ptr<hydrate::Hydration> hydration_;
  std::unique_ptr<deliver::Delivery> delivery_;
  bool serves_early_ = false;  ///< serves what has come while the rest comes
  bool at_once_ = false;       ///< and is usable from then on
  std::stop_source stop_;
  std::future<void> work_;  ///< until usable, then the rest of the asset
  std::int64_t logged_boot_ms_ = 0;
};

}  // namespace tb::sentinel
