#include "sentinel/lifecycle.h"

#include <fmt/format.h>

#include <algorithm>

#include "async/backoff.h"
#include "async/stop.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "blob/http_source.h"
#include "deliver/guard.h"
#include "hydrate/manifest_check.h"
#include "sentinel/expectation.h"
#include "sentinel/runtime/command.h"
#include "sentinel/runtime/reach.h"

namespace tb::sentinel {
namespace {

constexpr std::chrono::milliseconds kTick{50};
constexpr std::int64_t kRetryMs = 5'000;
constexpr std::int64_t kSampleMs = 1'000;
constexpr std::int64_t kDoubtMs = 15'000;  ///< for a renewal; then it is suspended
constexpr std::int64_t kReachMs = 5'000;

}  // namespace

Lifecycle::Lifecycle(Parts parts)
    : parts_(std::move(parts)), runtime_address_(parts_.config.runtime), machine_(parts_.config.vm_generation_file) {
  started_boot_ms_ = boot_ms_now();
  status_.contract_id = parts_.config.contract_id;
  status_.asset_id = parts_.config.asset_id;
  status_.started = unix_ms_now();
}

Lifecycle::~Lifecycle() {
  if (state() != State::kBoot) tear_down(proxy::Gate::Door::kNotReady);
}

std::shared_ptr<LeaseKeeper> Lifecycle::current_lease() const {
  const std::scoped_lock lock(mutex_);
  return lease_;
}

State Lifecycle::state() const {
  const std::scoped_lock lock(mutex_);
  return status_.state;
}

void Lifecycle::move(Event event) {
  const State from = state();
  const auto to = next(from, event);
  if (!to) throw Error("internal", fmt::format("{} does not follow from {}", event_name(event), state_name(from)));
  {
    const std::scoped_lock lock(mutex_);
    status_.state = *to;
  }
  came_round_boot_ms_ = boot_ms_now();
  parts_.log.info("state", {{"from", state_name(from)}, {"to", state_name(*to)}, {"event", event_name(event)}});
}

void Lifecycle::set_error(const Error& error) {
  parts_.log.error("not serving", error, obs::Level::kWarn);
  const std::scoped_lock lock(mutex_);
  status_.error_code = error.reason;
  status_.error_hint = error.info().hint;
}

Status Lifecycle::status() const {
  Status out;
  std::shared_ptr<LeaseKeeper> lease;
  {
    const std::scoped_lock lock(mutex_);
    out = status_;
    lease = lease_;
    if (provision_) out.hydrate = provision_->progress();
  }
  out.uptime_ms = boot_ms_now() - started_boot_ms_;
  out.enforcement = parts_.holdback.get();
  out.runtime = parts_.supervisor.view();
  if (lease) out.lease = lease->view();
  return out;
}

std::int64_t Lifecycle::silent_ms() const {
  const State now = state();
  if (now != State::kDecrypt && now != State::kReady) return 0;
  return std::max<std::int64_t>(boot_ms_now() - came_round_boot_ms_, 0);
}

void Lifecycle::boot() {
  value_or_throw(deliver::forbid_core_dumps());
  isolation_ = examine_isolation(parts_.config, true);
  require_isolation(isolation_);
  for (const runtime::Shortfall& shortfall : isolation_.confinement.missing) {
    if (!isolation_.confines()) break;
    parts_.log.warn("the runtime is confined without",
                    {{"measure", runtime::name_of(shortfall.measure)}, {"why", shortfall.why}});
  }
  if (isolation_.mode == IsolationState::Mode::kOff)
    parts_.log.warn("the runtime is not confined: TB_RUNTIME_ISOLATION=off");
  {
    const std::scoped_lock lock(mutex_);
    status_.isolation = isolation_json(isolation_);
    status_.channel = channel_text(isolation_, runtime_address_, false);
  }
  Provision::clear_leftovers(parts_.config);
  ready_signal_ = std::make_unique<deliver::ReadySignal>(parts_.config.ready_signal);
  move(Event::kStarted);
}

int Lifecycle::run(std::stop_token stop) {
  boot();
  while (!stop.stop_requested()) {
    try {
      serve_once(stop);
    } catch (const Error& error) {
      if (stop.stop_requested()) break;
      const bool final = is_final(error);
      const auto door = final ? proxy::Gate::Door::kSuspended : proxy::Gate::Door::kNotReady;
      // Traffic first, then what others see, then the rest, which may take the runtime's time to end.
      parts_.gate.set(door);
      closed_boot_ms_ = boot_ms_now();
      set_error(error);
      if (final) {
        move(Event::kDenied);
      } else if (state() != State::kAuthorize) {
        move(Event::kInterrupted);
      }
      tear_down(door, final ? &error : nullptr);
      if (final) {
        if (parts_.config.exit_on_denial) {
          finish();
          return 3;
        }
        async::sleep_unless_stopped(stop, std::chrono::milliseconds(ask_again_after(error)));
        if (!stop.stop_requested()) move(Event::kAskAgain);
      } else {
        async::sleep_unless_stopped(stop, std::chrono::milliseconds(error.retryable() ? kRetryMs : ask_again_ms_));
      }
    }
  }
  move(Event::kStop);
  finish();
  return 0;
}

/// A seat is likely to be free when the lease that ends first has ended; a little later for each, so that those who
/// wait do not all ask at once.
std::int64_t Lifecycle::ask_again_after(const Error& error) const {
  const auto said = error.reason == "seat_limit" ? parts_.authorizer.ask_again_ms() : std::nullopt;
  if (!said) return ask_again_ms_;
  const auto spread = static_cast<std::int64_t>(1000 * async::unit_random());
  parts_.log.info("asks again when a seat may be free", {{"ms", *said + spread}});
  return *said + spread;
}

/// From the licence to Ready, and there until something ends it: always by an Error, "cancelled" for a stop.
void Lifecycle::serve_once(const std::stop_token& stop) {
  if (parts_.check) parts_.check();
  FileKey key = authorize(stop);
  move(Event::kAuthorized);
  const hydrate::AuthenticatedManifest asset = fetch_manifest(key, stop);
  provide(asset, std::move(key), stop);
  ready_signal_->publish({.sentinel_version = parts_.version,
                          .delivery = provision_->kind(),
                          .path = provision_->path(),
                          .generation = random_token(12),
                          .plaintext_bytes = asset.manifest.plaintext_bytes()},
                         unix_ms_now());
  move(Event::kDelivered);
  start_runtime();
  watch_ready(stop);
}

FileKey Lifecycle::authorize(const std::stop_token& stop) {
  Authorization granted = parts_.authorizer.authorize(stop);
  parts_.log.info("authorized", {{"lease_ms", granted.lease.expires_boot_ms - boot_ms_now()},
                                 {"ciphertext", granted.lease.sas_url.printable()}});
  ask_again_ms_ = granted.lease.renew_after_ms;
  try {
    check_contract(granted.lease);
  } catch (const Error&) {
    parts_.authorizer.release(granted.lease.lease_id);
    throw;
  }
  {
    const std::scoped_lock lock(mutex_);
    new_paths_.reset();
  }
  parts_.proxy.narrow(granted.lease.allowed_paths);
  take_enforcement(granted.lease);
  trusted_ = machine_.sample();
  trusted_at_ = 0;
  doubted_since_ms_.reset();
  const auto renew_url = [this, stop] {
    const auto lease = current_lease();
    if (!lease) throw Error("lease_expired", "there is no lease to renew");
    return lease->renew_url(stop);
  };
  const auto end = granted.lease.urls_expire_boot_ms;
  urls_ = std::make_shared<blob::UrlProvider>(blob::DatedUrl(granted.lease.sas_url.clone(), end), renew_url);
  const auto on_url = [urls = urls_](blob::DatedUrl url) { urls->replace(std::move(url)); };
  const auto on_terms = [this, paths = granted.lease.allowed_paths](const Lease& lease) mutable {
    take_enforcement(lease);
    check_contract(lease);
    if (!lease.policy_version || lease.allowed_paths == paths) return;
    paths = lease.allowed_paths;
    const std::scoped_lock lock(mutex_);
    new_paths_ = paths;
  };
  auto keeper =
      std::make_shared<LeaseKeeper>(parts_.authorizer, granted.lease, on_url, parts_.log.named("lease"), on_terms);
  expected_ = expectation_of(parts_.config, granted.lease);
  manifest_url_ = {std::move(granted.lease.manifest_url), end};
  const std::scoped_lock lock(mutex_);
  lease_ = std::move(keeper);
  return std::move(granted.key);
}

hydrate::AuthenticatedManifest Lifecycle::fetch_manifest(const FileKey& key, const std::stop_token& stop) {
  std::string text;
  if (const auto& folder = parts_.config.source) {
    text = folder->manifest(asset::kMaxManifestBytes);
  } else {
    blob::UrlProvider url(std::move(manifest_url_),
                          [lease = current_lease(), stop] { return lease->renew_manifest_url(stop); });
    text = hydrate::fetch_manifest(parts_.blobs, url, {}, stop);
  }
  asset::Expectation expected = expected_;
  expected.key = &key;
  auto asset = value_or_throw(hydrate::authenticate_manifest(text, expected));
  const std::string proof = asset.proofs();
  parts_.log.info("manifest authenticated", {{"proof", proof}, {"plaintext_bytes", asset.manifest.plaintext_bytes()}});
  if (!asset.how.authenticated()) parts_.log.warn("nothing proves this manifest; it was allowed by configuration");
  const std::scoped_lock lock(mutex_);
  status_.manifest_proof = proof;
  status_.plaintext_bytes = asset.manifest.plaintext_bytes();
  return asset;
}

void Lifecycle::provide(const hydrate::AuthenticatedManifest& asset, FileKey key, const std::stop_token& stop) {
  std::unique_ptr<blob::BlobSource> source;
  if (const auto& folder = parts_.config.source) {
    source = folder->ciphertext();
  } else {
    source = std::make_unique<blob::HttpSource>(parts_.blobs, urls_);
  }
  auto provision = std::make_unique<Provision>(parts_.config, asset, std::move(key), std::move(source),
                                               std::move(kept_), parts_.log.named("hydrate"));
  {
    const std::scoped_lock lock(mutex_);
    provision_ = std::move(provision);
    status_.delivery_kind = provision_->kind();
  }
  // Hydration may take longer than a lease: a denial ends it.
  provision_->until_usable([&] {
    if (stop.stop_requested()) throw Error("cancelled", "stopped");
    lease_->check();
  });
  const std::scoped_lock lock(mutex_);
  status_.delivery_usable = provision_->usable();
}

void Lifecycle::check_contract(const Lease& lease) const {
  if (!lease.isolation_required || isolation_.covers()) return;
  std::string missing;
  for (const runtime::Shortfall& shortfall : isolation_.confinement.missing) {
    missing += fmt::format("{}{}", missing.empty() ? ", without " : ", ", runtime::name_of(shortfall.measure));
  }
  throw Error("isolation_missing", fmt::format("the contract asks for a confined runtime, and this one is {}{}",
                                               name_of(isolation_.mode), isolation_.confines() ? missing : ""));
}

runtime::ChildSpec Lifecycle::runtime_spec() {
  const Config& config = parts_.config;
  runtime::ChildSpec spec{
      .arguments = runtime::expand_command(config.runtime_command, {.model_path = provision_->path(),
                                                                    .served_model_name = config.served_model_name,
                                                                    .address = runtime_address_}),
      .environment = runtime::runtime_environment(parts_.environment),
      .uid = config.runtime_uid};
  if (runtime::wants_api_key(config.runtime_command)) {
    spec.api_key = std::make_shared<const SecretString>(random_token(32));
  }
  if (isolation_.confines()) {
    runtime::ConfineRequest request = confine_request(config, provision_->path(), runtime_address_);
    request.arguments = spec.arguments;
    spec.confinement = std::make_shared<runtime::Confinement>(runtime::plan_confinement(request, isolation_.facts));
  }
  return spec;
}

void Lifecycle::start_runtime() {
  const Config& config = parts_.config;
  std::shared_ptr<runtime::Connector> connector;
  std::shared_ptr<const SecretString> key;
  if (!config.runtime_command.empty()) {
    if (!config.runtime.is_unix() && config.runtime.port == 0) runtime_address_.port = runtime::free_loopback_port();
    // With a mount namespace the socket and its directory are in there.
    if (config.runtime.is_unix() && !isolation_.has(runtime::Measure::kMountNamespace)) {
      runtime::make_socket_directory(config.runtime.unix_path, config.runtime_uid);
    }
    runtime::ChildSpec spec = runtime_spec();
    key = spec.api_key;
    parts_.supervisor.start(std::move(spec));
    if (isolation_.confines()) connector = parts_.supervisor.connector();
  }
  {
    const std::scoped_lock lock(mutex_);
    status_.channel = channel_text(isolation_, runtime_address_, key != nullptr);
  }
  parts_.proxy.set_upstream(runtime_address_, connector, key);
  if (parts_.on_runtime) parts_.on_runtime(runtime::Channel{runtime_address_, connector, key});
  probe_ = std::make_unique<runtime::Probe>(runtime_address_, config.runtime_health_path, connector);
  reach_seen_boot_ms_ = 0;
}

/// Before the first request, and again and again: a runtime may listen elsewhere later. In a network of its own it can
/// listen where it likes.
void Lifecycle::check_reach() {
  if (isolation_.has(runtime::Measure::kNetworkNamespace) || boot_ms_now() - reach_seen_boot_ms_ < kReachMs) return;
  reach_seen_boot_ms_ = boot_ms_now();
  const obs::Finding finding = runtime::examine_reach(runtime_address_);
  {
    const std::scoped_lock lock(mutex_);
    status_.reach = finding;
  }
  if (finding.health == obs::Health::kFault && !parts_.config.reachable_runtime_allowed) {
    throw Error("runtime_reachable", "the runtime can be reached past the sentinel: " + finding.value);
  }
}

void Lifecycle::become_ready() {
  if (!parts_.proxy.is_open()) {
    parts_.proxy.open();
    parts_.on_open();
  }
  parts_.gate.set(proxy::Gate::Door::kOpen);
  move(Event::kRuntimeReady);
  const std::scoped_lock lock(mutex_);
  status_.runtime_healthy = true;
  status_.error_code.clear();
  status_.error_hint.clear();
}

/// Here and not where a renewal brings them: this thread alone opens and ends the proxy.
void Lifecycle::take_new_paths() {
  std::optional<std::vector<std::string>> paths;
  {
    const std::scoped_lock lock(mutex_);
    paths = std::exchange(new_paths_, std::nullopt);
  }
  if (paths) parts_.proxy.narrow(*paths);
}

/// In force at once: the filter asks with each request. Any thread.
void Lifecycle::take_enforcement(const Lease& lease) {
  const api::Enforcement before = parts_.holdback.get();
  if (before == lease.enforcement) return;
  parts_.holdback.set(lease.enforcement);
  parts_.log.warn("the contract is held back",
                  {{"grade", grade_name(lease.enforcement.grade)}, {"notice", lease.enforcement.notice}});
}

/// Requests that were under way when draining began have had their time.
void Lifecycle::end_drained() {
  if (parts_.holdback.get().grade != api::Grade::kDrain) {
    drain_since_ms_.reset();
    drained_ = false;
    return;
  }
  const std::int64_t now = boot_ms_now();
  if (!drain_since_ms_) drain_since_ms_ = now;
  if (drained_ || now - *drain_since_ms_ < parts_.config.drain_ms) return;
  drained_ = true;
  if (const auto reason = parts_.holdback.refuse(now)) parts_.proxy.cut(*reason);
}

/// True while the lease must be renewed before anything is served. Throws when that takes too long.
bool Lifecycle::in_doubt() {
  const std::int64_t now = boot_ms_now();
  const std::uint64_t renewals = lease_->renewals();
  if (doubted_since_ms_) {
    if (renewals == trusted_at_) {
      if (now - *doubted_since_ms_ < kDoubtMs) return true;
      throw Error("machine_in_doubt", "the machine or its time has changed, and the lease could not be renewed");
    }
    doubted_since_ms_.reset();
  }
  if (renewals == trusted_at_ && now - sampled_boot_ms_ < kSampleMs) return false;
  sampled_boot_ms_ = now;
  const MachineSample sample = machine_.sample();
  if (renewals != trusted_at_) {
    trusted_ = sample;
    trusted_at_ = renewals;
    return false;
  }
  const auto doubt = doubt_between(trusted_, sample);
  if (!doubt) return false;
  parts_.log.warn("the lease is renewed before anything more is served", {{"because", doubt_text(*doubt)}});
  doubted_since_ms_ = now;
  lease_->renew_now();
  return true;
}

void Lifecycle::watch_ready(const std::stop_token& stop) {
  std::int64_t loading_since = boot_ms_now();
  while (true) {
    if (stop.stop_requested()) throw Error("cancelled", "stopped");
    came_round_boot_ms_ = boot_ms_now();
    lease_->check();
    if (parts_.check) parts_.check();
    provision_->check();
    take_new_paths();
    end_drained();
    const bool doubted = in_doubt();
    const bool healthy = probe_->healthy();
    if (healthy) check_reach();
    if (doubted && state() == State::kReady) {
      parts_.gate.set(proxy::Gate::Door::kNotReady);
      move(Event::kDoubted);
      loading_since = boot_ms_now();
    } else if (doubted) {
      // Nothing opens.
    } else if (state() == State::kDecrypt && healthy) {
      become_ready();
    } else if (state() == State::kReady && !healthy) {
      parts_.gate.set(proxy::Gate::Door::kNotReady);
      move(Event::kRuntimeLost);
      set_error(Error("runtime_failed", "the runtime no longer answers its health path"));
      loading_since = boot_ms_now();
      const std::scoped_lock lock(mutex_);
      status_.runtime_healthy = false;
    } else if (state() == State::kDecrypt && boot_ms_now() - loading_since > parts_.config.startup_timeout_ms) {
      throw Error("runtime_failed", "the runtime did not answer its health path in time");
    }
    async::sleep_unless_stopped(stop, kTick);
  }
}

/// Back to nothing delivered, in the order that closes soonest: traffic, signal, runtime, plaintext, licence.
void Lifecycle::tear_down(proxy::Gate::Door door, const Error* reason) {
  const std::int64_t began = boot_ms_now();
  parts_.gate.set(door);
  parts_.proxy.cut(proxy::reason_of(door));
  const std::int64_t cut = boot_ms_now();
  if (ready_signal_) ready_signal_->withdraw();
  probe_.reset();
  if (parts_.on_runtime) parts_.on_runtime(std::nullopt);
  if (provision_) provision_->stop_serving();
  parts_.supervisor.stop();
  const std::int64_t runtime_ended = boot_ms_now();
  const bool had_plaintext = provision_ != nullptr;
  if (provision_) {
    if (auto wiped = provision_->revoke(); !wiped) parts_.log.error("plaintext could not be wiped", wiped.error());
    kept_ = provision_->cache();
  }
  std::shared_ptr<LeaseKeeper> lease;
  std::unique_ptr<Provision> ended;
  {
    const std::scoped_lock lock(mutex_);
    ended = std::move(provision_);
    status_.hydrate = {};
    status_.delivery_kind.clear();
    status_.delivery_usable = false;
    status_.runtime_healthy = false;
    lease = std::move(lease_);
  }
  ended.reset();  // the key with it
  const std::int64_t gone = boot_ms_now();
  if (had_plaintext) parts_.log.info("traffic closed, runtime ended, plaintext wiped", {{"ms", gone - began}});
  if (had_plaintext && reason != nullptr) {
    const auto heard = lease ? lease->heard_of_denial() : std::nullopt;
    const std::int64_t from = heard ? heard->boot_ms : closed_boot_ms_;
    const std::scoped_lock lock(mutex_);
    status_.last_suspension = SuspensionTimes{.code = reason->reason,
                                              .denied_ms = heard ? heard->denied_boot_ms - from : 0,
                                              .closed_ms = closed_boot_ms_ - from,
                                              .cut_ms = cut - from,
                                              .runtime_ended_ms = runtime_ended - from,
                                              .plaintext_gone_ms = gone - from};
  }
  if (lease) parts_.authorizer.release(lease->lease_id());
}

void Lifecycle::finish() {
  std::int64_t drain_ms = parts_.config.drain_ms;
  {
    const std::scoped_lock lock(mutex_);
    if (lease_) drain_ms = std::clamp<std::int64_t>(lease_->left_ms(), 0, drain_ms);
  }
  const bool serves = parts_.gate.door() == proxy::Gate::Door::kOpen;
  const std::int64_t accept_ms = serves ? std::min(parts_.config.drain_accept_ms, drain_ms / 2) : 0;
  parts_.proxy.stop(drain_ms - accept_ms, accept_ms);
  tear_down(proxy::Gate::Door::kNotReady);
  parts_.log.info("stopped");
}

}  // namespace tb::sentinel
