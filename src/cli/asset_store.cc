#include "cli/asset_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>

#include <filesystem>

#include "base/fs.h"
#include "cli/interrupt.h"
#include "cli/paths.h"

namespace tb::cli {
namespace {

constexpr std::size_t kCopyBytes = std::size_t{1} << 20;

Json blob_json(const StoredBlob& blob) {
  Json out = Json::object();
  out.set("url", blob.url);
  out.set("etag", blob.etag);
  out.set("sha256", blob.sha256);
  out.set("bytes", blob.bytes);
  out.set("sent_bytes", blob.sent_bytes);
  out.set("blocks_sent", blob.blocks_sent);
  out.set("blocks_skipped", blob.blocks_skipped);
  out.set("already_there", blob.already_there);
  return out;
}

/// `models/<asset_id>/…` under a directory.
class FolderStore final : public AssetStore {
 public:
  FolderStore(std::string directory, bool replace, const Console& console)
      : directory_(std::move(directory)), replace_(replace), console_(console) {}

  std::string place(const std::string& asset_id) const override { return "file:" + folder(asset_id); }

  Uploaded upload(const LocalAsset& asset) override {
    const std::string folder_path = folder(asset.manifest.asset_id());
    value_or_throw(make_directories(folder_path, 0755));
    const std::string target = folder_path + "/" + std::string(kCiphertextName);
    const std::string manifest_target = folder_path + "/" + std::string(kManifestName);
    require_apart({asset.path, asset.manifest_path}, {target, manifest_target});
    AtomicFile file = value_or_throw(AtomicFile::create(target, 0644, replace_));
    AtomicFile manifest_file = value_or_throw(AtomicFile::create(manifest_target, 0644, replace_));
    require_space(target, asset.source.size());
    Progress progress(console_, "upload", asset.source.size());
    Sha256 hash;
    Bytes buffer(kCopyBytes);
    for (std::uint64_t at = 0; at < asset.source.size();) {
      throw_if_interrupted();
      const MutableBytes piece(buffer.data(), std::min<std::uint64_t>(buffer.size(), asset.source.size() - at));
      value_or_throw(asset.source.read_at(at, piece));
      hash.update(piece);
      value_or_throw(write_full(file.fd(), piece, target));
      at += piece.size();
      progress.update(at);
    }
    value_or_throw(asset.source.check_unchanged());
    require_digest(asset, hash.finish());
    value_or_throw(write_full(manifest_file.fd(), as_bytes(asset.manifest_text), manifest_target));
    value_or_throw(file.commit());
    value_or_throw(manifest_file.commit());
    const std::string url = "file://" + std::filesystem::canonical(folder_path).string() + "/";
    const std::uint64_t bytes = asset.source.size(), manifest_bytes = asset.manifest_text.size();
    return {asset.manifest.asset_id(),
            {.url = url + std::string(kCiphertextName),
             .sha256 = asset.manifest.sha256_ciphertext(),
             .bytes = bytes,
             .sent_bytes = bytes},
            {.url = url + std::string(kManifestName),
             .sha256 = sha256_hex(asset.manifest_text),
             .bytes = manifest_bytes,
             .sent_bytes = manifest_bytes}};
  }

  std::unique_ptr<CiphertextStream> stream(const std::string&, std::uint64_t) override {
    throw Error("usage",
                "--upload sends to a store over the network: for a directory, use --out and upload --store file:DIR");
  }
  std::optional<StoredBlob> find(const std::string&, std::uint64_t, const std::string&) override {
    return std::nullopt;
  }
  StoredBlob put_manifest(const std::string&, const std::string&) override {
    throw Error("internal", "a directory gets its manifest with its ciphertext");
  }

 private:
  std::string folder(const std::string& asset_id) const { return directory_ + "/models/" + asset_id; }
  std::string directory_;
  bool replace_;
  Console console_;
};

}  // namespace

Json uploaded_json(const Uploaded& uploaded) {
  Json urls = Json::object();
  urls.set("ciphertext", uploaded.ciphertext.url);
  urls.set("manifest", uploaded.manifest.url);
  Json blobs = Json::object();
  blobs.set("ciphertext", blob_json(uploaded.ciphertext));
  blobs.set("manifest", blob_json(uploaded.manifest));
  Json result = Json::object();
  result.set("asset_id", uploaded.asset_id);
  result.set("blob_urls", std::move(urls));
  result.set("ciphertext_bytes", uploaded.ciphertext.bytes);
  result.set("sent_bytes", uploaded.ciphertext.sent_bytes);
  result.set("blobs", std::move(blobs));
  return result;
}

void require_digest(const LocalAsset& asset, const Digest& digest) {
  if (to_hex(digest) != asset.manifest.sha256_ciphertext()) {
    throw Error("ciphertext_digest_mismatch", asset.path + " has another SHA-256 than its manifest says");
  }
}

std::unique_ptr<AssetStore> open_folder_store(const StoreFlags& flags, const Console& console) {
  return std::make_unique<FolderStore>(flags.store.substr(5), flags.replace, console);
}

namespace {

bool is_account(const std::string& store) {
  return store.empty() || store == "azure:";
}
bool is_directory_store(const std::string& store) {
  return store.starts_with("file:") && store.size() > 5;
}
bool is_url(const std::string& store) {
  return store.starts_with("https:") || store.starts_with("http:");
}

}  // namespace

void check_store(const StoreFlags& flags) {
  const std::string& store = flags.store;
  if (!is_account(store) && !is_directory_store(store) && !is_url(store) && store != "cp:") {
    throw Error("usage", "--store is none of file:DIR, cp:, https:URL and azure:");
  }
  if (!is_account(store) && !(flags.storage_account + flags.auth + flags.account_key_file + flags.sas_file).empty()) {
    throw Error("usage", "--store names another place than a storage account: leave out the account's flags");
  }
  if (!is_url(store) && !flags.authorization_file.empty()) {
    throw Error("usage", "--authorization-file is for --store https:URL");
  }
}

std::unique_ptr<AssetStore> open_store(const StoreFlags& flags, const SettingFlags& settings, const Console& console) {
  check_store(flags);
  // Long work of many threads: whoever else wakes on this machine (a store, a shell) need not wait for their turn to
  // end.
  const sched_param none{};
  sched_setscheduler(0, SCHED_BATCH, &none);
  if (is_directory_store(flags.store)) return open_folder_store(flags, console);
  if (flags.store == "cp:") return open_embedded_store(settle(settings), console);
  if (is_url(flags.store)) return open_range_store(flags, settle(settings), console);
  return open_azure_store(flags, settle(settings), console);
}

}  // namespace tb::cli
