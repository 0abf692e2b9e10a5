// A control group (cgroup v2) of the runtime's own: its memory, all processes together, has a limit and never goes to
// swap. It takes a subtree that was delegated to us, as systemd does with Delegate=yes.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace tb::sentinel::runtime {

struct GroupPlace {
  std::string directory;  ///< in which groups with the memory controller can be made
  std::string fault;      ///< why there is none
};

/// Looks at the groups of this process. `make_room`: where ours may have children but holds us, we move into a leaf of
/// it. `root` is "" for this machine; tests give a directory with proc/ and sys/.
GroupPlace find_group_place(bool make_room, const std::string& root = "");

class ResourceGroup {
 public:
  /// `memory_bytes`, `processes`: 0 for no limit. Throws "runtime_failed" if a limit cannot be set.
  ResourceGroup(const std::string& directory, std::uint64_t memory_bytes, std::uint64_t processes);
  /// Removes it, once it is empty.
  ~ResourceGroup();
  ResourceGroup(const ResourceGroup&) = delete;
  ResourceGroup& operator=(const ResourceGroup&) = delete;

  /// Puts a process into it; what that starts later is in it, too.
  void take(pid_t pid);
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace tb::sentinel::runtime
