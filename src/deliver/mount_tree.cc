#include "deliver/mount_tree.h"

#include <fmt/format.h>

#include <algorithm>

namespace tb::deliver {

MountTree::MountTree() {
  nodes_.push_back({.name = "", .directory = true});
}

Result<MountTree> MountTree::create(const std::optional<asset::Content>& content, std::uint64_t plaintext_bytes,
                                    const std::string& name, Shape shape) {
  const bool tar = content && content->is_tar();
  if (content) TRY(asset::validate(*content, plaintext_bytes));
  MountTree tree;
  if ((!tar || shape == Shape::kWrapped) && !asset::is_path_part(name)) {
    return fail("path_unsafe", "the model's name cannot be a file name");
  }
  if (tar) {
    const Inode top = shape == Shape::kWrapped ? TRY(tree.add(kRootInode, name, true)) : kRootInode;
    TRY(tree.add_files(*content, top));
  } else {
    MountNode& file = tree.nodes_[TRY(tree.add(kRootInode, name, false)) - 1];
    file.bytes = plaintext_bytes;
    if (plaintext_bytes != 0) tree.files_.push_back(tree.nodes_.size());
    tree.file_bytes_ = plaintext_bytes;
  }
  tree.sort();
  return tree;
}

Result<Inode> MountTree::add(Inode parent, std::string name, bool directory) {
  if (nodes_.size() >= kMostEntries) {
    return fail("too_many_files", fmt::format("the model has more than {} files and directories", kMostEntries));
  }
  nodes_.push_back({.name = std::move(name), .parent = parent, .directory = directory});
  nodes_[parent - 1].children.push_back(nodes_.size());
  if (directory) ++nodes_[parent - 1].subdirectories;
  return nodes_.size();
}

Result<> MountTree::add_files(const asset::Content& content, Inode top) {
  // The index is sorted bytewise, so that all below one directory comes in one run, and the directories of the file
  // before are the only ones that can be met again.
  std::vector<Inode> open{top};
  for (const asset::ContentFile& entry : content.files) {
    std::string_view rest = entry.path;
    std::size_t depth = 0;
    for (auto slash = rest.find('/'); slash != std::string_view::npos; slash = rest.find('/')) {
      const std::string_view part = rest.substr(0, slash);
      rest.remove_prefix(slash + 1);
      ++depth;
      if (depth < open.size() && nodes_[open[depth] - 1].name == part) continue;
      open.resize(depth);
      open.push_back(TRY(add(open.back(), std::string(part), true)));
    }
    open.resize(depth + 1);
    const Inode inode = TRY(add(open.back(), std::string(rest), false));
    MountNode& file = nodes_[inode - 1];
    file.executable = entry.mode == asset::kExecutableMode;
    file.offset = entry.offset;
    file.bytes = entry.bytes;
    file_bytes_ += entry.bytes;
    if (entry.bytes != 0) files_.push_back(inode);
  }
  return {};
}

void MountTree::sort() {
  // Not the order of whole paths: "a.b" comes before "a/b" there, and the directory "a" before "a.b" here.
  for (MountNode& node : nodes_) {
    std::ranges::sort(node.children, {}, [&](Inode inode) -> std::string_view { return nodes_[inode - 1].name; });
  }
}

const MountNode* MountTree::node(Inode inode) const {
  return inode == kNoInode || inode > nodes_.size() ? nullptr : &nodes_[inode - 1];
}

Inode MountTree::find(Inode parent, std::string_view name) const {
  const MountNode* directory = node(parent);
  if (directory == nullptr) return kNoInode;
  const auto name_of = [&](Inode inode) -> std::string_view { return nodes_[inode - 1].name; };
  const auto found = std::ranges::lower_bound(directory->children, name, {}, name_of);
  return found != directory->children.end() && name_of(*found) == name ? *found : kNoInode;
}

std::vector<FilePart> MountTree::parts_in(std::uint64_t offset, std::uint64_t bytes) const {
  const std::uint64_t end = offset + bytes;
  const auto end_of = [&](Inode inode) { return nodes_[inode - 1].offset + nodes_[inode - 1].bytes; };
  std::vector<FilePart> parts;
  for (auto at = std::ranges::upper_bound(files_, offset, {}, end_of); at != files_.end(); ++at) {
    const MountNode& file = nodes_[*at - 1];
    if (file.offset >= end) break;
    const std::uint64_t from = std::max(file.offset, offset);
    const std::uint64_t to = std::min(file.offset + file.bytes, end);
    parts.push_back({*at, from - file.offset, from, to - from});
  }
  return parts;
}

}  // namespace tb::deliver
