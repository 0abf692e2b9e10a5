// A layer: files as a tar, compressed. The same files give the same bytes on every machine and at every time: entries
// are sorted, owners, modes and times are what the plan says, and neither format's header says when or where it was
// made.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "oci/blobs.h"

namespace tb::oci {

struct LayerEntry {
  enum class Kind { kDirectory, kFile, kLink };
  std::string path;  ///< relative, no "." or ".." or empty part, at most 255 bytes
  Kind kind = Kind::kFile;
  std::string content;  ///< of a file, if `source` is empty; the target of a link
  std::string source;   ///< a file of this machine that holds the content
  std::uint32_t mode = 0644;
  std::uint32_t owner = 0;  ///< user and group
};

struct Layer {
  Descriptor blob;
  std::string diff_id;  ///< the digest of the tar
};

/// Adds the directories above each entry that are not named (0755, owner 0), sorts, and writes the layer to `folder`.
/// Throws "path_unsupported" for a path that is refused or stands there twice, and the errors of its files.
Layer write_layer(const BlobFolder& folder, std::vector<LayerEntry> entries, std::int64_t time_s);

/// One ustar header (POSIX 1003.1-1988); `bytes` is the size of what follows. "path_unsupported".
Result<std::string> tar_header(const LayerEntry& entry, std::uint64_t bytes, std::int64_t time_s);

}  // namespace tb::oci
