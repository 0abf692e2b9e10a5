// A hostile runtime, confined as in service, against a world outside that would let it have everything: the control run
// shows that each attempt works, or fails for another reason, where nothing confines it.
#include <gmock/gmock.h>
#include <grp.h>
#include <gtest/gtest.h>

#include <set>

#include "sentinel/runtime/test_hostile_world.h"

namespace tb::sentinel::runtime {
namespace {

using testing::Contains;
using Hostile = HostileWorld;
using Errors = std::set<std::string>;

/// What must stand in the way of each attempt. Two where user and namespace both do, and which is met first depends on
/// rights.
const std::map<std::string, Errors> kExpected = {
    {"tcp4_host", {"ENETUNREACH"}},
    {"tcp4_loopback", {"ECONNREFUSED"}},
    {"tcp6_loopback", {"ECONNREFUSED", "EADDRNOTAVAIL"}},
    {"tcp4_mapped", {"ENETUNREACH"}},
    {"tcp4_internet", {"ENETUNREACH"}},
    {"tcp6_internet", {"ENETUNREACH"}},
    {"udp4_host", {"ENETUNREACH"}},
    {"dns_server", {"ENETUNREACH"}},
    {"dns_name", {"EHOSTUNREACH"}},
    {"icmp_ping", {"EACCES"}},
    {"icmp_raw", {"EPERM"}},
    {"packet_socket", {"EAFNOSUPPORT"}},
    {"vsock", {"EAFNOSUPPORT"}},
    {"crypto_socket", {"EAFNOSUPPORT"}},
    {"uevent_netlink", {"EPERM"}},
    {"change_link", {"EPERM"}},
    {"abstract_socket", {"ECONNREFUSED"}},
    {"unix_socket", {"ENOENT"}},
    {"disk_tmp", {"ENOTBLK"}},      // written, to the scratch in memory
    {"disk_var_tmp", {"ENOTBLK"}},  // the same
    {"disk_cwd", {"ENOTBLK"}},      // the same
    {"disk_root", {"EACCES", "EROFS"}},
    {"disk_usr", {"EACCES", "EROFS"}},
    {"disk_opt", {"ENOENT"}},
    {"disk_etc", {"EACCES", "EROFS"}},
    {"disk_var_lib", {"ENOENT"}},
    {"disk_boot", {"ENOENT"}},
    {"disk_state", {"EACCES", "ENOTBLK"}},
    {"outer_memory", {"ENOENT"}},
    {"model_write", {"EACCES", "EROFS"}},
    {"model_beside", {"EACCES", "EROFS"}},
    {"model_remove", {"EACCES", "EROFS"}},
    {"secret_read", {"ENOENT"}},
    {"shadow_read", {"ENOENT"}},
    {"leave_root", {"ENOENT", "EACCES"}},
    {"core_pattern", {"EACCES", "EROFS"}},
    {"sysrq", {"EACCES", "EROFS", "ENOENT"}},
    {"sys_write", {"EACCES", "EROFS"}},
    {"kernel_log", {"ENOENT"}},
    {"fuse_device", {"ENOENT"}},
    {"make_node", {"EPERM", "EACCES"}},
    {"foreign_descriptor", {"EBADF"}},
    {"process_environ", {"ENOENT"}},
    {"process_memory", {"ENOENT"}},
    {"process_trace", {"EPERM"}},
    {"process_vm", {"EPERM"}},
    {"process_kill", {"ESRCH"}},
    {"process_pidfd", {"ESRCH"}},
    {"init_kill", {"EPERM"}},
    {"init_trace", {"EPERM"}},
    {"init_memory", {"EACCES"}},
    {"mount", {"EPERM"}},
    {"unmount", {"EPERM"}},
    {"new_mount_api", {"EPERM"}},
    {"unshare_user", {"EPERM"}},
    {"unshare_mount", {"EPERM"}},
    {"clone_user", {"EPERM"}},
    {"clone3_user", {"ENOSYS"}},
    {"chroot", {"EPERM"}},
    {"set_user", {"EPERM", "EINVAL"}},
    {"core_limit", {"EPERM"}},
    {"swap_off", {"EPERM"}},
    {"add_key", {"EPERM"}},
    {"perf", {"EPERM"}},
    {"bpf", {"EPERM"}},
    {"io_uring", {"EPERM"}},
    {"userfaultfd", {"EPERM"}},
    {"personality", {"EPERM"}},
    {"call_of_tomorrow", {"ENOSYS"}},
    {"host_name", {"ENODATA"}},
};

/// Attempts that nothing lets through on a machine without a network, a name server or such a kernel: they show nothing
/// in a control run, and have siblings that do. The last ones have no world outside to want anything of.
const Errors kWithoutControl = {
    "tcp4_internet",      "tcp6_internet", "dns_server", "dns_name",    "icmp_ping",     "fuse_device",
    "sys_write",          "init_kill",     "init_trace", "init_memory", "crypto_socket", "kernel_log",
    "foreign_descriptor", "leave_root",    "disk_boot",  "disk_opt",    "core_limit",    "sysrq"};

void expect_nothing_got(Results results) {
  for (const auto& [attempt, errors] : kExpected) {
    EXPECT_THAT(errors, Contains(results[attempt])) << attempt << " was answered with " << results[attempt];
  }
  EXPECT_EQ(results.size(), kExpected.size() + 1) << "an attempt without an expectation";
}

TEST_F(Hostile, GetsNothingOutAndNothingIn) {
  const ConfineRequest asked = request();
  ASSERT_NO_THROW(require_full(plan_confinement(asked, find_kernel_facts(asked.uid))));
  expect_nothing_got(run(confined(asked)));
  EXPECT_FALSE(std::filesystem::exists("/tmp/hostile-weights"));
}

/// The same for a sentinel that is an ordinary user: it runs in a process that has become one.
TEST_F(Hostile, GetsNothingFromAnOrdinaryUsersSentinel) {
  if (geteuid() != 0) GTEST_SKIP() << "the test before was this one";
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const pid_t pid = fork();
  if (pid == 0) {
    ends[0] = (close(ends[0]), -1);
    if (setgroups(0, nullptr) != 0 || setresgid(kRuntimeUser, kRuntimeUser, kRuntimeUser) != 0 ||
        setresuid(kRuntimeUser, kRuntimeUser, kRuntimeUser) != 0) {
      _exit(1);
    }
    const ConfineRequest asked = request();
    const KernelFacts facts = find_kernel_facts(asked.uid);
    Json said = Json::object();
    if (!facts.through_user_namespace || !facts.fault(Measure::kMountNamespace).empty()) {
      said.set("skipped", facts.fault(Measure::kMountNamespace));
    } else {
      for (const auto& [attempt, error] : run(confined(asked, facts))) said.set(attempt, error);
    }
    const std::string text = said.dump();
    _exit(write(ends[1], text.data(), text.size()) == static_cast<ssize_t>(text.size()) ? 0 : 1);
  }
  close(ends[1]);
  std::string text(65536, '\0');
  const std::size_t bytes = value_or_throw(
      read_full(ends[0], MutableBytes(reinterpret_cast<std::uint8_t*>(text.data()), text.size()), "results"));
  close(ends[0]);
  waitpid(pid, nullptr, 0);
  text.resize(bytes);
  const Json said = value_or_throw(Json::parse(text));
  Results results;
  for (const auto& [attempt, error] : said.as_object()) results[attempt] = error.as_string();
  if (results.contains("skipped")) GTEST_SKIP() << "users may not have namespaces here: " << results["skipped"];
  expect_nothing_got(results);
}

TEST_F(Hostile, GetsItAllWhereNothingConfinesIt) {
  if (geteuid() != 0) GTEST_SKIP() << "only root is let through everywhere";
  // What it mounts and unmounts is not to be the machine's.
  std::vector<std::string> arguments = command();
  arguments.insert(arguments.begin(), {"/usr/bin/unshare", "--mount", "--propagation", "private"});
  Results results = run({.arguments = arguments, .environment = {"PATH=/usr/bin:/bin"}, .uid = 0});
  for (const auto& [attempt, errors] : kExpected) {
    if (kWithoutControl.contains(attempt)) continue;
    EXPECT_THAT(errors, testing::Not(Contains(results[attempt]))) << attempt << " fails without a confinement, too";
  }
}

/// Without any namespace user, seccomp and Landlock still hold the network and the disks.
TEST_F(Hostile, GetsNoWeightsOutWhereThereAreNoNamespaces) {
  const ConfineRequest asked = request();
  KernelFacts facts = find_kernel_facts(asked.uid);
  if (facts.landlock_abi < 6) GTEST_SKIP() << "needs a newer Landlock";
  for (const Measure measure : {Measure::kNetworkNamespace, Measure::kMountNamespace, Measure::kPidNamespace,
                                Measure::kIpcNamespace, Measure::kUtsNamespace}) {
    facts.fault(measure) = "switched off by this test";
  }
  facts.through_user_namespace = false;
  Results results = run(confined(asked, facts));
  for (const char* attempt :
       {"tcp4_host",      "tcp4_loopback",   "tcp6_loopback", "tcp4_mapped",     "udp4_host",    "dns_server",
        "icmp_raw",       "packet_socket",   "vsock",         "abstract_socket", "disk_tmp",     "disk_var_tmp",
        "disk_cwd",       "disk_state",      "outer_memory",  "model_write",     "secret_read",  "shadow_read",
        "process_memory", "process_environ", "process_trace", "process_vm",      "process_kill", "unshare_user",
        "clone_user",     "mount",           "io_uring"}) {
    EXPECT_THAT((Errors{"EACCES", "EPERM", "ENETUNREACH", "EAFNOSUPPORT"}), Contains(results[attempt])) << attempt;
  }
}

}  // namespace
}  // namespace tb::sentinel::runtime
