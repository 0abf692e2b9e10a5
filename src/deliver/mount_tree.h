// What a mount shows: directories and files, each by its inode number, and where in the plaintext stream a file's bytes
// lie. Pure: made once from the content index, read by every thread afterwards.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "asset/content.h"
#include "base/result.h"

namespace tb::deliver {

using Inode = std::uint64_t;
inline constexpr Inode kNoInode = 0;
inline constexpr Inode kRootInode = 1;

struct MountNode {
  std::string name;  ///< one part of a path; empty for the root
  Inode parent = kRootInode;
  bool directory = false;
  bool executable = false;
  std::uint64_t offset = 0;  ///< of the file's first byte, in plaintext
  std::uint64_t bytes = 0;
  std::vector<Inode> children{};     ///< of a directory, sorted bytewise by name
  std::uint64_t subdirectories = 0;  ///< for the link count that find(1) believes
};

/// Bytes of a file that a piece of the stream holds.
struct FilePart {
  Inode inode = kNoInode;
  std::uint64_t file_offset = 0;
  std::uint64_t stream_offset = 0;
  std::uint64_t bytes = 0;
};

class MountTree {
 public:
  enum class Shape {
    kBare,     ///< the files of a tar stand in the root
    kWrapped,  ///< the root holds one entry, `name`: the directory or the file
  };
  /// More entries than this, directories included, are refused: each costs memory here and in the kernel.
  static constexpr std::size_t kMostEntries = std::size_t{1} << 20;

  /// `name` is that of the one file, or of the directory of a wrapped tar. No content: one raw file.
  /// "content_malformed" for an index that breaks the rules of tbenc-v1 section 6, "path_unsafe" for a name that cannot
  /// stand in a directory, "too_many_files".
  static Result<MountTree> create(const std::optional<asset::Content>& content, std::uint64_t plaintext_bytes,
                                  const std::string& name, Shape shape);

  /// The node, or nullptr.
  const MountNode* node(Inode inode) const;
  /// The entry `name` of the directory `parent`, or kNoInode.
  Inode find(Inode parent, std::string_view name) const;
  /// Inode numbers are 1 to size().
  std::size_t size() const { return nodes_.size(); }
  std::uint64_t file_count() const { return files_.size(); }
  std::uint64_t file_bytes() const { return file_bytes_; }
  /// The parts of files that lie in `bytes` of the stream from `offset`, in order.
  std::vector<FilePart> parts_in(std::uint64_t offset, std::uint64_t bytes) const;

 private:
  MountTree();
  Result<Inode> add(Inode parent, std::string name, bool directory);
  Result<> add_files(const asset::Content& content, Inode top);
  void sort();

  std::vector<MountNode> nodes_;  ///< of inode i at i - 1
  std::vector<Inode> files_;      ///< with bytes, by offset
  std::uint64_t file_bytes_ = 0;
};

}  // namespace tb::deliver
