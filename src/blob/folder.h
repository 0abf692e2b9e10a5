// An asset that was carried to this machine by hand (TB_SOURCE=file:/DIR, for machines without a network): a directory
// with ciphertext and manifest under the names that uploads give them. It is as little trusted as any other store.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "blob/file_source.h"

namespace tb::blob {

class Folder {
 public:
  static constexpr std::string_view kCiphertextName = "model.tbenc";
  static constexpr std::string_view kManifestName = "model.manifest.json";

  /// `place` is file:/DIR or file:///DIR, the path as it is, without escapes. Throws "config_invalid" for anything
  /// else, a relative path among it.
  static Folder at(std::string_view place);

  /// Opens the ciphertext. Throws as FileSource, "file_not_found" and "permission_denied" among it.
  std::unique_ptr<BlobSource> ciphertext() const;
  /// The manifest's text; throws as ciphertext(), "file_too_large" above `max_bytes`.
  std::string manifest(std::uint64_t max_bytes) const;
  const std::string& path() const { return path_; }

 private:
  explicit Folder(std::string path) : path_(std::move(path)) {}
  std::string path_;  ///< without a slash at its end
};

}  // namespace tb::blob
