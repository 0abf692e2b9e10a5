// The sentinel's proxy alone, for proxy_bench.py: the data path and the filters that are asked for, in front of a
// runtime that is already there.
//
//   proxy_gate PORT RUNTIME_PORT DIRECTORY [audit] [metrics] [keys] [metering] [leaks]     the key's file is
//   DIRECTORY/key
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/fs.h"
#include "base/result.h"
#include "sentinel/api_keys.h"
#include "sentinel/audit.h"
#include "sentinel/metering.h"
#include "sentinel/proxy/access_filter.h"
#include "sentinel/proxy/filters.h"
#include "sentinel/proxy/leak_filter.h"
#include "sentinel/proxy/limits_filter.h"
#include "sentinel/proxy/metrics_filter.h"
#include "sentinel/proxy/proxy.h"

using namespace tb;
using namespace tb::sentinel;

int main(int argc, char** argv) {
  if (argc < 4) {
    fmt::print(stderr, "usage: proxy_gate PORT RUNTIME_PORT DIRECTORY [audit] [metrics] [keys] [metering] [leaks]\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  try {
    const std::string directory = argv[3];
    const std::vector<std::string> parts(argv + 4, argv + argc);
    const auto with = [&](const char* part) { return std::ranges::find(parts, part) != parts.end(); };
    const std::string keys_file = directory + "/api-keys";
    if (access(keys_file.c_str(), F_OK) != 0) {
      const NewApiKey made = add_api_key(keys_file, "bench", true, false, unix_ms_now());
      value_or_throw(write_file_atomically(directory + "/key", made.key.reveal(), 0600, false));
    }
    ApiKeys keys(keys_file);
    obs::Metrics metrics;
    proxy::Gate gate;
    gate.set(proxy::Gate::Door::kOpen);
    meter::Budgets budgets;
    UnderwayBook underway;
    std::optional<AuditLog> audit;
    std::vector<std::unique_ptr<proxy::Filter>> filters;
    if (with("audit")) {
      audit.emplace(AuditOptions{
          .place = {.directory = directory + "/audit", .state_dir = directory, .frame = {"bench", "bench", true}}});
      filters.push_back(proxy::audit_filter(*audit));
    }
    if (with("metrics")) filters.push_back(proxy::metrics_filter(metrics, "asset-1"));
    filters.push_back(
        proxy::access_filter({.everybody = !with("keys"), .keys = with("keys") ? &keys : nullptr}, metrics));
    filters.push_back(proxy::gate_filter(gate));
    if (with("metering")) {
      filters.push_back(proxy::limits_filter(metrics));
      filters.push_back(metering_filter(budgets, underway, metrics, {}));
    }
    if (with("leaks")) filters.push_back(proxy::leak_filter({{directory + "/model"}, "bench"}, metrics));
    proxy::ProxyOptions options{.address = {.host = "127.0.0.1", .is_loopback = true},
                                .max_body_bytes = std::uint64_t{1} << 40};
    options.address.port = static_cast<std::uint16_t>(std::atoi(argv[1]));
    options.upstream.port = static_cast<std::uint16_t>(std::atoi(argv[2]));
    options.pool_size = 2048;
    proxy::Proxy proxy(options, std::move(filters), obs::Log(), &metrics);
    proxy.open();
    int signal = 0;
    sigwait(&signals, &signal);
    proxy.stop(0);
    return 0;
  } catch (const Error& error) {
    fmt::print(stderr, "proxy_gate: {}: {}\n", error.reason, error.message);
    return 1;
  }
}
