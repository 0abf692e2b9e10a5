// trustbridge-control-plane: the parts list. Everything is made here, by hand, and handed down.
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "controlplane/admin.h"
#include "controlplane/routes.h"
#include "http/server.h"

namespace tb::controlplane {
namespace {

using Flags = std::map<std::string, std::string>;

/// Keys pass through this process: no core dumps, no debugger of the same user.
void harden() {
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

void wait_for_end(const sigset_t& signals) {
  int signal = 0;
  sigwait(&signals, &signal);
}

void serve(Config config) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);  // before any thread, so that all inherit it
  signal(SIGPIPE, SIG_IGN);

  const obs::Log log = obs::Log::to_stderr(config.log_level).named("control-plane");
  const auto store = open_store(config);
  const Keyring keyring = open_keyring(config, *store);
  const BlobFiles blobs(config.blob_dir);
  obs::Metrics metrics;
  PublicUrl public_url;
  public_url.set(config.public_url);
  Deps deps{.store = *store,
            .keyring = keyring,
            .blobs = blobs,
            .public_url = public_url,
            .clock = unix_ms_now,
            .log = log,
            .metrics = metrics,
            .allow_unauthenticated_sentinels = config.allow_unauthenticated_sentinels,
            .url_seconds = config.url_seconds};
  http::Server server({.address = config.address, .tls = config.tls}, make_router(deps), log.named("http"), &metrics);

  http::ListenAddress address = config.address;
  address.port = server.port();
  const std::string base = (config.tls ? "https://" : "http://") + address.to_text();
  if (config.public_url.empty()) public_url.set(base);
  if (config.allow_unauthenticated_sentinels) log.warn("contracts with authentication none are allowed");
  log.info("listening", {{"url", base}, {"public_url", public_url.get()}, {"version", TB_VERSION}});
  wait_for_end(signals);
  log.info("stopping");
  server.stop();
}

int run(int argc, char** argv) {
  CLI::App app("The TrustBridge control plane: assets, contracts, leases and keys.", "trustbridge-control-plane");
  app.set_version_flag("--version", "trustbridge-control-plane " TB_VERSION);
  Flags flags;
  std::string config_path, token_id;
  bool print = false;
  TokenWish wish;
  app.add_option("--config", config_path, "TOML file with the settings");
  app.add_flag("--print-config", print, "print the settings as they were taken, and exit");
  for (const auto& setting : settings()) {
    std::string name(setting.name);
    std::string flag = "--" + name;
    std::replace(flag.begin(), flag.end(), '_', '-');
    app.add_option_function<std::string>(flag, [&flags, name](const std::string& value) { flags[name] = value; },
                                         std::string(setting.help));
  }
  app.require_subcommand(0, 1);
  app.fallthrough();
  auto* token = app.add_subcommand("token", "bearer tokens of providers, operators and auditors")->require_subcommand(1);
  auto* create = token->add_subcommand("create", "make a token and print it, once");
  create->add_option("--role", wish.role, "provider, operator or auditor")->required();
  create->add_option("--tenant", wish.tenant, "the tenant; made where there was none");
  create->add_option("--expires-in", wish.expires_in, "as in 90d; without it the token does not expire");
  auto* list = token->add_subcommand("list", "ids, roles and tenants; never the tokens");
  auto* revoke = token->add_subcommand("revoke", "end a token");
  revoke->add_option("id", token_id, "its id")->required();
  auto* identity = app.add_subcommand("identity", "print the public identity key, which others pin");
  for (auto* command : {token, create, list, revoke, identity}) command->fallthrough();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : reason_info("usage").exit_status;
  }

  const Environment environment = process_environment();
  if (print) {
    fmt::print("{}\n", printable_config(flags, environment, config_path).pretty());
    return 0;
  }
  Config config = load_config(flags, environment, config_path);
  if (*create) fmt::print("{}\n", create_token(*open_store(config), wish, unix_ms_now()).reveal());
  else if (*list) fmt::print("{}", token_lines(*open_store(config)));
  else if (*revoke) revoke_token(*open_store(config), token_id);
  else if (*identity) {
    const auto store = open_store(config);
    fmt::print("{}\n", to_base64url(open_keyring(config, *store).identity().public_key()));
  } else serve(std::move(config));
  return 0;
}

}  // namespace
}  // namespace tb::controlplane

int main(int argc, char** argv) {
  try {
    tb::controlplane::harden();
    return tb::controlplane::run(argc, argv);
  } catch (const tb::Error& error) {
    fmt::print(stderr, "trustbridge-control-plane: error: {}\n", error.story());
    if (!error.hint().empty()) fmt::print(stderr, "hint: {}\n", error.hint());
    return error.exit_status();
  } catch (const std::exception&) {
    fmt::print(stderr, "trustbridge-control-plane: error: something that should not happen did\n");
    return 1;
  }
}
