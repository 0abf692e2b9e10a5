#include "deliver/mount_point.h"

#include <fmt/format.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <vector>

#include "base/fs.h"
#include "deliver/mount_table.h"
#include "deliver/own_mount.h"
#include "deliver/place.h"
#include "deliver/wipe.h"

namespace tb::deliver {
namespace {

constexpr int kMostLeft = 16;

/// The last part may be a dead mount, which cannot be looked at: only what stands above it is resolved.
Result<std::string> without_links(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return fail("path_unsafe", path + " is not an absolute path");
  const std::string parent = slash == 0 ? "/" : path.substr(0, slash);
  char resolved[PATH_MAX];
  if (realpath(parent.c_str(), resolved) == nullptr) {
    if (errno == ENOENT) return path;  // open_owned_dir will make it, following no link of others
    return fail(error_from_errno(errno, parent));
  }
  return (std::string_view(resolved) == "/" ? std::string() : std::string(resolved)) + path.substr(slash);
}

Result<> wipe_and_take_away(const std::string& path) {
  const Fd root = TRY(open_owned_dir(path, 0711));
  for (const std::string& name : TRY(names_in(root.get(), path))) TRY(wipe_tree_at(root.get(), name));
  return take_away_mount(root.get(), path);
}

Result<> detach_if_dead(const std::string& path) {
  // Attributes may be cached for ever; this is always asked of the program behind the mount.
  struct statfs fs{};
  if (statfs(path.c_str(), &fs) == 0 || errno != ENOTCONN) {
    return fail(Error("path_unsafe", path + " is mounted by another trustbridge")
                    .with_hint("end that one, or choose another path"));
  }
  return detach_mount(path);
}

}  // namespace

Result<> detach_mount(const std::string& path) {
  if (umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) return {};
  if (errno != EPERM) return fail(error_from_errno(errno, path));
  std::vector<std::string> words{"fusermount3", "-u", "-z", "-q", "--", path};
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t child = 0;
  const int spawned = posix_spawnp(&child, "fusermount3", nullptr, nullptr, argv.data(), environ);
  if (spawned != 0) return fail(error_from_errno(spawned, "fusermount3"));
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return fail(error_from_errno(errno, "fusermount3"));
  }
  if (status != 0) return fail("mount_refused", path + " could not be unmounted");
  return {};
}

Result<std::string> remove_left_mounts(const std::string& path) {
  const std::string canonical = TRY(without_links(path));
  // A program that is killed again and again while it is mounting may leave more than one.
  for (int depth = 0; depth < kMostLeft; ++depth) {
    const auto top = mount_at(own_mount_table(), canonical);
    if (!top || !top->is_ours()) return canonical;
    TRY(top->type == "tmpfs" ? wipe_and_take_away(canonical) : detach_if_dead(canonical));
  }
  return fail("path_unsafe", path + " has too many mounts on it");
}

Result<std::string> prepare_mount_point(const std::string& path, mode_t mode, uid_t runtime_uid) {
  if (!path.starts_with('/')) return fail("path_unsafe", path + " is not an absolute path");
  const std::string canonical = TRY(remove_left_mounts(path));
  if (const auto other = mount_at(own_mount_table(), canonical)) {
    return fail("path_unsafe", fmt::format("{} is a mount already ({}, {})", path, other->type, other->source));
  }
  const Fd dir = TRY(open_owned_dir(path, mode));
  TRY(remove_leftovers(dir.get(), path, runtime_uid));
  if (!TRY(names_in(dir.get(), path)).empty()) {
    return fail(Error("path_unsafe", path + " is not empty").with_hint("give an empty directory, or one to be made"));
  }
  char resolved[PATH_MAX];
  const std::string self = fmt::format("/proc/self/fd/{}", dir.get());
  const auto length = readlink(self.c_str(), resolved, sizeof resolved);
  if (length < 0) return fail(error_from_errno(errno, path));
  return std::string(resolved, static_cast<std::size_t>(length));
}

}  // namespace tb::deliver
