#include "cli/encrypt_upload.h"

#include <fmt/format.h>
#include <unistd.h>

#include "base/fs.h"
#include "cli/interrupt.h"
#include "cli/key_file.h"
#include "cli/manifest_file.h"
#include "cli/paths.h"
#include "cli/sealing.h"

namespace tb::cli {
namespace {

// Which encryption is under way, beside its key: written before the key, removed when all is done. It names no secret.
class UnderwayNote {
 public:
  UnderwayNote(const AssetPaths& paths, std::string asset_id, std::string place)
      : path_(paths.ciphertext + ".underway"), asset_id_(std::move(asset_id)), place_(std::move(place)) {}

  struct Found {
    std::string prefix;  ///< of the nonces, hex
    bool key_was_made = false;
  };
  /// Nothing if none is there. Throws "output_exists" if it is another asset's or another place's.
  std::optional<Found> find() const {
    const auto text = read_small_file(path_, 8192);
    if (!text && text.error().code() == Code::kNotFound) return std::nullopt;
    const auto note = Json::parse(value_or_throw(Result<std::string>(text)));
    const auto member = [&](const char* name) {
      const Json* value = note ? note->find(name) : nullptr;
      return value != nullptr && value->is_string() ? value->as_string() : std::string();
    };
    if (member("asset_id") != asset_id_ || member("place") != place_) {
      throw Error("output_exists", path_ + " is the note of another encryption that was interrupted")
          .with_hint(
              "run that command again, or remove the note with its key, which has served nothing that was finished");
    }
    return Found{member("prefix"), member("key") == "made"};
  }
  void write(const tbenc::NoncePrefix& prefix, bool key_is_made) const {
    Json note = Json::object();
    note.set("asset_id", asset_id_);
    note.set("place", place_);
    note.set("prefix", to_hex(prefix));
    note.set("key", key_is_made ? "made" : "given");
    value_or_throw(write_file_atomically(path_, note.pretty() + "\n", 0600, true));
  }
  void remove() const { unlink(path_.c_str()); }

 private:
  std::string path_, asset_id_, place_;
};

EncryptedAsset encrypted(const AssetPaths& paths, const Uploaded& uploaded, bool key_is_new, std::size_t files,
                         asset::Manifest manifest) {
  return {uploaded.ciphertext.url, paths.manifest, paths.key, paths.oms_bundle, key_is_new, files, std::move(manifest)};
}

bool is_of(const asset::Manifest& manifest, const UnderwayNote::Found& found) {
  return manifest.nonce_prefix() && to_hex(*manifest.nonce_prefix()) == found.prefix;
}

// The ciphertext had appeared at the store before the earlier run ended: its manifest lies here, with its key.
std::optional<SentAsset> finished_before(const AssetPaths& paths, const UnderwayNote::Found& found, AssetStore& store) {
  if (!exists(paths.manifest) || !exists(paths.key)) return std::nullopt;
  asset::Manifest manifest = read_manifest_file(paths.manifest);
  const FileKey key = read_key_file(paths.key);
  const asset::Expectation expected{.key = &key};
  if (!is_of(manifest, found) || !asset::authenticate(manifest, expected)) return std::nullopt;
  const std::string& id = manifest.asset_id();
  auto there = store.find(id, manifest.layout().ciphertext_bytes(), manifest.sha256_ciphertext());
  if (!there) return std::nullopt;
  const std::string text = value_or_throw(read_small_file(paths.manifest, asset::kMaxManifestBytes));
  Uploaded uploaded{.asset_id = id, .ciphertext = std::move(*there), .manifest = store.put_manifest(id, text)};
  const std::size_t files = manifest.content() && manifest.content()->is_tar() ? manifest.content()->files.size() : 1;
  EncryptedAsset asset = encrypted(paths, uploaded, found.key_was_made, files, std::move(manifest));
  return SentAsset{std::move(asset), std::move(uploaded)};
}

// Only what is of the unfinished encryption, told by its nonces' prefix; a bundle was not there when that began, or was
// to be replaced.
void discard(const AssetPaths& paths, const UnderwayNote::Found& found) {
  if (exists(paths.manifest) && is_of(read_manifest_file(paths.manifest), found)) {
    unlink(paths.manifest.c_str());
  }
  if (found.key_was_made && key_file_serves(paths.key, found.prefix)) unlink(paths.key.c_str());
  if (!paths.oms_bundle.empty()) unlink(paths.oms_bundle.c_str());
}

}  // namespace

SentAsset encrypt_and_upload(const EncryptOptions& options, AssetStore& store, const Console& console) {
  const AssetPaths paths(options);
  Sealing sealing(options, paths);  // checks the asset's id before it is part of any URL
  const UnderwayNote note(paths, options.asset_id, store.place(options.asset_id));
  if (const auto found = note.find()) {
    if (auto done = finished_before(paths, *found, store)) {
      console.note("an earlier run was interrupted at its end: finished");
      note.remove();
      return std::move(*done);
    }
    console.note("an earlier run was interrupted: it is begun anew, with a key of its own");
    discard(paths, *found);
    note.remove();
  }

  AtomicFile manifest_file = value_or_throw(AtomicFile::create(paths.manifest, 0644, options.force));
  std::optional<AtomicFile> bundle_file;
  if (!paths.oms_bundle.empty()) {
    bundle_file.emplace(value_or_throw(AtomicFile::create(paths.oms_bundle, 0644, options.force)));
  }
  const std::unique_ptr<CiphertextStream> stream = store.stream(options.asset_id, sealing.ciphertext_bytes());
  const bool key_is_new = !exists(paths.key);
  note.write(sealing.header().nonce_prefix, key_is_new);
  bool appears = false;
  bool has_key = false;
  bool has_bundle = false;
  try {
    EncryptionKey key = EncryptionKey::take(paths.key, options.asset_id, sealing.header().nonce_prefix);
    key.commit();  // from here on bytes leave that only this key opens
    has_key = true;
    asset::Manifest manifest = sealing.run(key.key(), *stream, console);
    stream->finish();
    const std::string text = manifest.text();
    value_or_throw(write_full(manifest_file.fd(), as_bytes(text), paths.manifest));
    throw_if_interrupted();
    if (bundle_file) {
      value_or_throw(write_full(bundle_file->fd(), as_bytes(sealing.oms_bundle()), paths.oms_bundle));
      value_or_throw(bundle_file->commit());
      has_bundle = true;
    }
    value_or_throw(manifest_file.commit());
    appears = true;
    Uploaded uploaded{.asset_id = options.asset_id, .ciphertext = stream->commit(manifest.sha256_ciphertext())};
    uploaded.manifest = store.put_manifest(options.asset_id, text);
    note.remove();
    EncryptedAsset asset = encrypted(paths, uploaded, key_is_new, sealing.files(), std::move(manifest));
    return {std::move(asset), std::move(uploaded)};
  } catch (...) {
    // Whether the ciphertext has appeared may not be known once it was asked to: the note then says what to look for.
    if (!appears) {
      if (has_key && key_is_new) unlink(paths.key.c_str());
      if (has_bundle) unlink(paths.oms_bundle.c_str());
      note.remove();
    }
    throw;
  }
}

}  // namespace tb::cli
