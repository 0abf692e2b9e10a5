#include "cli/command.h"

#include <fmt/format.h>

namespace tb::cli {

void add_commands(Command root, Context& context) {
  add_keygen(root, context);
  add_encrypt(root, context);
  add_decrypt(root, context);
  add_verify(root, context);
  add_inspect(root, context);
  add_mount(root, context);
  add_upload(root, context);
  add_register(root, context);
  add_package(root, context);
  add_publish(root, context);
  add_asset(root, context);
  add_contract(root, context);
  add_build(root, context);
  add_usage(root, context);
  add_events(root, context);
  add_audit(root, context);
  add_doctor(root, context);
  add_completion(root, context);
}

Command add_command(Command parent, Context& context, const std::string& name, const std::string& description,
                    const std::string& example) {
  const Command command = parent.add_subcommand(name, description);
  command.group("Commands");
  command.footer("Example:\n  " + example + "\n");
  command.add_flag("--json", context.console.json, "print the result, or the error, as JSON");
  command.add_flag("-q,--quiet", context.console.quiet, "no progress and no notes; errors and warnings only");
  return command;
}

void add_control_plane_flags(Command command, SettingFlags& flags, bool wrapping) {
  const auto option = [&](const char* name, std::string& value, const char* text, const char* type) {
    command.add_option(name, value, text).type_name(type).group("Control plane");
  };
  option("--edc-endpoint", flags.edc_endpoint, "the control plane's base URL [TB_EDC_ENDPOINT, profile]", "URL");
  option("--token-file", flags.token_file, "file with your bearer token, 0600 [TB_TOKEN_FILE, profile]", "FILE");
  option("--ca-path", flags.ca_path, "PEM file of the certificate authorities to trust [TB_CA_PATH, profile]", "FILE");
  if (wrapping) {
    option("--control-plane-key", flags.control_plane_key,
           "file with the control plane's identity key, which is pinned [TB_CONTROL_PLANE_KEY, profile]", "FILE");
    option("--tenant", flags.tenant, "refuse a token of another tenant [TB_TENANT, profile]", "NAME");
  }
  option("--profile", flags.profile, "profile of ~/.trustbridge/config.toml [TB_PROFILE]", "NAME");
  command
      .add_flag("--allow-insecure-http", flags.allow_insecure_http,
                "allow http:// to hosts that are not loopback [TB_ALLOW_INSECURE_HTTP]")
      .group("Control plane");
}

void add_tenant_flag(Command command, SettingFlags& flags) {
  command.add_option("--tenant", flags.tenant, "whose, where your token is of no tenant [TB_TENANT, profile]")
      .type_name("NAME")
      .group("Control plane");
}

void add_manifest_flags(Command command, ManifestFlags& flags) {
  command.add_option("--manifest", flags.manifest, "manifest [beside the ciphertext, .manifest.json]")
      .type_name("FILE");
  command.add_option("--asset-id", flags.asset_id, "refuse another asset than this").type_name("ID");
  command.add_option("--provider-key", flags.provider_key, "require a signature by this public key").type_name("FILE");
}

Error usage_error(std::string message) {
  return {"usage", std::move(message)};
}

std::string positional_or_flag(const std::string& positional, const std::string& flag, std::string_view flag_name) {
  if (!positional.empty() && !flag.empty()) {
    throw usage_error(fmt::format("both {} and a positional argument were given", flag_name));
  }
  if (positional.empty() && flag.empty()) throw usage_error(fmt::format("{} is required", flag_name));
  return positional.empty() ? flag : positional;
}

}  // namespace tb::cli
