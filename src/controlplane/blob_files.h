// The embedded store's files: <root>/<tenant>/<asset_id>/<name>, 0600 below 0700 directories. Objects are made once, in
// order, piece by piece, beside their final name; they appear whole and are never replaced.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "api/upload.h"
#include "base/bytes.h"
#include "base/fs.h"

namespace tb::controlplane {

inline constexpr std::string_view kCiphertextName = "model.tbenc";
inline constexpr std::string_view kManifestName = "model.manifest.json";

/// Which object; the parts are checked names, never a path.
struct BlobName {
  std::string tenant;
  std::string asset_id;
  std::string_view name;  ///< kCiphertextName or kManifestName
};

class BlobFiles {
 public:
  /// Makes `root` (0700) where it is missing.
  explicit BlobFiles(std::string root);

  struct Object {
    Fd fd;
    std::uint64_t bytes = 0;
  };
  /// The whole object, or nothing.
  std::optional<Object> open(const BlobName& blob) const;

  /// How far an upload of `total` bytes has come.
  api::UploadState state(const BlobName& blob, std::uint64_t total) const;

  /// Adds bytes [offset, offset + piece.size()) of an object of `total` bytes. "upload_offset_wrong" unless `offset` is
  /// what is stored (0 begins again), "blob_conflict" if the object is there, "disk_full".
  api::UploadState add(const BlobName& blob, std::uint64_t offset, std::uint64_t total, ByteView piece) const;

 private:
  std::string directory(const BlobName& blob) const;
  std::string root_;
};

}  // namespace tb::controlplane
