#include "controlplane/console.h"

#include <fmt/format.h>

#include <cstdio>

#include "controlplane/admin.h"
#include "controlplane/backup.h"
#include "controlplane/doctor.h"
#include "http/readiness.h"

namespace tb::controlplane {
namespace {

int restore(Config& config, const CommandLine& line) {
  const RestoreReport report = restore_backup(config, line.backup_path, line.force);
  fmt::print("{}\n", report.line);
  for (const auto& text : report.warnings) fmt::print(stderr, "trustbridge-control-plane: warning: {}\n", text);
  return 0;
}

// The name that its certificate has is that of its public URL.
int healthcheck(const Config& config) {
  http::OwnServer server{.address = config.address, .tls_cert_path = {}, .tls_name = {}};
  if (config.tls) {
    server.tls_cert_path = config.tls->cert_path;
    const std::size_t host = config.public_url.find("://");
    if (host != std::string::npos) server.tls_name = config.public_url.substr(host + 3);
    server.tls_name = server.tls_name.substr(0, server.tls_name.find_first_of(":/"));
  }
  http::OwnAnswer answer;
  try {
    answer = http::ask_own(server, "/readyz");
  } catch (const Error& error) {
    fmt::print(stderr, "trustbridge-control-plane: not ready: {}\n", error.story());
    return 1;  // orchestrators know 0 and 1 only
  }
  if (answer.status == 200) return 0;
  fmt::print(stderr, "trustbridge-control-plane: not ready: {} answered {}\n", http::own_url(server), answer.status);
  return 1;
}

int doctor(const Config& config, bool json) {
  const auto findings = examine(config);
  fmt::print("{}", json ? to_json(findings).pretty() + "\n" : to_text(findings));
  return is_healthy(findings) ? 0 : 1;
}

/// Text for stdout, of the commands that need the store; a new token goes there at once, uncopied.
std::string on_the_store(const CommandLine& line, const Config& config) {
  const auto store = open_store(config);
  switch (line.command) {
    case Command::kTokenCreate:
      fmt::print("{}\n", create_token(*store, line.wish, unix_ms_now()).reveal());
      return "";
    case Command::kTokenList:
      return line.json ? token_list(*store).pretty() + "\n" : token_lines(*store);
    case Command::kTokenRevoke:
      revoke_token(*store, line.token_id);
      return "";
    case Command::kEventsVerify:
      return verify_events_against(*store, line.checkpoint_path, open_keyring(config, *store)) + "\n";
    case Command::kRekey:
      return rekey_to(config, line.rekey_to, *store) + "\n";
    case Command::kWrappingKeysList:
      return line.json ? wrapping_key_list(open_keyring(config, *store)).pretty() + "\n"
                       : wrapping_key_lines(open_keyring(config, *store));
    case Command::kWrappingKeyRotate:
      return open_keyring(config, *store).add_wrapping_key(unix_ms_now()).key.thumbprint() + "\n";
    case Command::kWrappingKeyRetire:
      open_keyring(config, *store).retire_wrapping_key(line.kid);
      return "";
    case Command::kIdentity:
      return to_base64url(open_keyring(config, *store).identity().public_key()) + "\n";
    default:
      throw Error("internal", "a command that nobody runs");
  }
}

}  // namespace

int run_console(const CommandLine& line) {
  const Environment environment = process_environment();
  if (line.command == Command::kPrintConfigDoc) {
    fmt::print("{}", config_document());
    return 0;
  }
  if (line.command == Command::kPrintConfig) {
    fmt::print("{}\n", printable_config(line.flags, environment, line.config_path).pretty());
    return 0;
  }
  Config config = load_config(line.flags, environment, line.config_path);
  switch (line.command) {
    case Command::kBackup:
      fmt::print("{}\n", back_up(config, line.backup_path));
      return 0;
    case Command::kRestore:
      return restore(config, line);
    case Command::kHealthcheck:
      return healthcheck(config);
    case Command::kDoctor:
      return doctor(config, line.json);
    default:
      fmt::print("{}", on_the_store(line, config));
      return 0;
  }
}

}  // namespace tb::controlplane
