#include "sentinel/runtime/privileges.h"

#include <fmt/format.h>
#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace tb::sentinel::runtime {
namespace {

constexpr rlim_t kMostDescriptors = 65536;

void check(bool ok, std::string_view what) {
  if (!ok) throw Error("runtime_failed", fmt::format("confinement: {}: {}", what, std::strerror(errno)));
}

void limit(int resource, rlim_t most, std::string_view what) {
  rlimit now{};
  check(getrlimit(static_cast<__rlimit_resource_t>(resource), &now) == 0, what);
  now.rlim_max = std::min(now.rlim_max, most);
  now.rlim_cur = now.rlim_max;
  check(setrlimit(static_cast<__rlimit_resource_t>(resource), &now) == 0, what);
}

}  // namespace

void apply_limits(const ConfinePlan& plan) {
  limit(RLIMIT_CORE, 0, "core dumps");
  limit(RLIMIT_NOFILE, kMostDescriptors, "descriptors");
  if (plan.processes != 0) limit(RLIMIT_NPROC, plan.processes, "processes");
  if (plan.data_bytes != 0) limit(RLIMIT_DATA, plan.data_bytes, "memory");
}

void become_user(const ConfinePlan& plan) {
  check(setgroups(plan.groups.size(), plan.groups.data()) == 0, "groups");
  check(setresgid(plan.gid, plan.gid, plan.gid) == 0, "group");
  check(setresuid(plan.uid, plan.uid, plan.uid) == 0, "user");
}

void drop_bounding_set() {
  for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability) {
    prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
  }
}

void drop_capabilities() {
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  const __user_cap_data_struct none[2] = {};
  check(syscall(SYS_capset, &header, none) == 0, "capabilities");
  check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no new privileges");
}

}  // namespace tb::sentinel::runtime
