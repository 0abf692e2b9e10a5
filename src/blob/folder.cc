#include "blob/folder.h"

#include <fmt/format.h>

#include "base/fs.h"

namespace tb::blob {

Folder Folder::at(std::string_view place) {
  constexpr std::string_view kScheme = "file:";
  std::string_view path = place;
  if (path.starts_with(kScheme)) path.remove_prefix(kScheme.size());
  // An empty host; another one is refused below, as its path would begin with "//".
  if (path.starts_with("///")) path.remove_prefix(2);
  const bool clean = path.find('\0') == std::string_view::npos;
  if (!place.starts_with(kScheme) || !path.starts_with('/') || path.starts_with("//") || !clean) {
    throw Error("config_invalid", fmt::format("\"{}\" is not file: and an absolute path", place));
  }
  while (path.ends_with('/')) path.remove_suffix(1);
  return Folder(std::string(path));
}

std::unique_ptr<BlobSource> Folder::ciphertext() const {
  return std::make_unique<FileSource>(fmt::format("{}/{}", path_, kCiphertextName));
}

std::string Folder::manifest(std::uint64_t max_bytes) const {
  return value_or_throw(
      read_small_file(fmt::format("{}/{}", path_, kManifestName), static_cast<std::size_t>(max_bytes)));
}

}  // namespace tb::blob
