// How the commands join the program: one add_*() per verb, each in its own cmd_*.cc, which declares flags and
// translates them into a call of a plain function. Nothing runs while flags are parsed: the chosen command leaves its
// action in the Context, and main runs it.
#pragma once

#include <functional>
#include <string>

#include "cli/command_line.h"
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
void add_commands(Command root, Context& context);

void add_keygen(Command root, Context& context);
void add_encrypt(Command root, Context& context);
void add_decrypt(Command root, Context& context);
void add_verify(Command root, Context& context);
void add_inspect(Command root, Context& context);
void add_mount(Command root, Context& context);
void add_upload(Command root, Context& context);
void add_register(Command root, Context& context);
void add_package(Command root, Context& context);
void add_publish(Command root, Context& context);
void add_asset(Command root, Context& context);
void add_contract(Command root, Context& context);
void add_build(Command root, Context& context);
void add_usage(Command root, Context& context);
void add_events(Command root, Context& context);
void add_audit(Command root, Context& context);
void add_doctor(Command root, Context& context);
void add_completion(Command root, Context& context);

/// A subcommand with `--json`, `--quiet` and its example at the end of `--help`.
Command add_command(Command parent, Context& context, const std::string& name, const std::string& description,
                    const std::string& example);

/// --edc-endpoint, --token-file, --ca-path, --profile, --allow-insecure-http; --control-plane-key and --tenant with
/// `wrapping`.
void add_control_plane_flags(Command command, SettingFlags& flags, bool wrapping = false);

/// --tenant for those whose token is of no tenant: operators, and auditors of everything.
void add_tenant_flag(Command command, SettingFlags& flags);

/// --manifest, --asset-id, --provider-key.
void add_manifest_flags(Command command, ManifestFlags& flags);

/// Makes the usage error of a command; main adds the hint.
Error usage_error(std::string message);

/// The one answer among `positional` and `flag` (as `--in`); throws a usage error if both or neither were given.
std::string positional_or_flag(const std::string& positional, const std::string& flag, std::string_view flag_name);

}  // namespace tb::cli
