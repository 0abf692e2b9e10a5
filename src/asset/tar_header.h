// One tar header at a time: written by libarchive (POSIX pax, restricted to what ustar cannot hold), read by a strict
// parser of our own, so that writer and reader check each other and a reader takes nothing that we would not write:
// no links, devices, sparse files or foreign extensions. Normative: tbenc-v1 section 6.
#pragma once

#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/result.h"

namespace tb::asset {

inline constexpr std::uint64_t kTarBlockBytes = 512;
/// The end of an archive: two zero blocks.
inline constexpr std::uint64_t kTarEndBytes = 2 * kTarBlockBytes;

struct TarEntry {
  bool is_directory = false;
  std::string path;  ///< without a slash at the end
  std::uint64_t bytes = 0;
  std::uint32_t mode = 0;
  bool operator==(const TarEntry&) const = default;
};

/// The header blocks of `entry`: times, owner ids 0, owner names empty. "archive_failed" if libarchive so much as
/// warns.
Result<std::string> encode_tar_header(const TarEntry& entry);

struct ParsedTarHeader {
  TarEntry entry;
  std::size_t header_bytes = 0;  ///< what it took of the input
};

/// Reads the header at the start of `bytes`. "archive_malformed" for anything but a regular file or a directory in
/// ustar form, with at most one pax extension before it that holds `path` and `size` only.
Result<ParsedTarHeader> parse_tar_header(ByteView bytes);

/// Zero bytes after a file of that size.
constexpr std::uint64_t tar_padding(std::uint64_t bytes) {
  return (kTarBlockBytes - bytes % kTarBlockBytes) % kTarBlockBytes;
}

}  // namespace tb::asset
