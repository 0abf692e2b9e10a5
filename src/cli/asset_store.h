// Where an asset's two blobs go, whatever the place: a storage account, any https store that takes PUT, the control
// plane's embedded store, a directory. Ciphertext first, manifest last, nothing replaced unseen, and what was written
// looked at afterwards.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "asset/manifest.h"
#include "cli/console.h"
#include "cli/settings.h"
#include "tbenc/sink.h"
#include "tbenc/source.h"

namespace tb::cli {

inline constexpr std::string_view kCiphertextName = "model.tbenc";
inline constexpr std::string_view kManifestName = "model.manifest.json";

struct StoreFlags {
  std::string store;  ///< "file:DIR", "cp:", "https:…"; "" or "azure:": the storage account
  // Of a storage account:
  std::string storage_account, container, prefix, endpoint, auth, account_key_file, sas_file;
  std::uint32_t block_mib = 0;  ///< 0: as it fits, from 8
  unsigned parallel = 4;
  bool create_container = false;
  std::string authorization_file;  ///< of an https store: its line is the value of Authorization
  std::uint64_t max_bytes_per_second = 0;
  bool replace = false;
};

struct StoredBlob {
  std::string url;     ///< without any signature
  std::string etag;    ///< "" where the store has none
  std::string sha256;  ///< hex
  std::uint64_t bytes = 0;
  std::uint64_t sent_bytes = 0;  ///< fewer than there are if an earlier upload was resumed
  std::uint32_t blocks_sent = 0, blocks_skipped = 0;
  bool already_there = false;
};

struct Uploaded {
  std::string asset_id;
  StoredBlob ciphertext, manifest;
};
/// {"asset_id", "blob_urls", "ciphertext_bytes", "sent_bytes", "blobs": {…}}
Json uploaded_json(const Uploaded& uploaded);

struct LocalAsset {
  std::string path, manifest_path;
  asset::Manifest manifest;
  std::string manifest_text;  ///< as it lies in its file
  tbenc::FileSource source;
};

/// Ciphertext that is made on the way: nothing appears in the store before commit(). Dropped without it, it leaves at
/// most what the store itself clears away.
class CiphertextStream : public tbenc::Sink {
 public:
  /// After the last byte was written: as much as can be is with the store. Throws what went wrong on the way.
  virtual void finish() = 0;
  /// `sha256` (hex) of all that was written.
  virtual StoredBlob commit(const std::string& sha256) = 0;
};

class AssetStore {
 public:
  virtual ~AssetStore() = default;
  /// For messages and notes: where the ciphertext is or will be, without any secret.
  virtual std::string place(const std::string& asset_id) const = 0;
  virtual Uploaded upload(const LocalAsset& asset) = 0;
  /// Throws "blob_conflict" if either blob is there. "usage" where the store takes whole files only.
  virtual std::unique_ptr<CiphertextStream> stream(const std::string& asset_id, std::uint64_t total_bytes) = 0;
  /// The ciphertext, if it is there with just this content.
  virtual std::optional<StoredBlob> find(const std::string& asset_id, std::uint64_t bytes,
                                         const std::string& sha256) = 0;
  virtual StoredBlob put_manifest(const std::string& asset_id, const std::string& text) = 0;
};

/// "usage" for a store that is none, or flags that do not go with it.
void check_store(const StoreFlags& flags);
/// Throws as check_store, and the errors of choosing a credential.
std::unique_ptr<AssetStore> open_store(const StoreFlags& flags, const SettingFlags& settings, const Console& console);

// One for each kind; open_store chooses.
std::unique_ptr<AssetStore> open_azure_store(const StoreFlags& flags, const Settings& settings, const Console& console);
std::unique_ptr<AssetStore> open_range_store(const StoreFlags& flags, const Settings& settings, const Console& console);
std::unique_ptr<AssetStore> open_embedded_store(const Settings& settings, const Console& console);
std::unique_ptr<AssetStore> open_folder_store(const StoreFlags& flags, const Console& console);

/// Throws "ciphertext_digest_mismatch" unless the digest is the manifest's.
void require_digest(const LocalAsset& asset, const Digest& digest);

}  // namespace tb::cli
