// An OCI layout in one tar file (oci-archive): written by us, or by others, whose tar we read no further than for the
// files of a layout.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "oci/blobs.h"

namespace tb::oci {

struct ArchiveEntry {
  std::string name;  ///< without a leading "./"
  std::uint64_t bytes = 0;
  bool is_file = false;
};

/// One header block of 512 bytes. Nothing for a block of zeros (the end); "image_malformed" for a broken one.
Result<std::optional<ArchiveEntry>> parse_archive_header(ByteView block);

/// Brings the blobs of an archive into `folder`, each held to its name; gives index.json's text. Throws
/// "image_malformed", "image_digest_mismatch", and the errors of its file.
std::string read_archive(const std::string& path, const BlobFolder& folder);

/// A new file with the layout of `blobs`, in order, and `index`; the same bytes for the same image. Throws
/// "output_exists" without `replace`.
void write_archive(const std::string& path, const BlobFolder& folder, const std::vector<Descriptor>& blobs,
                   const std::string& index, bool replace);

}  // namespace tb::oci
