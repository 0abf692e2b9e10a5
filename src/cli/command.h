// How the commands join the program: one add_*() per verb, each in its own cmd_*.cc, which declares flags and
// translates them into a call of a plain function. Nothing runs while flags are parsed: the chosen command leaves its
// action in the Context, and main runs it.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

#include "cli/console.h"
#include "cli/manifest_file.h"
#include "cli/settings.h"

namespace tb::cli {

struct Context {
  Console console;
  std::function<void()> action;
  int exit_status = 0;  ///< of a command that gave its result and still found a fault
};

/// The whole command tree.
void add_commands(CLI::App& root, Context& context);

void add_keygen(CLI::App& root, Context& context);
void add_encrypt(CLI::App& root, Context& context);
void add_decrypt(CLI::App& root, Context& context);
void add_verify(CLI::App& root, Context& context);
void add_inspect(CLI::App& root, Context& context);
void add_mount(CLI::App& root, Context& context);
void add_upload(CLI::App& root, Context& context);
void add_register(CLI::App& root, Context& context);
void add_package(CLI::App& root, Context& context);
void add_publish(CLI::App& root, Context& context);
void add_asset(CLI::App& root, Context& context);
void add_contract(CLI::App& root, Context& context);
void add_build(CLI::App& root, Context& context);
void add_usage(CLI::App& root, Context& context);
void add_events(CLI::App& root, Context& context);
void add_audit(CLI::App& root, Context& context);
void add_doctor(CLI::App& root, Context& context);
void add_completion(CLI::App& root, Context& context);

/// A subcommand with `--json`, `--quiet` and its example at the end of `--help`.
CLI::App& add_command(CLI::App& parent, Context& context, const std::string& name, const std::string& description,
                      const std::string& example);

/// --edc-endpoint, --token-file, --ca-path, --profile, --allow-insecure-http; --control-plane-key and --tenant with
/// `wrapping`.
void add_control_plane_flags(CLI::App& command, SettingFlags& flags, bool wrapping = false);

/// --tenant for those whose token is of no tenant: operators, and auditors of everything.
void add_tenant_flag(CLI::App& command, SettingFlags& flags);

/// --manifest, --asset-id, --provider-key.
void add_manifest_flags(CLI::App& command, ManifestFlags& flags);

/// The subcommand whose name is at most two edits from `word`; empty if there is none.
std::string nearest_command(const CLI::App& app, std::string_view word);

/// Makes the usage error of a command; main adds the hint.
Error usage_error(std::string message);

/// The one answer among `positional` and `flag` (as `--in`); throws a usage error if both or neither were given.
std::string positional_or_flag(const std::string& positional, const std::string& flag, std::string_view flag_name);

}  // namespace tb::cli
