// trustbridge-sentinel: the parts and how they fit together.

#include <stop_token>

#include "base/clock.h"
#include "base/fs.h"
#include "deliver/wipe.h"
#include "http/server.h"
#include "sentinel/audit_options.h"
#include "sentinel/audit_witness.h"
#include "sentinel/command_line.h"
#include "sentinel/config_digest.h"
#include "sentinel/doorkeeper.h"
#include "sentinel/evidence.h"
#include "sentinel/health.h"
#include "sentinel/hw_id.h"
#include "sentinel/lifecycle.h"
#include "sentinel/metering.h"
#include "sentinel/proxy/fault_log_filter.h"
#include "sentinel/proxy/leak_filter.h"
#include "sentinel/proxy/limits_filter.h"
#include "sentinel/proxy/metrics_filter.h"
#include "sentinel/runtime/confined_init.h"
#include "sentinel/runtime/counters.h"
#include "sentinel/sentinel_key.h"
#include "sentinel/service_report.h"
#include "sentinel/signals.h"
#include "sentinel/usage_sources.h"

using namespace tb;
using namespace tb::sentinel;

namespace {

constexpr std::int64_t kLastReportsMs = 5'000;

obs::NotifySocket notify_socket() {
  const Environment variable = process_environment();
  const auto text = [&](std::string_view name) { return variable(name).value_or(""); };
  return {text("NOTIFY_SOCKET"), text("WATCHDOG_USEC"), text("WATCHDOG_PID")};
}

int serve(const Config& config) {
  const obs::Log log = obs::Log::to_stderr(config.log_level).named("sentinel");
  for (const std::string& note : config.notes) log.warn(note);
  for (const std::string& name : unknown_variables()) log.warn("unknown variable", {{"name", name}});
  if (config.dev) log.warn("--dev: for trying out on one machine, not for serving");
  value_or_throw(deliver::open_owned_dir(config.state_dir, 0700));

  obs::Metrics metrics;
  Doorkeeper doorkeeper(config, log);
  meter::Budgets budgets;
  UnderwayBook underway;
  UsageService usage({.ledger_path = config.state_dir + "/usage.db",
                      .audit_dir = config.audit_dir,
                      .contract_id = config.contract_id,
                      .report_ms = config.report_ms,
                      .gpus = gpus_here()},
                     budgets, underway, metrics, log.named("usage"));
  AuditOptions recorded = audit_options(config);
  recorded.on_durable = [&](const std::string& origin, std::uint64_t first, std::span<const AuditEntry> entries) {
    usage.take(origin, first, entries);
  };
  AuditLog audit(std::move(recorded), log.named("audit"));
  http::ClientConfig to_control_plane{.ca_path = config.ca_path,
                                      .client_cert_path = config.client_cert_path,
                                      .client_key_path = config.client_key_path,
                                      .user_agent = "trustbridge-sentinel/" TB_VERSION,
                                      .policy = http::AddressPolicy::configured(config.allow_insecure_http)};
  http::ClientConfig to_blobs{.ca_path = config.ca_path, .user_agent = to_control_plane.user_agent};
  to_blobs.policy = http::AddressPolicy::from_network(config.control_plane_is_loopback, config.allow_private_networks,
                                                      config.allow_insecure_http);
  http::Client control_plane(to_control_plane);
  http::Client blobs(to_blobs);
  const jose::PrivateKey sentinel_key = load_or_make_sentinel_key(config.state_dir + "/sentinel-key");
  Authorizer authorizer({config.control_plane_url, config.contract_id, config.asset_id, hw_id({config.hw_id_file}),
                         TB_VERSION, config.activation_token_file, config.plain_key_allowed, config.control_plane_key},
                        sentinel_key, [&](const http::ClientRequest& request) { return control_plane.send(request); });
  std::optional<EvidenceMaker> evidence;
  if (auto prover = make_prover(config)) {
    authorizer.use_evidence(evidence.emplace(std::move(prover), config_digest(config)));
  }

  authorizer.on_lease([&](const Lease& lease) {
    if (lease.quotas) usage.take_quotas(*lease.quotas);
    usage.take_reporting(lease.max_seats.value_or(1), lease.marketplace_by_control_plane);
  });
  AuditWitness witness(audit, {.contract_id = config.contract_id, .every_ms = config.audit_checkpoint_ms},
                       sources_of(authorizer), log.named("audit"));

  proxy::Gate gate;
  proxy::Holdback holdback;
  usage.start(audit, usage_sources(config, authorizer, gate));
  const UsageService::End end_of_usage(usage);  // before what its threads ask
  std::vector<std::unique_ptr<proxy::Filter>> filters;
  filters.push_back(proxy::audit_filter(audit));
  filters.push_back(proxy::metrics_filter(metrics, config.served_model_name));
  filters.push_back(proxy::fault_log_filter(log.named("proxy")));
  filters.push_back(proxy::access_filter(doorkeeper.access(), metrics));
  filters.push_back(proxy::gate_filter(gate));
  filters.push_back(proxy::holdback_filter(holdback));
  filters.push_back(proxy::limits_filter(metrics));
  filters.push_back(metering_filter(
      budgets, underway, metrics,
      {.context_tokens = config.model_context_tokens, .clock = [&] { return authorizer.anchored_unix_ms(); }}));
  filters.push_back(proxy::leak_filter(proxy::hidden_paths(config), metrics));
  proxy::ProxyOptions proxy_options{
      .address = config.public_address, .upstream = config.runtime, .max_body_bytes = config.max_body_bytes};
  if (!config.tls_cert_path.empty()) {
    proxy_options.tls =
        http::TlsConfig{config.tls_cert_path, config.tls_key_path, config.tls_client_ca_path,
                        !config.tls_client_ca_path.empty() && config.tls_client_subjects.empty(), config.proxy_http2};
  }
  if (!config.allowed_paths.empty()) proxy_options.allowed.narrow(config.allowed_paths);
  proxy::Proxy proxy(proxy_options, std::move(filters), log.named("proxy"), &metrics);
  runtime::Supervisor supervisor(log.named("runtime"));

  runtime::TokenDrift drift(metrics, [&] { return metered_tokens(metrics); });
  std::function<void()> announce;
  Lifecycle lifecycle({config, TB_VERSION, authorizer, blobs, gate, holdback, proxy, supervisor, log,
                       [&] { announce(); }, process_variables(), [&] { usage.check(); },
                       [&](std::optional<runtime::Channel> channel) { drift.watch(std::move(channel)); }});
  http::Server health({.address = config.health_address},
                      health_router(
                          [&] {
                            Status status = lifecycle.status();
                            status.audit = audit.view();
                            status.audit_fault = witness.state().fault;
                            return status;
                          },
                          metrics, doorkeeper.keys()),
                      log.named("health"), &metrics);
  announce = [&] {
    Json addresses = Json::object();
    addresses.set("health", http::ListenAddress{config.health_address.host, health.port()}.to_text());
    if (proxy.is_open())
      addresses.set("public", http::ListenAddress{config.public_address.host, proxy.port()}.to_text());
    value_or_throw(write_file_atomically(config.state_dir + "/addresses.json", addresses.dump() + "\n", 0600, true));
    log.info("listening", {{"addresses", addresses.dump()}});
  };
  announce();
  const auto turns = [&](std::int64_t ms) {
    return lifecycle.silent_ms() <= ms && proxy.turns_within(ms) && health.turns_within(ms);
  };
  const ServiceReport report(notify_socket(), {.status = [&] { return lifecycle.status(); },
                                               .turns = turns,
                                               .starts_runtime = !config.runtime_command.empty()});
  const std::stop_source stop;
  stop_on_signals(stop);
  const int exit_status = lifecycle.run(stop.get_token());
  audit.flush(kLastReportsMs);
  usage.finish(kLastReportsMs);
  witness.finish(kLastReportsMs);
  return exit_status;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == runtime::kInitVerb) runtime::confined_init();
  hold_signals();
  return run_program({argv + 1, argv + argc}, TB_VERSION, serve);
}
