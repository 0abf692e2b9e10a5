// From what the provider has (one file, or a model directory) to the plaintext that is encrypted, in one pass.
//
// scan() walks the directory and reads no file: the tar's headers and every offset follow from names and sizes, so the
// content index and the total are known before the first byte is encrypted. read() then gives headers, files and
// padding in order, and refuses a file that is no longer what scan() saw. The same input gives the same bytes.
// Normative: tbenc-v1 section 6.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "asset/content.h"
#include "base/crypto.h"
#include "base/fs.h"
#include "base/result.h"
#include "tbenc/source.h"

namespace tb::asset {

/// What an index may take of the 64 MiB that a manifest may have; the rest of it is small.
inline constexpr std::size_t kMaxIndexBytes = std::size_t{63} << 20;

class PackSource final : public tbenc::PullSource {
 public:
  /// `path` is a file or a directory. `plaintext_hashes`: content() has SHA-256s once all was read: one for each file
  /// of a directory, plaintext_sha256 for a single file. "source_empty" (a directory without files),
  /// "source_kind_unsupported" (a socket, device, …), "link_outside", "link_loop", "path_unsupported" (not UTF-8,
  /// control characters, too long), "too_many_files" (for an index of `max_index_bytes`), and the errors of open(2);
  /// all name the file. A directory's files are opened once here, so that an unreadable one is found early.
  static Result<PackSource> scan(const std::string& path, bool plaintext_hashes = false,
                                 std::size_t max_index_bytes = kMaxIndexBytes);

  /// The index; its SHA-256s are there after the end was read.
  const Content& content() const { return content_; }
  std::uint64_t plaintext_bytes() const { return total_; }
  /// True if a link within the directory stood for a file or directory.
  bool followed_link() const { return followed_link_; }
  /// Relative paths of files in pickle-based formats: loading one runs whatever code is in it. See is_pickle_path().
  std::vector<std::string> pickle_files() const;

  /// "source_changed" (grew, shrank or was written to since scan) naming the file.
  Result<std::size_t> read(MutableBytes out) override;
  std::optional<std::uint64_t> size() const override { return total_; }
  std::string name() const override { return root_; }

 private:
  struct Entry {
    std::string real_path;  ///< without links
    struct stat seen{};
  };
  PackSource() = default;
  Result<> walk(const std::string& real_path, const std::string& prefix, std::vector<struct stat>& ancestors);
  Result<> add(const std::string& path, Entry entry);
  Result<> plan();
  Result<std::string> gap(std::size_t file) const;
  Result<> open_current();
  Result<> close_current();

  std::string root_;
  std::string real_root_;
  Content content_;
  std::vector<Entry> entries_;  ///< one for each file of the content
  std::size_t index_bytes_ = 0, max_index_bytes_ = 0;
  std::uint64_t total_ = 0;
  std::size_t file_ = 0;  ///< the file that is being read or comes next
  std::string gap_;       ///< what stands before that file, or at the end of the archive
  std::size_t gap_at_ = 0;
  Fd open_;
  std::uint64_t left_ = 0;  ///< of the open file
  bool hashing_ = false;
  bool followed_link_ = false;
  Sha256 hash_;
};

/// `.bin`, `.pt`, `.pth`, `.pkl`, `.ckpt` and the like, in either case.
bool is_pickle_path(std::string_view path);

}  // namespace tb::asset
