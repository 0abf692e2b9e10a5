#include "deliver/model_tree.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ranges>

namespace tb::deliver {
namespace {

/// Headers that are held until seal(): far more than any sound index needs.
constexpr std::uint64_t kMostGapBytes = std::uint64_t{256} << 20;

constexpr int kDirectoryFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

Result<> give(int fd, uid_t owner, mode_t mode, const std::string& what) {
  if (fchmod(fd, mode) != 0) return fail(error_from_errno(errno, what));
  struct stat st{};
  if (fstat(fd, &st) != 0) return fail(error_from_errno(errno, what));
  if (st.st_uid == owner) return {};
  if (fchown(fd, owner, static_cast<gid_t>(-1)) != 0) {
    if (errno == EPERM) {
      return fail("runtime_uid_refused", fmt::format("{} cannot be given to user {}", what, owner));
    }
    return fail(error_from_errno(errno, what));
  }
  return {};
}

/// A file system in memory that is full has no disk that could be made larger.
Result<> write_at(int fd, ByteView bytes, std::uint64_t offset, const std::string& what) {
  auto written = pwrite_full(fd, bytes, offset, what);
  if (!written && written.error().reason == "disk_full") return fail("memory_short", written.error().message);
  return written;
}

Result<> give_path(int root, const std::string& path, int flags, uid_t owner, mode_t mode) {
  const Fd fd(openat(root, path.c_str(), flags));
  if (!fd) return fail(error_from_errno(errno, path));
  return give(fd.get(), owner, mode, path);
}

}  // namespace

Result<std::unique_ptr<ModelTree>> ModelTree::create(int dir_fd, const std::string& name,
                                                     const std::optional<asset::Content>& content,
                                                     std::uint64_t plaintext_bytes, Reserve reserve) {
  std::unique_ptr<ModelTree> tree(new ModelTree());
  tree->reserve_ = reserve;
  if (content && content->is_tar()) {
    TRY(asset::validate(*content, plaintext_bytes));
    tree->content_ = content;
    tree->map_ = TRY(asset::TarMap::make(*tree->content_, plaintext_bytes));
  }
  TRY(tree->make_files(dir_fd, name, plaintext_bytes));
  return tree;
}

Result<> ModelTree::make_files(int dir_fd, const std::string& name, std::uint64_t plaintext_bytes) {
  if (!content_) {
    root_ = TRY(make_file(dir_fd, name, plaintext_bytes));
    return {};
  }
  if (map_->all_gap_bytes() > kMostGapBytes) return fail("content_malformed", "the index leaves too much to headers");
  for (std::size_t gap = 0; gap < map_->gap_count(); ++gap) {
    gaps_.emplace_back(static_cast<std::size_t>(map_->gap_bytes(gap)));
  }
  if (mkdirat(dir_fd, name.c_str(), 0700) != 0) return fail(error_from_errno(errno, name));
  root_ = Fd(openat(dir_fd, name.c_str(), kDirectoryFlags));
  if (!root_) return fail(error_from_errno(errno, name));
  std::set<std::string> made;
  for (const asset::ContentFile& file : content_->files) {
    for (auto slash = file.path.find('/'); slash != std::string::npos; slash = file.path.find('/', slash + 1)) {
      const std::string directory = file.path.substr(0, slash);
      if (!made.insert(directory).second) continue;
      if (mkdirat(root_.get(), directory.c_str(), 0700) != 0) return fail(error_from_errno(errno, directory));
      directories_.push_back(directory);
    }
    TRY(make_file(root_.get(), file.path, file.bytes));
  }
  return {};
}

Result<Fd> ModelTree::make_file(int dir_fd, const std::string& path, std::uint64_t bytes) {
  Fd fd(openat(dir_fd, path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) return fail(error_from_errno(errno, path));
  if (bytes == 0) return fd;
  // The size first: `huge=within_size` goes by it.
  int rc = ftruncate(fd.get(), static_cast<off_t>(bytes));
  if (rc == 0 && reserve_ == Reserve::kPages) {
    do rc = fallocate(fd.get(), 0, 0, static_cast<off_t>(bytes));
    while (rc != 0 && errno == EINTR);
    if (rc != 0 && errno == EOPNOTSUPP) rc = 0;  // ramfs
  }
  if (rc != 0 && (errno == ENOSPC || errno == ENOMEM || errno == EFBIG)) {
    return fail("memory_short", fmt::format("{} MiB for {} do not fit in memory", (bytes >> 20) + 1, path));
  }
  if (rc != 0) return fail(error_from_errno(errno, path));
  return fd;
}

Result<> ModelTree::write(std::uint64_t offset, ByteView plain) {
  if (!content_) return write_at(root_.get(), plain, offset, "model file");
  for (const asset::TarMap::Piece& piece : map_->pieces(offset, plain.size())) {
    const ByteView bytes = plain.subspan(piece.at, piece.bytes);
    if (!piece.is_file) {
      std::ranges::copy(bytes, gaps_[piece.index].begin() + static_cast<std::ptrdiff_t>(piece.offset));
      continue;
    }
    // Opened for each piece: an index may name more files than a process may hold open.
    const std::string& path = content_->files[piece.index].path;
    const Fd fd(openat(root_.get(), path.c_str(), O_WRONLY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) return fail(error_from_errno(errno, path));
    TRY(write_at(fd.get(), bytes, piece.offset, path));
  }
  return {};
}

Result<> ModelTree::seal(uid_t owner) {
  if (!content_) return give(root_.get(), owner, 0400, "model file");
  std::set<std::string> directories;
  for (std::size_t gap = 0; gap < gaps_.size(); ++gap) TRY(map_->check_gap(gap, gaps_[gap], directories));
  for (const asset::ContentFile& file : content_->files) {
    const mode_t mode = file.mode == asset::kExecutableMode ? 0500 : 0400;
    TRY(give_path(root_.get(), file.path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC, owner, mode));
  }
  // Children first: a directory that was given away may be closed to us.
  for (const std::string& directory : directories_ | std::views::reverse) {
    TRY(give_path(root_.get(), directory, kDirectoryFlags, owner, 0500));
  }
  return give(root_.get(), owner, 0500, "model directory");
}

}  // namespace tb::deliver
