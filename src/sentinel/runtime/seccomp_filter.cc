#include "sentinel/runtime/seccomp_filter.h"

#include <fmt/format.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>

#include "base/error.h"

namespace tb::sentinel::runtime {
namespace {

constexpr auto kRefused = std::to_array<std::string_view>({
    // other processes
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "process_madvise",
    "kcmp",
    "pidfd_getfd",
    // namespaces and mounts
    "unshare",
    "setns",
    "mount",
    "umount",
    "umount2",
    "move_mount",
    "open_tree",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "mount_setattr",
    "pivot_root",
    "chroot",
    "open_by_handle_at",
    "name_to_handle_at",
    // parts of the kernel with a long list of holes, or that see more than one process
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "add_key",
    "keyctl",
    "request_key",
    "fanotify_init",
    "lookup_dcookie",
    "modify_ldt",
    "vm86",
    "vm86old",
    "uselib",
    "personality",
    // the machine
    "kexec_load",
    "kexec_file_load",
    "init_module",
    "finit_module",
    "delete_module",
    "create_module",
    "reboot",
    "swapon",
    "swapoff",
    "acct",
    "quotactl",
    "quotactl_fd",
    "nfsservctl",
    "iopl",
    "ioperm",
    "syslog",
    "settimeofday",
    "stime",
    "clock_settime",
    "clock_settime64",
    "clock_adjtime",
    "clock_adjtime64",
    "adjtimex",
    "sethostname",
    "setdomainname",
    "vhangup",
    "_sysctl",
    "pciconfig_read",
    "pciconfig_write",
});

constexpr std::array<scmp_datum_t, 8> kNewNamespaces = {
    CLONE_NEWNS,   CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC,
    CLONE_NEWUSER, CLONE_NEWPID,    CLONE_NEWNET, 0x80 /* CLONE_NEWTIME */};
constexpr scmp_datum_t kSocketType = 0xf;  // without SOCK_CLOEXEC and SOCK_NONBLOCK

/// The last number of Linux 5.17, the same on every architecture since 424.
constexpr std::uint32_t kLastKnownCall = 450;

[[noreturn]] void failed(int error, std::string_view what) {
  throw Error("runtime_failed", fmt::format("seccomp: {}: {}", what, std::strerror(error)));
}

struct Release {
  void operator()(void* filter) const { seccomp_release(filter); }
};

class Rules {
 public:
  Rules() : filter_(seccomp_init(SCMP_ACT_ALLOW)) {
    if (!filter_) failed(ENOMEM, "init");
    // A second architecture's numbers (32-bit, x32) would mean other calls.
    check(seccomp_attr_set(filter_.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS), "architecture");
    check(seccomp_attr_set(filter_.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2), "optimize");
    check(seccomp_attr_set(filter_.get(), SCMP_FLTATR_CTL_NNP, 0), "privileges");
  }

  /// A call that this architecture does not have needs no rule.
  template <typename... Compare>
  void refuse(std::string_view call, int error, Compare... compare) {
    const int number = seccomp_syscall_resolve_name(std::string(call).c_str());
    if (number == __NR_SCMP_ERROR) failed(EINVAL, call);
    if (number < 0) return;
    const std::array<scmp_arg_cmp, sizeof...(compare)> list{compare...};
    check(seccomp_rule_add_array(filter_.get(), SCMP_ACT_ERRNO(static_cast<std::uint32_t>(error)), number, list.size(),
                                 list.data()),
          call);
  }

  void load() { check(seccomp_load(filter_.get()), "load"); }

 private:
  static void check(int result, std::string_view what) {
    if (result < 0) failed(-result, what);
  }
  std::unique_ptr<void, Release> filter_;
};

scmp_arg_cmp equal(unsigned argument, scmp_datum_t value) {
  return {argument, SCMP_CMP_EQ, value, 0};
}

scmp_arg_cmp masked(unsigned argument, scmp_datum_t mask, scmp_datum_t value) {
  return {argument, SCMP_CMP_MASKED_EQ, mask, value};
}

/// UNIX, INET, INET6 and route netlink (getifaddrs): what a network namespace confines. AF_VSOCK, AF_ALG, AF_PACKET and
/// the rest it does not, or nobody needs them.
void refuse_sockets(Rules& rules, bool own_network) {
  for (scmp_datum_t family = 0; family < AF_NETLINK; ++family) {
    if (family != AF_UNIX && family != AF_INET && family != AF_INET6) {
      rules.refuse("socket", EAFNOSUPPORT, equal(0, family));
      rules.refuse("socketpair", EAFNOSUPPORT, equal(0, family));
    }
  }
  for (const char* call : {"socket", "socketpair"}) {
    rules.refuse(call, EAFNOSUPPORT, scmp_arg_cmp{0, SCMP_CMP_GT, AF_NETLINK, 0});
  }
  rules.refuse("socket", EPERM, equal(0, AF_NETLINK), scmp_arg_cmp{2, SCMP_CMP_NE, NETLINK_ROUTE, 0});
  for (const scmp_datum_t family : {scmp_datum_t{AF_INET}, scmp_datum_t{AF_INET6}}) {
    for (const scmp_datum_t type : {scmp_datum_t{SOCK_RAW}, scmp_datum_t{SOCK_PACKET}}) {
      rules.refuse("socket", EPERM, equal(0, family), masked(1, kSocketType, type));
    }
    if (!own_network) rules.refuse("socket", EPERM, equal(0, family), masked(1, kSocketType, SOCK_DGRAM));
  }
}

/// A call that came after this version was written may be anything: programs take ENOSYS for an older kernel.
void refuse_unknown_calls() {
  std::array<sock_filter, 4> program = {{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, kLastKnownCall, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  const sock_fprog filter{program.size(), program.data()};
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) failed(errno, "load");
}

}  // namespace

std::span<const std::string_view> refused_calls() {
  return kRefused;
}

void apply_seccomp_filter(bool own_network) {
  Rules rules;
  for (const std::string_view call : kRefused) rules.refuse(call, EPERM);
  // The flags of clone3 lie in memory, where no filter sees them; the C library then uses clone.
  rules.refuse("clone3", ENOSYS);
  for (const scmp_datum_t flag : kNewNamespaces) rules.refuse("clone", EPERM, masked(0, flag, flag));
  for (const scmp_datum_t call : {scmp_datum_t{TIOCSTI}, scmp_datum_t{TIOCLINUX}}) {
    rules.refuse("ioctl", EPERM, masked(1, 0xffffffff, call));
  }
  refuse_sockets(rules, own_network);
  refuse_unknown_calls();
  rules.load();
}

}  // namespace tb::sentinel::runtime
