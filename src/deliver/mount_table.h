// Mounts as /proc/self/mountinfo tells of them: what is mounted at a place, and whether a mount made there is seen by
// the runtime. Pure functions of the table's text.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tb::deliver {

/// Stands as the source of every mount of ours, and after "fuse." in its type: how the next run knows them again.
inline constexpr std::string_view kMountSource = "trustbridge";

struct MountRow {
  std::string point;         ///< where it is mounted
  std::string type, source;  ///< of the file system: "tmpfs", "fuse.x"
  bool shared = false;       ///< what is mounted below it appears in other mount namespaces too (`shared:N`)

  bool is_ours() const { return source == kMountSource && (type == "tmpfs" || type == "fuse.trustbridge"); }
};

/// The rows of `mountinfo`, oldest first; rows that cannot be read are left out.
std::vector<MountRow> mount_table(std::string_view mountinfo);

/// The mount on top at exactly `path` (absolute, without links), if `path` is a mount point.
std::optional<MountRow> mount_at(const std::vector<MountRow>& table, std::string_view path);

/// The mount that `path` lies on.
std::optional<MountRow> mount_of(const std::vector<MountRow>& table, std::string_view path);

/// Whether others than our own children see what is mounted at `path`: it lies on shared propagation. In a Kubernetes
/// sidecar it does not, unless the volume says `mountPropagation: Bidirectional`.
bool mount_is_seen_by_others(const std::vector<MountRow>& table, std::string_view path);

/// The table of this process; empty where /proc is not there.
std::vector<MountRow> own_mount_table();

}  // namespace tb::deliver
