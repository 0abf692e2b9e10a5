#include "cli/upload.h"

#include "base/fs.h"
#include "cli/manifest_file.h"
#include "cli/paths.h"

namespace tb::cli {
namespace {

LocalAsset open_asset(const UploadOptions& options) {
  ManifestFlags flags;
  flags.manifest = options.manifest.empty() ? manifest_path_of(options.ciphertext) : options.manifest;
  flags.asset_id = options.asset_id;
  flags.allow_unauthenticated = true;  // no key here: what is checked is that the two files belong together
  LoadedManifest loaded = load_manifest(flags, options.ciphertext, nullptr).value();
  std::string text = value_or_throw(read_small_file(flags.manifest, asset::kMaxManifestBytes));
  tbenc::FileSource source = value_or_throw(tbenc::FileSource::open(options.ciphertext));
  Bytes head(std::min<std::uint64_t>(source.size(), tbenc::kHeaderBytes));
  value_or_throw(source.read_at(0, head));
  const tbenc::Header header = value_or_throw(tbenc::parse_header(head));
  value_or_throw(asset::check_file(loaded.manifest, header, source.size()));
  return {options.ciphertext, flags.manifest, std::move(loaded.manifest), std::move(text), std::move(source)};
}

}  // namespace

Uploaded upload_asset(const UploadOptions& options, const SettingFlags& settings, const Console& console) {
  check_store(options.store);
  const LocalAsset asset = open_asset(options);
  return open_store(options.store, settings, console)->upload(asset);
}

}  // namespace tb::cli
