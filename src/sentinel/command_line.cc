#include "sentinel/command_line.h"

#include <fmt/format.h>

#include <cstdio>

#include "obs/finding.h"
#include "sentinel/evidence.h"
#include "sentinel/fetch_command.h"
#include "sentinel/healthcheck.h"
#include "sentinel/isolation_state.h"
#include "sentinel/keys_command.h"
#include "sentinel/proxy/allowed_paths.h"
#include "sentinel/state.h"

namespace tb::sentinel {
namespace {

constexpr std::string_view kUsage =
    R"(Serves a model under a contract: lease, download, decryption into memory, runtime, proxy, audit log.

Usage:
  trustbridge-sentinel [SETTING...]         serve until SIGTERM
  trustbridge-sentinel fetch trustbridge://CONTRACT/ASSET DIR
                                            bring ciphertext and manifest to DIR, to be served later
  trustbridge-sentinel keys add|limits|list|revoke
                                            API keys of those who may ask
  trustbridge-sentinel healthcheck          ask the running one whether it is ready
  trustbridge-sentinel --print-config | --isolation-report [--json] | --print-evidence | --version
)";

int dispatch(const std::vector<std::string>& arguments, std::string_view version,
             const std::function<int(const Config&)>& serve) {
  const std::string first = arguments.empty() ? "" : arguments.front();
  if (first == "--version") return fmt::print("trustbridge-sentinel {}\n", version), 0;
  if (first == "--print-allowed-paths") return fmt::print("{}", proxy::allowed_paths_document()), 0;
  if (first == "--print-states") return fmt::print("{}", states_document()), 0;
  if (first == "fetch") return fetch_command({arguments.begin() + 1, arguments.end()}, version);
  if (first == "--print-config-doc") return fmt::print("{}", config_document()), 0;
  if (first == "--help" || first == "-h") return fmt::print("{}\n{}", kUsage, config_document()), 0;
  std::vector<std::string> faults;
  const bool is_keys = first == "keys";
  const bool is_healthcheck = first == "healthcheck";
  const bool is_verb = is_keys || is_healthcheck;  // settings come by the environment then
  const Settings settings =
      resolve_settings(is_verb ? std::vector<std::string>{} : arguments, process_environment(), faults);
  const Config config = make_config(settings, faults);
  if (is_keys) return keys_command({arguments.begin() + 1, arguments.end()}, config.api_keys_file);
  if (is_healthcheck) return healthcheck({arguments.begin() + 1, arguments.end()}, config.health_address);
  if (settings.isolation_report) {
    const auto findings = isolation_findings(examine_isolation(config));
    fmt::print("{}", settings.json ? obs::to_json(findings).pretty() + "\n" : obs::to_text(findings));
    return 0;
  }
  if (settings.print_config) fmt::print("{}", print_config(settings));
  for (const std::string& fault : faults) fmt::print(stderr, "trustbridge-sentinel: error: {}\n", fault);
  if (!faults.empty()) return 2;
  if (settings.print_evidence) {
    return fmt::print("{}\n", evidence_report(config).pretty()), 0;
  }
  return settings.print_config ? 0 : serve(config);
}

}  // namespace

int run_program(const std::vector<std::string>& arguments, std::string_view version,
                const std::function<int(const Config&)>& serve) {
  try {
    return dispatch(arguments, version, serve);
  } catch (const Error& error) {
    fmt::print(stderr, "trustbridge-sentinel: error: {}\n", error.story());
    if (!error.hint().empty()) fmt::print(stderr, "trustbridge-sentinel: hint: {}\n", error.hint());
    return error.exit_status();
  } catch (const std::exception& error) {
    fmt::print(stderr, "trustbridge-sentinel: error: {}\n", error.what());
    return 1;
  }
}

}  // namespace tb::sentinel
