// Ways out by system calls: other processes, namespaces, and parts of the kernel that see more than one process.
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fcntl.h>
#include <cstring>

#include "tests/hostile/attempts.h"

namespace hostile {
namespace {

int trace(pid_t pid) {
  if (ptrace(PTRACE_ATTACH, pid, nullptr, nullptr) != 0) return errno;
  waitpid(pid, nullptr, __WALL);
  ptrace(PTRACE_DETACH, pid, nullptr, nullptr);
  return 0;
}

int read_memory(pid_t pid) {
  char byte = 0;
  iovec here{&byte, 1};
  iovec there{&byte, 1};  // not mapped there: EFAULT tells that the door was open
  return process_vm_readv(pid, &here, 1, &there, 1, 0) < 0 && errno != EFAULT ? errno : 0;
}

int read_process(pid_t pid, const char* what) {
  return outcome(open(("/proc/" + std::to_string(pid) + "/" + what).c_str(), O_RDONLY));
}

int clone_with(unsigned long flags) {
  const long made = syscall(SYS_clone, flags | SIGCHLD, nullptr, nullptr, nullptr, 0UL);
  if (made == 0) _exit(0);
  if (made < 0) return errno;
  waitpid(static_cast<pid_t>(made), nullptr, 0);
  return 0;
}

/// The structure of clone3, in which no filter can look.
int clone3_with(unsigned long long flags) {
  unsigned long long arguments[8] = {flags, 0, 0, 0, SIGCHLD, 0, 0, 0};
  const long made = syscall(SYS_clone3, arguments, sizeof arguments);
  if (made == 0) _exit(0);
  if (made < 0) return errno;
  waitpid(static_cast<pid_t>(made), nullptr, 0);
  return 0;
}

int open_perf() {
  perf_event_attr attr{};
  attr.type = PERF_TYPE_SOFTWARE;
  attr.size = sizeof attr;
  attr.config = PERF_COUNT_SW_CPU_CLOCK;
  return outcome(syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0));
}

int load_bpf() {
  union bpf_attr attr{};
  attr.map_type = BPF_MAP_TYPE_ARRAY;
  attr.key_size = 4;
  attr.value_size = 4;
  attr.max_entries = 1;
  return outcome(syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof attr));
}

int raise_core_limit() {
  const rlimit most{1 << 20, 1 << 20};
  return outcome(setrlimit(RLIMIT_CORE, &most));
}

int gain_user() {
  return outcome(setuid(0)) == 0 && geteuid() == 0 ? 0 : errno != 0 ? errno : EPERM;
}

int learn_name(const std::string& name) {
  char own[256] = {};
  gethostname(own, sizeof own - 1);
  return name == own ? 0 : ENODATA;
}

/// What a program of tomorrow's kernel would call.
int call_of_tomorrow() {
  errno = 0;
  return outcome(syscall(451, 0, 0, 0, 0));
}

}  // namespace

std::vector<Named> kernel_attempts(const World& world) {
  const pid_t victim = number(world, "victim_pid");
  const std::string host = told(world, "host_name");
  char ring[256] = {};
  return {
      {"process_environ", [=] { return read_process(victim, "environ"); }},
      {"process_memory", [=] { return read_process(victim, "mem"); }},
      {"process_trace", [=] { return trace(victim); }},
      {"process_vm", [=] { return read_memory(victim); }},
      {"process_kill", [=] { return outcome(kill(victim, 0)); }},
      {"process_pidfd", [=] { return outcome(syscall(SYS_pidfd_open, victim, 0)); }},
      {"init_kill", [] { return outcome(kill(1, SIGKILL)) == 0 && (usleep(200'000), kill(1, 0) != 0) ? 0 : EPERM; }},
      {"init_trace", [] { return trace(1); }},
      {"init_memory", [] { return read_process(1, "mem"); }},
      {"mount", [] { return outcome(mount("none", "/tmp", "tmpfs", 0, nullptr)); }},
      {"unmount", [] { return outcome(umount2("/proc", MNT_DETACH)); }},
      {"new_mount_api", [] { return outcome(fsopen("tmpfs", 0)); }},
      {"unshare_user", [] { return outcome(unshare(CLONE_NEWUSER)); }},
      {"unshare_mount", [] { return outcome(unshare(CLONE_NEWNS)); }},
      {"clone_user", [] { return clone_with(CLONE_NEWUSER); }},
      {"clone3_user", [] { return clone3_with(CLONE_NEWUSER); }},
      {"chroot", [] { return outcome(chroot("/tmp")); }},
      {"set_user", gain_user},
      {"core_limit", raise_core_limit},
      {"swap_off", [] { return outcome(swapoff("/nowhere")); }},
      {"add_key", [] { return outcome(syscall(SYS_add_key, "user", "hostile", "x", 1, -3)); }},
      {"perf", open_perf},
      {"bpf", load_bpf},
      {"io_uring", [=]() mutable { return outcome(syscall(SYS_io_uring_setup, 1, ring)); }},
      {"userfaultfd", [] { return outcome(syscall(SYS_userfaultfd, 0)); }},
      {"personality", [] { return outcome(syscall(SYS_personality, 0xffffffff)); }},
      {"call_of_tomorrow", call_of_tomorrow},
      {"host_name", [=] { return learn_name(host); }},
  };
}

}  // namespace hostile
