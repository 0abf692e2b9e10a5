#include "deliver/wipe.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <vector>

namespace tb::deliver {
namespace {

constexpr std::size_t kZeroBytes = std::size_t{1} << 20;
/// A content index has at most 4096 bytes of path; a runtime that nests deeper is not followed.
constexpr int kMostDepth = 64;

std::unexpected<Error> unsafe(const std::string& path, std::string_view why) {
  return fail("path_unsafe", fmt::format("{} {}", path, why));
}

/// One part of a path below `parent`, made with `mode` if it is not there.
Result<Fd> step(int parent, const std::string& part, const std::string& so_far, bool last, mode_t mode) {
  if (mkdirat(parent, part.c_str(), mode) == 0) {
    // The umask may have taken bits away.
    if (fchmodat(parent, part.c_str(), mode, 0) != 0) return fail(error_from_errno(errno, so_far));
  } else if (errno != EEXIST) {
    return fail(error_from_errno(errno, so_far));
  }
  struct stat st{};
  if (fstatat(parent, part.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) return fail(error_from_errno(errno, so_far));
  int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;
  if (S_ISLNK(st.st_mode)) {
    if (last) return unsafe(so_far, "is a symbolic link");
    if (st.st_uid != 0 && st.st_uid != geteuid()) {
      return unsafe(so_far, "is another user's symbolic link");
    }
    flags &= ~O_NOFOLLOW;
  }
  Fd fd(openat(parent, part.c_str(), flags));
  if (!fd && (errno == ENOTDIR || errno == ELOOP)) return unsafe(so_far, "is not a directory");
  if (!fd && errno == EACCES && !last) fd = Fd(openat(parent, part.c_str(), (flags & ~O_RDONLY) | O_PATH));
  if (!fd) return fail(error_from_errno(errno, so_far));
  return fd;
}

/// Makes an object ours and writable; what fails here shows when it is opened.
void take_back(int dir_fd, const std::string& name, const struct stat& st, mode_t mode) {
  if (st.st_uid != geteuid()) {
    if (fchownat(dir_fd, name.c_str(), geteuid(), static_cast<gid_t>(-1), AT_SYMLINK_NOFOLLOW) != 0) return;
  }
  if ((st.st_mode & 07777) != mode) (void)fchmodat(dir_fd, name.c_str(), mode, 0);
}

/// Holes stay holes: overwriting what was never written would take memory for nothing, or fail for want of it.
Result<> overwrite(int fd, std::uint64_t bytes, const std::string& name) {
  static const Bytes zeros(kZeroBytes);
  for (std::uint64_t at = 0; at < bytes;) {
    const off_t written = lseek(fd, static_cast<off_t>(at), SEEK_DATA);
    if (written < 0 && errno == ENXIO) break;
    if (written < 0) return fail(error_from_errno(errno, name));
    at = static_cast<std::uint64_t>(written);
    const off_t hole = lseek(fd, written, SEEK_HOLE);
    if (hole < 0) return fail(error_from_errno(errno, name));
    for (const auto end = std::min(bytes, static_cast<std::uint64_t>(hole)); at < end;) {
      const auto some = static_cast<std::size_t>(std::min<std::uint64_t>(kZeroBytes, end - at));
      TRY(pwrite_full(fd, ByteView(zeros).first(some), at, name));
      at += some;
    }
  }
  if (ftruncate(fd, 0) != 0) return fail(error_from_errno(errno, name));
  return {};
}

Result<> wipe_below(int parent, const std::string& name, int depth) {
  struct stat st{};
  if (fstatat(parent, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return {};
    return fail(error_from_errno(errno, name));
  }
  if (!S_ISDIR(st.st_mode)) return wipe_file_at(parent, name);
  if (depth >= kMostDepth) return unsafe(name, "is nested too deeply to be wiped");
  take_back(parent, name, st, 0700);
  const Fd dir(openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!dir) return fail(error_from_errno(errno, name));
  Result<> first;
  for (const std::string& entry : TRY(names_in(dir.get(), name))) {
    if (auto wiped = wipe_below(dir.get(), entry, depth + 1); !wiped && first) first = std::move(wiped);
  }
  if (unlinkat(parent, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT && first) {
    first = fail(error_from_errno(errno, name));
  }
  return first;
}

}  // namespace

Result<Fd> open_owned_dir(const std::string& path, mode_t mode) {
  if (!path.starts_with('/')) return unsafe(path, "is not an absolute path");
  Fd at = TRY(open_file("/", O_RDONLY | O_DIRECTORY));
  std::string so_far;
  std::size_t begin = 1;
  bool any = false;
  while (begin < path.size()) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    const std::string part = path.substr(begin, end - begin);
    begin = end + 1;
    if (part.empty() || part == ".") continue;
    if (part == "..") return unsafe(path, "holds '..'");
    so_far += "/" + part;
    const bool last = path.find_first_not_of('/', end) == std::string::npos;
    at = TRY(step(at.get(), part, so_far, last, last ? mode : 0711));
    any = true;
  }
  struct stat st{};
  if (fstat(at.get(), &st) != 0) return fail(error_from_errno(errno, path));
  if (!any || st.st_uid != geteuid()) return unsafe(path, "is owned by another user");
  if ((st.st_mode & 022) != 0) {
    return fail(Error("path_unsafe", path + " can be written by others")
                    .with_hint("give a directory below it: it is made with safe rights"));
  }
  return at;
}

Result<std::vector<std::string>> names_in(int dir_fd, const std::string& what) {
  Fd again(openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!again) return fail(error_from_errno(errno, what));
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(fdopendir(again.get()), closedir);
  if (!dir) return fail(error_from_errno(errno, what));
  again.release();
  std::vector<std::string> names;
  while (const dirent* entry = readdir(dir.get())) {
    const std::string_view found = entry->d_name;
    if (found != "." && found != "..") names.emplace_back(found);
  }
  return names;
}

Result<> wipe_file_at(int dir_fd, const std::string& name) {
  struct stat st{};
  if (fstatat(dir_fd, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return {};
    return fail(error_from_errno(errno, name));
  }
  Result<> result;
  if (S_ISREG(st.st_mode)) {
    take_back(dir_fd, name, st, 0600);
    const Fd fd(openat(dir_fd, name.c_str(), O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!fd || fstat(fd.get(), &st) != 0) {
      result = fail(error_from_errno(errno, name));
    } else if (S_ISREG(st.st_mode)) {
      result = overwrite(fd.get(), static_cast<std::uint64_t>(st.st_size), name);
    }
  }
  if (unlinkat(dir_fd, name.c_str(), 0) != 0 && errno != ENOENT && result) result = fail(error_from_errno(errno, name));
  return result;
}

Result<> wipe_tree_at(int dir_fd, const std::string& name) {
  return wipe_below(dir_fd, name, 0);
}

}  // namespace tb::deliver
