// What the plaintext of an asset is: one file, or the tar stream of a model directory with an index of where each
// file's bytes start, so that a reader finds any byte of any file by arithmetic. Normative: tbenc-v1 section 6.
//
// A Content that came out of from_json() or passed validate() is safe to create files from: its paths are relative,
// unique, without `..`, and no path is a directory of another.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/crypto.h"
#include "base/json.h"
#include "base/result.h"

namespace tb::asset {

inline constexpr std::uint32_t kPlainMode = 0644;
inline constexpr std::uint32_t kExecutableMode = 0755;

struct ContentFile {
  std::string path;          ///< relative, `/` between parts, UTF-8
  std::uint64_t offset = 0;  ///< of the file's first byte, in plaintext
  std::uint64_t bytes = 0;
  std::uint32_t mode = kPlainMode;  ///< 0644 or 0755
  std::optional<Digest> sha256{};
};

struct Content {
  enum class Kind { kFile, kTar };
  Kind kind = Kind::kFile;
  std::string name;                ///< of the one file; empty for a tar and where the manifest gives none
  std::vector<ContentFile> files;  ///< of a tar, sorted bytewise by path, offsets ascending
  std::optional<Digest> plaintext_sha256;

  bool is_tar() const { return kind == Kind::kTar; }
  /// The entry of `path`, or nullptr.
  const ContentFile* find(std::string_view path) const;

  /// Strict; "content_malformed" with the entry that is at fault. Unknown fields are ignored.
  static Result<Content> from_json(const Json& json, std::uint64_t plaintext_bytes);
  Json to_json() const;
};

/// All rules of section 6 for an index over `plaintext_bytes`; "content_malformed" otherwise.
Result<> validate(const Content& content, std::uint64_t plaintext_bytes);

/// True for one part of a path: 1 to 255 bytes of UTF-8, not `.` or `..`, no `/`, no control character.
bool is_path_part(std::string_view part);
/// True for a relative path of such parts.
bool is_relative_path(std::string_view path);

}  // namespace tb::asset
