#include "sentinel/runtime/kernel_facts.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/fs.h"
#include "sentinel/runtime/landlock.h"
#include "sentinel/runtime/resource_group.h"

namespace tb::sentinel::runtime {
namespace {

bool has_capability(unsigned capability) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[2] = {};
  return syscall(SYS_capget, &header, sets) == 0 && (sets[capability / 32].effective & (1U << (capability % 32))) != 0;
}

/// In the probe's process: async-signal-safe calls only. The errno of what does not work, or 0.
int try_out(unsigned long flags) {
  if ((flags & CLONE_NEWNS) == 0) return 0;
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return errno;
  const int tree = open_tree(AT_FDCWD, "/usr", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
  if (tree < 0) return errno;
  mount_attr attr{};
  attr.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  if (mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr) != 0) return errno;
  if ((flags & CLONE_NEWPID) == 0) return 0;
  // A container whose /proc has covered parts does not get a whole one.
  const int context = fsopen("proc", FSOPEN_CLOEXEC);
  if (context < 0 || fsconfig(context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) return errno;
  if (fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_RDONLY) <
      0) {
    return errno;
  }
  return 0;
}

/// Why namespaces of `flags` cannot be used; empty: they can.
std::string namespace_fault(unsigned long flags) {
  const long made = syscall(SYS_clone, flags | SIGCHLD, nullptr, nullptr, nullptr, 0UL);
  if (made < 0) return std::strerror(errno);
  const pid_t pid = static_cast<pid_t>(made);
  if (pid == 0) _exit(try_out(flags));
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status)) return "the probe was ended";
  return WEXITSTATUS(status) == 0 ? "" : std::strerror(WEXITSTATUS(status));
}

constexpr std::pair<Measure, unsigned long> kNamespaces[] = {
    {Measure::kNetworkNamespace, CLONE_NEWNET},
    {Measure::kMountNamespace, CLONE_NEWNS},
    {Measure::kPidNamespace, CLONE_NEWPID | CLONE_NEWNS},
    {Measure::kIpcNamespace, CLONE_NEWIPC},
    {Measure::kUtsNamespace, CLONE_NEWUTS},
};

void find_namespaces(KernelFacts& facts) {
  constexpr unsigned long kAll = CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS;
  if (namespace_fault(kAll).empty()) return;
  facts.through_user_namespace = true;
  if (namespace_fault(kAll | CLONE_NEWUSER).empty()) return;
  const std::string around = namespace_fault(CLONE_NEWUSER);
  // Neither whole: then each that works by itself, with our own rights where we have them.
  facts.through_user_namespace = around.empty();
  const unsigned long user = around.empty() ? CLONE_NEWUSER : 0;
  for (const auto& [measure, flags] : kNamespaces) facts.fault(measure) = namespace_fault(flags | user);
}

/// Since 5.11 a new /proc may not be had without a process namespace, and the file tree needs one.
void keep_together(KernelFacts& facts) {
  if (!facts.fault(Measure::kPidNamespace).empty() && facts.fault(Measure::kMountNamespace).empty()) {
    facts.fault(Measure::kMountNamespace) =
        "needs a process namespace with a /proc of its own: " + facts.fault(Measure::kPidNamespace);
  }
  if (!facts.fault(Measure::kMountNamespace).empty() && facts.fault(Measure::kPidNamespace).empty()) {
    facts.fault(Measure::kPidNamespace) = "needs a mount namespace: " + facts.fault(Measure::kMountNamespace);
  }
}

bool swap_is_on() {
  const std::string swaps = read_small_file("/proc/swaps").value_or("");
  return std::ranges::count(swaps, '\n') > 1;
}

}  // namespace

KernelFacts find_kernel_facts(uid_t runtime_uid, bool make_room) {
  KernelFacts facts;
  find_namespaces(facts);
  keep_together(facts);
  if (runtime_uid != geteuid() && (!has_capability(CAP_SETUID) || !has_capability(CAP_SETGID))) {
    facts.fault(Measure::kOwnUser) = "without CAP_SETUID and CAP_SETGID a process keeps its user";
  }
  if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) < 0) facts.fault(Measure::kSeccomp) = "this kernel has no seccomp filters";
  facts.landlock_abi = landlock_abi();
  if (facts.landlock_abi == 0)
    facts.fault(Measure::kLandlock) = "this kernel has no landlock, or it is not switched on";
  GroupPlace place = find_group_place(make_room);
  facts.group_directory = place.directory;
  if (place.directory.empty()) facts.fault(Measure::kMemoryLimit) = place.fault;
  facts.swap_is_on = swap_is_on();
  return facts;
}

}  // namespace tb::sentinel::runtime
