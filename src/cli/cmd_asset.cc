// asset: list, show, delete. Made by upload and register.
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/control_plane.h"

namespace tb::cli {
namespace {

struct Flags {
  SettingFlags settings;
  std::string id;
};

using Action = void (*)(const Flags&, ControlPlane&, const Console&);

std::string asset_path(const std::string& id) {
  return "/api/v1/assets/" + path_part(id);
}

std::string text_of(const Json& json, std::string_view name) {
  const Json* value = json.find(name);
  if (value == nullptr || value->is_null()) return "-";
  return printable(value->is_string() ? value->as_string() : value->dump());
}

std::string asset_line(const Json& asset) {
  const Json* metadata = asset.find("metadata");
  const Json none = Json::object();
  const Json& known = metadata == nullptr ? none : *metadata;
  return fmt::format("{:<24} {:>15}  {}  {}\n", text_of(asset, "asset_id"), text_of(known, "plaintext_bytes"),
                     text_of(asset, "registered_at"), text_of(known, "sha256_ciphertext"));
}

void list(const Flags&, ControlPlane& control_plane, const Console& console) {
  const Json::Array assets = control_plane.list("/api/v1/assets");
  std::string text;
  for (const Json& asset : assets) text += asset_line(asset);
  Json result = Json::object();
  result.set("items", assets);
  console.result(result, text);
}

void show(const Flags& flags, ControlPlane& control_plane, const Console& console) {
  const Json asset = control_plane.get(asset_path(flags.id)).body;
  std::string text;
  for (const auto& [name, value] : asset.as_object()) {
    text += fmt::format("{:<18} {}\n", printable(name), text_of(asset, name));
  }
  console.result(asset, text);
}

void remove(const Flags& flags, ControlPlane& control_plane, const Console& console) {
  control_plane.send("DELETE", asset_path(flags.id), nullptr, Repeat::kHarmless);
  Json result = Json::object();
  result.set("asset_id", flags.id);
  result.set("state", "deleted");
  console.result(result, flags.id);
}

void add_action(Command group, Context& context, const char* name, const char* description, const std::string& example,
                bool with_id, Action action) {
  auto flags = std::make_shared<Flags>();
  const Command command = add_command(group, context, name, description, "trustbridge asset " + example);
  add_control_plane_flags(command, flags->settings);
  add_tenant_flag(command, flags->settings);
  if (with_id) command.add_option("asset", flags->id, "the asset's id").required().type_name("ID");
  command.callback([&context, flags, action] {
    context.action = [&context, flags, action] {
      ControlPlane control_plane(settle(flags->settings), context.console);
      action(*flags, control_plane, context.console);
    };
  });
}

}  // namespace

void add_asset(Command root, Context& context) {
  const Command group = root.add_subcommand("asset", "see what is registered, and take it away");
  group.group("Commands");
  group.require_subcommand();
  group.footer("Example:\n  trustbridge asset list\n");
  add_action(group, context, "list", "list your assets: id, size, since when, SHA-256 of the ciphertext", "list --json",
             false, list);
  add_action(group, context, "show", "show an asset; never its key", "show llama-8b", true, show);
  add_action(group, context, "delete", "forget an asset's key, for good; refused while a contract needs it",
             "delete llama-8b", true, remove);
}

}  // namespace tb::cli
