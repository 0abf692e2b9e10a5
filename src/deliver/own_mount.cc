#include "deliver/own_mount.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mount.h>

#include <cerrno>

#include "deliver/mount_table.h"

namespace tb::deliver {
namespace {

Result<> set(int context, const char* name, const std::string& value) {
  if (fsconfig(context, FSCONFIG_SET_STRING, name, value.c_str(), 0) == 0) return {};
  return fail(error_from_errno(errno, fmt::format("tmpfs option {}", name)));
}

}  // namespace

Result<OwnMount> OwnMount::make(const OwnMountOptions& options) {
  const Fd context(fsopen("tmpfs", FSOPEN_CLOEXEC));
  if (!context) return fail(error_from_errno(errno, "a tmpfs of our own"));
  TRY(set(context.get(), "source", std::string(kMountSource)));
  TRY(set(context.get(), "mode", "0711"));
  TRY(set(context.get(), "size", fmt::format("{}", options.bytes)));
  if (!options.huge.empty()) TRY(set(context.get(), "huge", options.huge));
  if (options.noswap && fsconfig(context.get(), FSCONFIG_SET_FLAG, "noswap", nullptr, 0) != 0) {
    return fail(error_from_errno(errno, "tmpfs option noswap"));
  }
  if (fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
    return fail(error_from_errno(errno, "a tmpfs of our own"));
  }
  Fd mount(fsmount(context.get(), FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC));
  if (!mount) return fail(error_from_errno(errno, "a tmpfs of our own"));
  Fd root(openat(mount.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root) return fail(error_from_errno(errno, "a tmpfs of our own"));
  return OwnMount(std::move(mount), std::move(root));
}

Result<> OwnMount::attach(int dir_fd) {
  if (move_mount(mount_.get(), "", dir_fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) != 0) {
    return fail(error_from_errno(errno, "attaching a tmpfs of our own"));
  }
  attached_ = true;
  return {};
}

Result<> OwnMount::detach() {
  if (attached_) TRY(take_away_mount(root_.get(), "the tmpfs of our own"));
  attached_ = false;
  return {};
}

Result<> take_away_mount(int root_fd, const std::string& path) {
  // MNT_DETACH: the descriptor itself keeps the mount busy.
  if (umount2(fmt::format("/proc/self/fd/{}", root_fd).c_str(), MNT_DETACH) != 0) {
    return fail(error_from_errno(errno, path));
  }
  return {};
}

}  // namespace tb::deliver
