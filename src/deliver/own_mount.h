// A tmpfs of our own, for one delivery: huge pages make the first write to it several times faster, `noswap` keeps it
// from disks, and what it holds is nobody else's. Made unattached, then put over a directory; taken away it is gone.
//
// Attaching and taking away go by open descriptors, never by a path that somebody could exchange in between.
#pragma once

#include <cstdint>
#include <string>

#include "base/fs.h"
#include "base/result.h"

namespace tb::deliver {

struct OwnMountOptions {
  std::uint64_t bytes = 0;  ///< most that it may hold
  std::string huge;         ///< tmpfs option `huge`; empty: none
  bool noswap = false;
};

class OwnMount {
 public:
  /// nosuid, nodev, noexec, root directory 0711 and ours. Errors: what the kernel says, "permission_denied" without
  /// CAP_SYS_ADMIN.
  static Result<OwnMount> make(const OwnMountOptions& options);

  /// The mount's top directory.
  int root() const { return root_.get(); }
  /// Puts it over the directory `dir_fd`.
  Result<> attach(int dir_fd);
  /// Takes it away from its place; a process that still has a file open there keeps that file's (wiped) pages.
  Result<> detach();

 private:
  explicit OwnMount(Fd mount, Fd root) : mount_(std::move(mount)), root_(std::move(root)) {}
  Fd mount_;  ///< unattached, it is gone with its last descriptor
  Fd root_;
  bool attached_ = false;
};

/// Takes away the mount whose top directory is open as `root_fd`.
Result<> take_away_mount(int root_fd, const std::string& path);

}  // namespace tb::deliver
