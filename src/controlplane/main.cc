// trustbridge-control-plane: the parts list. Everything is made here, by hand, and handed down.
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>

#include "azure/attestation_profile.h"
#include "azure/tenant_stores.h"
#include "base/clock.h"
#include "controlplane/admin.h"
#include "controlplane/command_line.h"
#include "controlplane/console.h"
#include "controlplane/housekeeping.h"
#include "controlplane/marketplace_billing.h"
#include "controlplane/routes.h"
#include "http/server.h"
#include "obs/notify_socket.h"

namespace tb::controlplane {
namespace {

/// Keys pass through this process: no core dumps, no debugger of the same user.
void harden() {
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

/// Blocked before any thread starts, so that all inherit it and sigtimedwait gets them.
sigset_t block_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return signals;
}

/// So many connections as are configured need as many descriptors, and a thousand is what many systems begin with.
std::size_t connections_within(std::size_t wanted, const obs::Log& log) {
  constexpr std::size_t kOthers = 256;  // databases, blobs being sent, connections being closed
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = std::min<rlim_t>(files.rlim_max, std::max<rlim_t>(files.rlim_cur, wanted + kOthers));
  setrlimit(RLIMIT_NOFILE, &files);
  if (files.rlim_cur >= wanted + kOthers) return wanted;
  const std::size_t fewer = std::max<std::size_t>(files.rlim_cur, kOthers + 16) - kOthers;
  log.warn("fewer connections than configured: the limit of open files is too low", {{"connections", fewer}});
  return fewer;
}

obs::NotifySocket notify_socket(const Environment& environment) {
  const auto text = [&](const char* name) { return environment(name).value_or(""); };
  return {text("NOTIFY_SOCKET"), text("WATCHDOG_USEC"), text("WATCHDOG_PID")};
}

/// The next of `signals`, or 0 after `most_ms`.
int next_signal(const sigset_t& signals, std::int64_t most_ms) {
  const timespec most{.tv_sec = most_ms / 1000, .tv_nsec = most_ms % 1000 * 1'000'000};
  return std::max(sigtimedwait(&signals, nullptr, &most), 0);
}

/// How often the watchdog wants to be fed; nothing: there is none.
std::optional<std::int64_t> feeding_ms(const obs::NotifySocket& manager) {
  if (manager.watchdog_ms() == 0) return std::nullopt;
  return std::max<std::int64_t>(manager.watchdog_ms() / 4, 1);
}

/// Only while the server's loop turns: one that hangs is ended and started again by the service manager.
void feed_watchdog(http::Server& server, const obs::NotifySocket& manager) {
  if (const auto within_ms = feeding_ms(manager); within_ms && server.turns_within(*within_ms))
    manager.tell("WATCHDOG=1");
}

/// What SIGHUP asks for: a certificate that was renewed is used from now on. One that cannot be used changes nothing.
void reload(http::Server& server, const obs::NotifySocket& manager, const obs::Log& log) {
  manager.tell(obs::reloading_now());
  try {
    server.read_tls_again();
    log.info("certificate and key were read again");
  } catch (const Error& error) {
    log.error("certificate and key cannot be used: those of before stay in force", error);
  }
  manager.tell("READY=1");
}

/// Until SIGTERM or SIGINT.
void wait_for_end(const sigset_t& signals, http::Server& server, const obs::NotifySocket& manager,
                  const obs::Log& log) {
  constexpr std::int64_t kLongMs = 3'600'000;
  while (true) {
    feed_watchdog(server, manager);
    const int signal_number = next_signal(signals, feeding_ms(manager).value_or(kLongMs));
    if (signal_number == SIGHUP) reload(server, manager, log);
    if (signal_number == SIGTERM || signal_number == SIGINT) return;
  }
}

void serve(Config config, const Environment& environment) {
  const sigset_t signals = block_signals();
  const obs::Log log = obs::Log::to_stderr(config.log_level).named("control-plane");
  const auto store = open_store(config);
  const Keyring keyring = open_keyring(config, *store);
  const BlobFiles blobs(config.blob_dir);
  std::optional<azure::TenantStores> remote_store;
  if (config.remote_store) remote_store.emplace(std::move(*config.remote_store));
  obs::Metrics metrics;
  store->measure(metrics);
  RateLimits rate_limits(config.rate_limit);
  attest::Trust attestation_trust = load_attestation_trust(config.attestation, fetch_over_https());
  attestation_trust.token.profiles.emplace(azure::kConfidentialVmProfile, azure::confidential_vm_profile());
  PublicUrl public_url;
  public_url.set(config.public_url);
  const std::size_t max_connections = connections_within(config.max_connections, log);
  HintBoard hints(*store, log.named("hints"), {.max_waiters = max_connections / 2});
  const Housekeeping housekeeping(*store, unix_ms_now, log.named("housekeeping"));
  const auto billing = marketplace_billing(config, *store, metrics, log.named("billing"));
  Deps deps{.store = *store,
            .keyring = keyring,
            .blobs = blobs,
            .public_url = public_url,
            .hints = hints,
            .clock = unix_ms_now,
            .log = log,
            .metrics = metrics,
            .rate_limits = rate_limits,
            .attestation_trust = attestation_trust,
            .allow_unauthenticated_sentinels = config.allow_unauthenticated_sentinels,
            .marketplace_tenant = config.marketplace ? config.marketplace->tenant : "",
            .url_seconds = config.url_seconds,
            .signing_store = remote_store ? &*remote_store : nullptr};
  const http::ServerConfig server_config{.address = config.address,
                                         .tls = config.tls,
                                         .workers = config.workers,
                                         .queue = max_connections,
                                         .max_connections = max_connections};
  http::Server server(server_config, make_router(deps), log.named("http"), &metrics);

  http::ListenAddress address = config.address;
  address.port = server.port();
  const std::string base = (config.tls ? "https://" : "http://") + address.to_text();
  if (config.public_url.empty()) public_url.set(base);
  if (config.allow_unauthenticated_sentinels) log.warn("contracts with authentication none are allowed");
  log.info("listening", {{"url", base}, {"public_url", public_url.get()}, {"version", TB_VERSION}});
  const obs::NotifySocket manager = notify_socket(environment);
  manager.tell("READY=1\n" + obs::status_line("listening on " + base));
  wait_for_end(signals, server, manager, log);
  log.info("stopping");
  deps.stopping = true;
  manager.tell("STOPPING=1\n" + obs::status_line("stopping"));
  // Load balancers look at /readyz now and then; a second signal cuts this short.
  for (std::int64_t left_ms = config.stop_delay_seconds * 1000; left_ms > 0;) {
    const std::int64_t began = boot_ms_now();
    const int signal_number = next_signal(signals, std::min(left_ms, feeding_ms(manager).value_or(left_ms)));
    if (signal_number == SIGTERM || signal_number == SIGINT) break;
    feed_watchdog(server, manager);
    left_ms -= boot_ms_now() - began;
  }
  server.stop();
}

}  // namespace
}  // namespace tb::controlplane

int main(int argc, char** argv) {
  using namespace tb::controlplane;
  harden();
  try {
    const auto [line, exit_status] = parse_command_line(argc, argv, TB_VERSION);
    if (!line) return exit_status;
    if (line->command != Command::kServe) return run_console(*line);
    const Environment environment = process_environment();
    serve(load_config(line->flags, environment, line->config_path), environment);
    return 0;
  } catch (const tb::Error& error) {
    fmt::print(stderr, "trustbridge-control-plane: error: {}\n", error.story());
    if (!error.hint().empty()) fmt::print(stderr, "hint: {}\n", error.hint());
    return error.exit_status();
  } catch (const std::exception&) {
    fmt::print(stderr, "trustbridge-control-plane: error: something that should not happen did\n");
    return 1;
  }
}
