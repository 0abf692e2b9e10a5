// register: tell the control plane of an asset, and give it the key.
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/register.h"

namespace tb::cli {
namespace {

struct Flags {
  RegisterOptions options;
  SettingFlags settings;
  std::string store;
  std::string container;
};

void register_command(Flags& flags, const Console& console) {
  if (!flags.store.empty() && flags.store != "cp:") {
    throw usage_error("--store must be cp: here; other places are named by --blob-url");
  }
  RegisterOptions& o = flags.options;
  o.store_cp = !flags.store.empty();
  if (!o.store_cp && o.blob_url.empty() && o.storage_account.empty()) {
    o.storage_account = process_environment("AZURE_STORAGE_ACCOUNT").value_or("");
    if (flags.container.empty()) flags.container = process_environment("AZURE_STORAGE_CONTAINER").value_or("");
  }
  if (!flags.container.empty()) o.container = flags.container;
  const Json view = register_asset(flags.options, settle(flags.settings), console);
  const Json* id = view.find("asset_id");
  console.result(view, id != nullptr && id->is_string() ? printable(id->as_string()) : "");
}

}  // namespace

void add_register(Command root, Context& context) {
  auto flags = std::make_shared<Flags>();
  RegisterOptions& o = flags->options;
  const Command command =
      add_command(root, context, "register", "register an asset and its key with the control plane",
                  "trustbridge register --manifest model.manifest.json --key-file model.tbenc.key --store cp:");
  command.add_option("--asset-id", o.asset_id, "refuse another asset than this").type_name("ID");
  command.add_option("--manifest", o.manifest, "the asset's manifest").required().type_name("FILE");
  command.add_option("--key-file", o.key_file, "file key, or - for standard input").type_name("FILE");
  command.add_option("--key-hex", o.key_hex, "the key itself: shows it to every process of this machine")
      .type_name("HEX");
  command.add_option("--blob-url", o.blob_url, "where the ciphertext lies").type_name("URL");
  command.add_option("--manifest-url", o.manifest_url, "where the manifest lies [beside the ciphertext]")
      .type_name("URL");
  command.add_option("--storage-account", o.storage_account, "Azure account where both lie; env AZURE_STORAGE_ACCOUNT")
      .type_name("NAME");
  command.add_option("--container", flags->container, "its container [models]; env AZURE_STORAGE_CONTAINER")
      .type_name("NAME");
  command.add_option("--prefix", o.prefix, "what stands before the asset's id in the container").type_name("PATH");
  command.add_option("--endpoint", o.endpoint, "of another cloud or an emulator, with {account} in it")
      .type_name("URL");
  command.add_option("--store", flags->store, "cp: if upload --store cp: put it there").type_name("cp:");
  add_control_plane_flags(command, flags->settings, true);
  command.callback(
      [&context, flags] { context.action = [&context, flags] { register_command(*flags, context.console); }; });
}

}  // namespace tb::cli
