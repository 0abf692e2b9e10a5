// upload: ciphertext and manifest to a store.
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/upload.h"

namespace tb::cli {
namespace {

struct Flags {
  UploadOptions options;
  SettingFlags settings;
};

void upload(const Flags& flags, const Console& console) {
  const Uploaded uploaded = upload_asset(flags.options, flags.settings, console);
  Json urls = Json::object();
  urls.set("ciphertext", uploaded.ciphertext_url);
  urls.set("manifest", uploaded.manifest_url);
  Json result = Json::object();
  result.set("asset_id", uploaded.asset_id);
  result.set("blob_urls", std::move(urls));
  result.set("ciphertext_bytes", uploaded.ciphertext_bytes);
  result.set("sent_bytes", uploaded.sent_bytes);
  console.result(result, fmt::format("{}\n{}", uploaded.ciphertext_url, uploaded.manifest_url));
}

}  // namespace

void add_upload(CLI::App& root, Context& context) {
  auto flags = std::make_shared<Flags>();
  UploadOptions& o = flags->options;
  CLI::App& command = add_command(root, context, "upload", "bring ciphertext and manifest to a store",
                                  "trustbridge upload --encrypted-file model.tbenc --store cp:");
  command.add_option("--encrypted-file", o.ciphertext, "ciphertext")->required()->type_name("FILE");
  command.add_option("--manifest", o.manifest, "manifest [beside the ciphertext, .manifest.json]")->type_name("FILE");
  command.add_option("--asset-id", o.asset_id, "refuse another asset than this")->type_name("ID");
  command.add_option("--store", o.store, "file:DIR, or cp: for the control plane's own; an upload to cp: is resumed")
      ->required()
      ->type_name("STORE");
  command.add_flag("-f,--force", o.force, "replace blobs in file:DIR");
  add_control_plane_flags(command, flags->settings);
  command.callback([&context, flags] { context.action = [&context, flags] { upload(*flags, context.console); }; });
}

}  // namespace tb::cli
