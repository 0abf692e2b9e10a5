// For tests only: mounts that the rest of the machine never sees, and that are gone when the test is, also after a
// crash.
#pragma once

#include <sched.h>
#include <sys/mount.h>

namespace tb::deliver {

/// Puts this thread, and those that it starts, into a mount namespace of its own; false without CAP_SYS_ADMIN.
inline bool enter_mount_namespace() {
  static const bool entered =
      unshare(CLONE_NEWNS) == 0 && mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
  return entered;
}

}  // namespace tb::deliver
