// The files of a model while they are filled: one file or a directory tree, written at any place in any order.
//
// Bytes of a tar stream that belong to no file (headers, padding) are kept aside; seal() proves that they say the same
// as the index, so that this tree is what `tar x` of the stream would give.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "asset/content.h"
#include "asset/tar_map.h"
#include "base/fs.h"
#include "base/result.h"

namespace tb::deliver {

/// Whether files get their pages when they are made, so that nobody else can take them meanwhile. For huge pages that
/// costs nothing: they are handed out as they are and written once. Pages of 4 KiB are a third of the time of writing
/// them, so they come as they are written.
enum class Reserve { kNothing, kPages };

class ModelTree {
 public:
  /// Makes `name` in directory `dir_fd`: a file, or for a tar a directory with all its files; 0600 and 0700 while they
  /// are filled. "memory_short" where it does not fit, "content_malformed" and "archive_malformed" for an index that
  /// cannot be. What was made until an error stays: the caller wipes `name`.
  static Result<std::unique_ptr<ModelTree>> create(int dir_fd, const std::string& name,
                                                   const std::optional<asset::Content>& content,
                                                   std::uint64_t plaintext_bytes, Reserve reserve);

  /// Bytes of the plaintext stream from `offset`. Safe from several threads for bytes that do not overlap.
  /// "memory_short" where there is no page for them.
  Result<> write(std::uint64_t offset, ByteView plain);

  /// Everything has been written: checks the gaps ("archive_malformed"), makes files 0400 (0500 if executable) and
  /// directories 0500 and gives them to `owner` ("runtime_uid_refused" if we may not).
  Result<> seal(uid_t owner);

 private:
  ModelTree() = default;
  Result<> make_files(int dir_fd, const std::string& name, std::uint64_t plaintext_bytes);
  Result<Fd> make_file(int dir_fd, const std::string& path, std::uint64_t bytes);

  Reserve reserve_ = Reserve::kNothing;
  std::optional<asset::Content> content_;  ///< set for a tar
  std::optional<asset::TarMap> map_;
  std::vector<Bytes> gaps_;
  std::vector<std::string> directories_;  ///< relative, parents first
  Fd root_;                               ///< of the file, or of the tree's top directory
};

}  // namespace tb::deliver
