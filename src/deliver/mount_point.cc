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
#include "deliver/place.h"
#include "deliver/wipe.h"

namespace tb::deliver {
namespace {

/// mountinfo writes space, tab, newline and backslash as three octal digits.
std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto digit = [&](std::size_t at) { return static_cast<unsigned>(text[at] - '0'); };
    if (text[i] == '\\' && i + 3 < text.size() && digit(i + 1) < 4 && digit(i + 2) < 8 && digit(i + 3) < 8) {
      out += static_cast<char>(digit(i + 1) * 64 + digit(i + 2) * 8 + digit(i + 3));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  while (!line.empty()) {
    const auto end = std::min(line.find(' '), line.size());
    if (end != 0) words.push_back(line.substr(0, end));
    line.remove_prefix(std::min(end + 1, line.size()));
  }
  return words;
}

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

Result<> remove_leftover(const std::string& path) {
  // A program that is killed again and again while it is mounting may leave more than one.
  for (int depth = 0; depth < 16; ++depth) {
    const auto mounted = mounted_at(path);
    if (!mounted) return {};
    if (!mounted->ours()) {
      return fail("path_unsafe", fmt::format("{} is a mount already ({}, {})", path, mounted->type, mounted->source));
    }
    // Attributes may be cached for ever; this is always asked of the program behind the mount.
    struct statfs fs{};
    if (statfs(path.c_str(), &fs) == 0 || errno != ENOTCONN) {
      return fail(Error("path_unsafe", path + " is mounted by another trustbridge")
                      .with_hint("end that one, or choose another path"));
    }
    TRY(detach_mount(path));
  }
  return fail("path_unsafe", path + " has too many mounts on it");
}

}  // namespace

std::optional<MountedThing> mounted_at(std::string_view mountinfo, std::string_view path) {
  std::optional<MountedThing> top;
  while (!mountinfo.empty()) {
    const auto end = std::min(mountinfo.find('\n'), mountinfo.size());
    const auto words = words_of(mountinfo.substr(0, end));
    mountinfo.remove_prefix(std::min(end + 1, mountinfo.size()));
    const auto dash = std::ranges::find(words, std::string_view("-"));
    if (words.size() < 6 || words.end() - dash < 3 || unescaped(words[4]) != path) continue;
    top = MountedThing{unescaped(dash[1]), unescaped(dash[2])};
  }
  return top;
}

std::optional<MountedThing> mounted_at(const std::string& path) {
  const auto text = read_small_file("/proc/self/mountinfo", std::size_t{16} << 20);
  return text ? mounted_at(*text, path) : std::nullopt;
}

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

Result<std::string> prepare_mount_point(const std::string& path, mode_t mode, uid_t runtime_uid) {
  if (!path.starts_with('/')) return fail("path_unsafe", path + " is not an absolute path");
  const std::string canonical = TRY(without_links(path));
  TRY(remove_leftover(canonical));
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
