// The sentinel's life: one linear routine on the main thread that walks the table of state.h, and the only code that
// starts, opens, ends and wipes. Everybody else sees status().
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>

#include "blob/url.h"
#include "deliver/ready_signal.h"
#include "http/client.h"
#include "hydrate/manifest_check.h"
#include "obs/log.h"
#include "sentinel/authorizer.h"
#include "sentinel/config.h"
#include "sentinel/isolation_state.h"
#include "sentinel/lease_keeper.h"
#include "sentinel/machine_watch.h"
#include "sentinel/provision.h"
#include "sentinel/proxy/filters.h"
#include "sentinel/proxy/holdback.h"
#include "sentinel/proxy/proxy.h"
#include "sentinel/runtime/channel.h"
#include "sentinel/runtime/probe.h"
#include "sentinel/runtime/supervisor.h"
#include "sentinel/state.h"
#include "sentinel/status.h"

namespace tb::sentinel {

/// What the lifecycle works with; all outlive it.
struct Parts {
  const Config& config;
  std::string version;
  Authorizer& authorizer;
  http::Client& blobs;  ///< follows URLs that came from the network
  proxy::Gate& gate;
  proxy::Holdback& holdback;
  proxy::Proxy& proxy;
  runtime::Supervisor& supervisor;
  obs::Log log;
  std::function<void()> on_open;         ///< called once, when the public address is bound
  std::vector<std::string> environment;  ///< NAME=value of this process: what the runtime's is made from
  std::function<void()> check = {};      ///< throws what else ends the use of the model; empty: nothing does
  std::function<void(std::optional<runtime::Channel>)> on_runtime = {};  ///< how it is reached now; nothing: it ends
};

class Lifecycle {
 public:
  explicit Lifecycle(Parts parts);
  ~Lifecycle();
  Lifecycle(const Lifecycle&) = delete;
  Lifecycle& operator=(const Lifecycle&) = delete;

  /// Lives until `stop` is requested (returns 0) or, with TB_EXIT_ON_DENIAL, until the first denial (returns 3). Throws
  /// what makes this machine unfit at the start.
  int run(std::stop_token stop);
  /// Any thread.
  Status status() const;
  /// How long the routine has not come round while the model is loaded or served, when it looks after lease, runtime
  /// and delivery many times a second; 0 in other states, where it may wait. Any thread; for a watchdog.
  std::int64_t silent_ms() const;

 private:
  void boot();
  void serve_once(const std::stop_token& stop);
  FileKey authorize(const std::stop_token& stop);
  hydrate::AuthenticatedManifest fetch_manifest(const FileKey& key, const std::stop_token& stop);
  void provide(const hydrate::AuthenticatedManifest& asset, FileKey key, const std::stop_token& stop);
  void start_runtime();
  runtime::ChildSpec runtime_spec();
  void check_reach();
  void check_contract(const Lease& lease) const;
  void take_new_paths();
  void take_enforcement(const Lease& lease);
  void end_drained();
  bool in_doubt();
  void watch_ready(const std::stop_token& stop);
  void become_ready();
  void tear_down(proxy::Gate::Door door, const Error* reason = nullptr);
  void finish();
  void move(Event event);
  void set_error(const Error& error);
  std::int64_t ask_again_after(const Error& error) const;
  State state() const;
  std::shared_ptr<LeaseKeeper> current_lease() const;

  Parts parts_;
  std::unique_ptr<deliver::ReadySignal> ready_signal_;
  std::shared_ptr<hydrate::Cache> kept_;  ///< ciphertext of the last provision
  std::shared_ptr<blob::UrlProvider> urls_;
  blob::DatedUrl manifest_url_;
  asset::Expectation expected_;  ///< of the manifest; without the key
  std::unique_ptr<runtime::Probe> probe_;
  RuntimeAddress runtime_address_;
  IsolationState isolation_;
  std::int64_t reach_seen_boot_ms_ = 0;
  std::int64_t started_boot_ms_ = 0;
  std::atomic<std::int64_t> came_round_boot_ms_ = 0;
  std::int64_t ask_again_ms_ = 60'000;
  std::int64_t closed_boot_ms_ = 0;             ///< when the gate was shut for the suspension that is under way
  std::optional<std::int64_t> drain_since_ms_;  ///< boot clock; the grade is drain and requests may still be under way
  bool drained_ = false;
  MachineWatch machine_;
  MachineSample trusted_;         ///< of the last renewal
  std::uint64_t trusted_at_ = 0;  ///< renewals then
  std::int64_t sampled_boot_ms_ = 0;
  std::optional<std::int64_t> doubted_since_ms_;

  mutable std::mutex mutex_;  ///< of what status() reads
  Status status_;
  std::shared_ptr<LeaseKeeper> lease_;
  std::optional<std::vector<std::string>> new_paths_;  ///< of a renewal, not in force yet
  std::unique_ptr<Provision> provision_;               ///< changed by the lifecycle's thread alone
};

}  // namespace tb::sentinel
