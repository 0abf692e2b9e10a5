// The directory that a mount takes: ours, empty, and free of what a killed run left mounted on it.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace tb::deliver {

/// Stands as the source and after "fuse." in the type of every mount of ours: /proc/self/mountinfo tells it from
/// others.
inline constexpr std::string_view kFsName = "trustbridge";

struct MountedThing {
  std::string type;
  std::string source;
  bool ours() const { return type == "fuse.trustbridge" && source == kFsName; }
};

/// What is mounted on top at `path` (absolute, without links), by the text of /proc/self/mountinfo. Pure.
std::optional<MountedThing> mounted_at(std::string_view mountinfo, std::string_view path);
/// The same of this process now.
std::optional<MountedThing> mounted_at(const std::string& path);

/// Detaches a mount: umount2 where we may, else fusermount3. Files that are open in it stay open until they are closed.
Result<> detach_mount(const std::string& path);

/// Makes `path` if it is not there (as open_owned_dir does, with `mode`), detaches a mount of ours whose program is
/// gone, removes what another delivery left (place.h), and gives the path without links. "path_unsafe" for anything
/// else that is mounted or stands there, and for a mount of ours that is served.
Result<std::string> prepare_mount_point(const std::string& path, mode_t mode, uid_t runtime_uid);

}  // namespace tb::deliver
