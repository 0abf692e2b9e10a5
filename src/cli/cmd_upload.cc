// upload: ciphertext and manifest to a store.
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/store_flags.h"
#include "cli/upload.h"

namespace tb::cli {
namespace {

struct Flags {
  UploadOptions options;
  SettingFlags settings;
};

void upload(const Flags& flags, const Console& console) {
  const Uploaded uploaded = upload_asset(flags.options, flags.settings, console);
  console.result(uploaded_json(uploaded), fmt::format("{}\n{}", uploaded.ciphertext.url, uploaded.manifest.url));
}

}  // namespace

void add_upload(Command root, Context& context) {
  auto flags = std::make_shared<Flags>();
  UploadOptions& o = flags->options;
  const Command command =
      add_command(root, context, "upload", "bring ciphertext and manifest to a store",
                  "trustbridge upload --encrypted-file model.tbenc --storage-account acct1 --create-container");
  command.add_option("--encrypted-file", o.ciphertext, "ciphertext").required().type_name("FILE");
  command.add_option("--manifest", o.manifest, "manifest [beside the ciphertext, .manifest.json]").type_name("FILE");
  command.add_option("--asset-id", o.asset_id, "refuse another asset than this").type_name("ID");
  add_store_flags(command, o.store);
  command.add_flag("-f,--force,--overwrite", o.store.replace, "replace blobs that hold other content");
  add_control_plane_flags(command, flags->settings);
  command.callback([&context, flags] { context.action = [&context, flags] { upload(*flags, context.console); }; });
}

}  // namespace tb::cli
