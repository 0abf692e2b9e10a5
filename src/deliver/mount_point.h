// The directory that a mount takes, free of what killed runs of ours have left mounted on it.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/result.h"

namespace tb::deliver {

/// Detaches a mount: umount2 where we may, else fusermount3. Files that are open in it stay open until they are closed.
Result<> detach_mount(const std::string& path);

/// Takes away what killed runs of ours have left mounted at `path`: a FUSE mount whose program is gone, and a tmpfs of
/// our own, in which everything is wiped first. Mounts of others are left alone. Gives the path as the mount table
/// spells it, without links. "path_unsafe" for a FUSE mount of ours that is served.
Result<std::string> remove_left_mounts(const std::string& path);

/// Makes `path` if it is not there (as open_owned_dir does, with `mode`), removes what any delivery of ours left at it
/// and in it (place.h), and gives the path without links. "path_unsafe" for anything else that is mounted or stands
/// there.
Result<std::string> prepare_mount_point(const std::string& path, mode_t mode, uid_t runtime_uid);

}  // namespace tb::deliver
