// The flags of every setting, and the commands beside serving.
#include "controlplane/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "controlplane/config.h"

namespace tb::controlplane {
namespace {

void add_settings(CLI::App& app, CommandLine& line) {
  app.add_option("--config", line.config_path, "TOML file with the settings");
  for (const auto& setting : settings()) {
    const std::string name(setting.name);
    std::string flag = "--" + name;
    std::ranges::replace(flag, '_', '-');
    app.add_option_function<std::string>(
        flag, [&line, name](const std::string& value) { line.flags[name] = value; }, std::string(setting.help));
  }
}

}  // namespace

CommandLineOutcome parse_command_line(int argc, char** argv, const std::string& version) {
  CommandLine line;
  CLI::App app("The TrustBridge control plane: assets, contracts, leases and keys.", "trustbridge-control-plane");
  app.set_version_flag("--version", "trustbridge-control-plane " + version);
  bool print = false;
  app.add_flag("--print-config", print, "print the settings as they were taken, and exit");
  bool print_doc = false;
  app.add_flag("--print-config-doc", print_doc, "print the page that explains every setting, and exit");
  add_settings(app, line);
  app.require_subcommand(0, 1);
  const auto command = [&](CLI::App* parent, const std::string& name, const std::string& help, Command value) {
    CLI::App* sub = parent->add_subcommand(name, help);
    sub->fallthrough();
    sub->callback([&line, value] { line.command = value; });
    return sub;
  };
  CLI::App* token = app.add_subcommand("token", "bearer tokens of providers, operators and auditors");
  token->require_subcommand(1)->fallthrough();
  CLI::App* create = command(token, "create", "make a token and print it, once", Command::kTokenCreate);
  create->add_option("--role", line.wish.role, "provider, operator or auditor")->required();
  create->add_option("--tenant", line.wish.tenant, "the tenant; made where there was none");
  create->add_option("--expires-in", line.wish.expires_in, "as in 90d; without it the token does not expire");
  command(token, "list", "ids, roles and tenants; never the tokens", Command::kTokenList)
      ->add_flag("--json", line.json, "as JSON");
  command(token, "revoke", "end a token", Command::kTokenRevoke)->add_option("id", line.token_id, "its id")->required();
  command(&app, "identity", "print the public identity key, which others pin", Command::kIdentity);
  command(&app, "rekey", "wrap all stored keys under another KEK, while the service runs", Command::kRekey)
      ->add_option("--to", line.rekey_to, "TB_CP_KEK, or one of TB_CP_KEK_ACCEPTED")
      ->required();
  CLI::App* keys = app.add_subcommand("keys", "the keys that providers seal asset keys to");
  keys->require_subcommand(1)->fallthrough();
  command(keys, "list", "wrapping keys that are published, newest first", Command::kWrappingKeysList)
      ->add_flag("--json", line.json, "as JSON");
  command(keys, "rotate-wrapping", "publish a new wrapping key; the old ones are accepted until they are retired",
          Command::kWrappingKeyRotate);
  command(keys, "retire-wrapping", "accept nothing more that is sealed to a wrapping key", Command::kWrappingKeyRetire)
      ->add_option("kid", line.kid, "its id")
      ->required();
  command(&app, "doctor", "say what is wrong, or soon will be, with keys, database, disk and clock", Command::kDoctor)
      ->add_flag("--json", line.json, "as JSON");
  command(&app, "healthcheck", "exit with 0 if the service that these settings start is ready, else with 1",
          Command::kHealthcheck);
  CLI::App* events = app.add_subcommand("events", "the event log");
  events->require_subcommand(1)->fallthrough();
  command(events, "verify", "check the hash chain and the Merkle tree of the whole log", Command::kEventsVerify)
      ->add_option("--checkpoint", line.checkpoint_path, "a checkpoint kept from before, which the log must continue");
  CLI::App* backup =
      command(&app, "backup", "copy the database into a new file, while the service runs", Command::kBackup);
  backup->add_option("--out", line.backup_path, "the file; it never holds the KEK")->required();
  CLI::App* restore =
      command(&app, "restore", "fill the database from a backup, while the service is stopped", Command::kRestore);
  restore->add_option("--in", line.backup_path, "the file that backup wrote")->required();
  restore->add_flag("--force", line.force, "replace what the database holds");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return {.line = std::nullopt, .exit_status = app.exit(error) == 0 ? 0 : reason_info("usage").exit_status};
  }
  if (print) line.command = Command::kPrintConfig;
  if (print_doc) line.command = Command::kPrintConfigDoc;
  return {.line = std::move(line), .exit_status = 0};
}

}  // namespace tb::controlplane
