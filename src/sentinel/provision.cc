#include "sentinel/provision.h"

#include <unistd.h>

#include <chrono>

#include "async/rate_limit.h"
#include "base/clock.h"
#include "base/fs.h"
#include "deliver/fifo.h"
#include "deliver/mount.h"
#include "deliver/tmpfs.h"
#include "sentinel/delivery_choice.h"

namespace tb::sentinel {
namespace {

constexpr std::chrono::milliseconds kTick{20};
constexpr std::int64_t kLogMs = 10'000;

std::string parent_of(const std::string& path) {
  return path.substr(0, std::max<std::size_t>(path.rfind('/'), 1));
}

std::unique_ptr<deliver::Delivery> make_fifo(const Config& config) {
  value_or_throw(make_directories(parent_of(config.pipe_path), 0711));
  return deliver::make_fifo({config.pipe_path, config.runtime_uid, config.allow_swap});
}

std::unique_ptr<deliver::Delivery> make_delivery(const Config& config, const asset::Manifest& manifest) {
  const DeliveryFacts facts = delivery_facts(config, manifest);
  switch (choose_delivery(config.delivery, facts)) {
    case DeliveryKind::kFifo:
      return make_fifo(config);
    case DeliveryKind::kMount:
      return deliver::make_mount({config.model_dir, config.runtime_uid, config.allow_swap});
    case DeliveryKind::kTmpfs:
      break;
  }
  return deliver::make_tmpfs({.model_dir = config.model_dir,
                              .runtime_uid = config.runtime_uid,
                              .allow_swap = config.allow_swap,
                              .own_mount = mounts_are_seen(config)});
}

}  // namespace

hydrate::Options hydrate_options(const Config& config) {
  hydrate::Options options;
  options.connections = config.download_connections;
  options.request_bytes = config.download_request_bytes;
  options.mode = config.hydrate == HydrateChoice::kStrict ? hydrate::Mode::kStrict : hydrate::Mode::kOverlap;
  options.cache = config.cache_on_disk ? hydrate::CacheKind::kDisk : hydrate::CacheKind::kMemory;
  options.cache_directory = config.target_dir;
  if (config.download_bytes_per_second != 0) {
    options.paced = [limit = std::make_shared<async::RateLimit>(config.download_bytes_per_second)](
                        std::uint64_t bytes, std::stop_token stop) { limit->take(bytes, std::move(stop)); };
  }
  return options;
}

void Provision::clear_leftovers(const Config& config) {
  if (config.delivery == DeliveryChoice::kFifo) {
    make_fifo(config);
    if (access(config.model_dir.c_str(), F_OK) != 0) return;
  }
  if (config.delivery == DeliveryChoice::kMount) {
    deliver::make_mount({config.model_dir, config.runtime_uid, config.allow_swap});
    return;
  }
  // Takes away what a mount has left, too.
  deliver::make_tmpfs({.model_dir = config.model_dir,
                       .runtime_uid = config.runtime_uid,
                       .allow_swap = config.allow_swap,
                       .own_mount = mounts_are_seen(config)});
}

Provision::Provision(const Config& config, const hydrate::AuthenticatedManifest& asset, FileKey key,
                     std::unique_ptr<blob::BlobSource> source, std::shared_ptr<hydrate::Cache> kept, obs::Log log)
    : config_(config), asset_(asset), source_(std::move(source)), log_(std::move(log)) {
  hydration_ =
      std::make_shared<hydrate::Hydration>(hydrate_options(config), asset_, std::move(key), *source_, std::move(kept));
  delivery_ = make_delivery(config, asset_.manifest);
  serves_early_ = delivery_->kind() == "mount" && hydration_->may_serve_at_once();
  at_once_ = serves_early_ && config.hydrate == HydrateChoice::kLazy;
  if (config.hydrate == HydrateChoice::kLazy && !at_once_) {
    log_.info("lazy needs a mount and a manifest with a mac: everything is verified first",
              {{"delivery", delivery_->kind()}});
  }
}

Provision::~Provision() {
  (void)revoke();
}

/// On a thread of its own: everything up to a usable delivery. A mount that serves early is offered each chunk as it
/// verifies, and keeps it where the runtime will read it, so that it need not be opened again.
void Provision::bring() {
  const std::stop_token stop = stop_.get_token();
  if (delivery_->takes_chunks()) return hydration_->run(*delivery_, stop);
  value_or_throw(delivery_->begin(asset_.manifest, hydration_->layout()));
  hydration_->prepare(true, stop);
  if (!serves_early_) hydration_->verify(nullptr, stop);
  delivery_->serve(hydration_);
  if (serves_early_ && !at_once_) hydration_->verify(delivery_.get(), stop);
}

void Provision::until_usable(const std::function<void()>& check) {
  work_ = std::async(std::launch::async, [this] { bring(); });
  try {
    while (work_.wait_for(kTick) != std::future_status::ready) {
      check();
      log_progress();
    }
  } catch (...) {
    stop_.request_stop();
    work_.wait();
    throw;
  }
  work_.get();
  if (at_once_) {
    work_ = std::async(std::launch::async, [this] { hydration_->verify(delivery_.get(), stop_.get_token()); });
  }
}

void Provision::check() {
  if (const auto fault = delivery_->last_fault()) throw Error(*fault);
  if (!work_.valid()) return;
  log_progress();
  if (work_.wait_for(std::chrono::seconds(0)) != std::future_status::ready) return;
  work_.get();
  log_.info("everything has come and is verified", {{"bytes", progress().total}});
}

void Provision::log_progress() {
  const std::int64_t now = boot_ms_now();
  if (logged_boot_ms_ == 0) logged_boot_ms_ = now;
  if (now - logged_boot_ms_ < kLogMs) return;
  logged_boot_ms_ = now;
  const hydrate::Progress at = progress();
  log_.info("hydrating", {{"bytes", at.bytes},
                          {"total", at.total},
                          {"from_cache_bytes", at.from_cache_bytes},
                          {"mib_per_second", static_cast<std::int64_t>(at.bytes_per_second / (1 << 20))},
                          {"eta_seconds", at.eta_seconds ? static_cast<std::int64_t>(*at.eta_seconds) : -1},
                          {"retries", at.retries},
                          {"cache_faults", at.cache_faults}});
}

void Provision::stop_serving() {
  stop_.request_stop();
  if (!delivery_->takes_chunks()) (void)delivery_->revoke();
}

Result<> Provision::revoke() {
  stop_.request_stop();
  auto revoked = delivery_->revoke();
  if (work_.valid()) work_.wait();
  return revoked;
}

}  // namespace tb::sentinel
