// mount: a read-only view of an asset, decrypted as it is read.
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/mount.h"

namespace tb::cli {
namespace {

struct Flags {
  MountOptions options;
};

void mount(const MountOptions& options, const Console& console) {
  mount_asset(options, console, [&](const MountedAsset& asset) {
    if (!asset.manifest_authenticated) {
      console.warning("the manifest is not authenticated: only its SHA-256 of the ciphertext and the tags are checked");
    }
    Json result = Json::object();
    result.set("directory", asset.directory);
    result.set("asset_id", asset.asset_id);
    result.set("plaintext_bytes", asset.plaintext_bytes);
    result.set("manifest_authenticated", asset.manifest_authenticated);
    console.result(result, asset.directory);
    console.note("mounted: Ctrl-C unmounts it");
  });
}

}  // namespace

void add_mount(Command root, Context& context) {
  auto flags = std::make_shared<Flags>();
  MountOptions& o = flags->options;
  const Command command = add_command(root, context, "mount", "show an asset as files, decrypted as they are read",
                                      "trustbridge mount --in model.tbenc --key-file model.tbenc.key ./model");
  command.add_option("directory", o.directory, "where; made if it is not there, else empty and yours")
      .required()
      .type_name("DIR");
  command.add_option("--in", o.input.in, "ciphertext: a file, or an https URL that answers byte ranges")
      .type_name("FILE|URL");
  command.add_option("--in-url-file", o.input.in_url_file, "0600 file with such a URL, signed ones too")
      .type_name("FILE");
  command.add_option("--key-file", o.key_file, "file key, or - for standard input").required().type_name("FILE");
  add_manifest_flags(command, o.input.manifest);
  command.add_flag("--allow-unauthenticated-manifest", o.input.manifest.allow_unauthenticated,
                   "accept a manifest without mac; its SHA-256 is then checked first");
  command
      .add_option("--ca-path", o.input.network.ca_path, "PEM file of the certificate authorities to trust [TB_CA_PATH]")
      .type_name("FILE");
  command.add_flag("--allow-insecure-http", o.input.network.allow_insecure_http,
                   "allow http:// to hosts that are not loopback [TB_ALLOW_INSECURE_HTTP]");
  command.callback(
      [&context, flags] { context.action = [&context, flags] { mount(flags->options, context.console); }; });
}

}  // namespace tb::cli
