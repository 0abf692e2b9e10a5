#include "sentinel/runtime/isolation.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sched.h>

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace tb::sentinel::runtime {
namespace {

constexpr std::uint64_t kMostProcesses = 8192;
constexpr std::size_t kMaxPlanBytes = std::size_t{1} << 20;

constexpr std::string_view kNamespaceAdvice =
    "run the sentinel as root with CAP_SYS_ADMIN, or allow user namespaces (user.max_user_namespaces, "
    "kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns, the container's seccomp profile)";

constexpr std::array<MeasureInfo, kMeasures> kMeasureTable = {{
    {Measure::kNetworkNamespace, "network_namespace",
     "connections to anywhere but itself: no address, route or name server; abstract sockets of others",
     kNamespaceAdvice},
    {Measure::kMountNamespace, "mount_namespace",
     "reading files that are not named, writing any but a scratch of limited size in memory", kNamespaceAdvice},
    {Measure::kPidNamespace, "pid_namespace", "seeing or signalling other processes, outliving its end",
     kNamespaceAdvice},
    {Measure::kIpcNamespace, "ipc_namespace", "System V and POSIX message queues and shared memory of others",
     kNamespaceAdvice},
    {Measure::kUtsNamespace, "uts_namespace", "learning the machine's name", kNamespaceAdvice},
    {Measure::kOwnUser, "own_user", "acting as the sentinel's user",
     "run the sentinel as root, or with CAP_SETUID and CAP_SETGID, and set TB_RUNTIME_UID to another user"},
    {Measure::kNoCapabilities, "no_capabilities", "what only root may", "needs no rights: report this as a bug"},
    {Measure::kNoNewPrivileges, "no_new_privileges", "gaining rights from set-user-ID programs",
     "needs no rights: report this as a bug"},
    {Measure::kSeccomp, "seccomp",
     "ptrace, mounts, new namespaces, io_uring, bpf, perf, keys, raw and vsock sockets, system calls newer than this "
     "version",
     "a kernel with CONFIG_SECCOMP_FILTER"},
    {Measure::kLandlock, "landlock", "the same as the mount namespace, by other means",
     "a kernel of 5.13 or newer with landlock in its list of security modules (lsm=)"},
    {Measure::kNoCoreDumps, "no_core_dumps", "leaving its memory in a file", "needs no rights: report this as a bug"},
    {Measure::kProcessLimit, "process_limit", "taking all processes of the machine",
     "needs no rights: report this as a bug"},
    {Measure::kMemoryLimit, "memory_limit", "taking more memory than TB_RUNTIME_MEMORY_BYTES",
     "a delegated control group (systemd: Delegate=yes) with the memory controller of cgroup v2"},
    {Measure::kNoSwap, "no_swap", "the kernel's writing its memory to a swap device",
     "turn swap off, or set TB_RUNTIME_MEMORY_BYTES where there is a delegated control group with the memory "
     "controller of cgroup v2"},
}};

/// The parts of a system that programs are made of. Nothing of /home, /root, /srv, /var or /run.
constexpr auto kSystemPaths = std::to_array<std::string_view>({
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/alternatives",
    "/etc/localtime",
    "/etc/timezone",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/mime.types",
    "/etc/OpenCL",
    "/etc/vulkan",
});

constexpr std::pair<Measure, std::uint64_t> kNamespaceFlags[] = {
    {Measure::kNetworkNamespace, CLONE_NEWNET}, {Measure::kMountNamespace, CLONE_NEWNS},
    {Measure::kPidNamespace, CLONE_NEWPID},     {Measure::kIpcNamespace, CLONE_NEWIPC},
    {Measure::kUtsNamespace, CLONE_NEWUTS},
};

std::string directory_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

Json list_json(const auto& items) {
  Json out = Json::array();
  for (const auto& item : items) {
    if constexpr (std::is_integral_v<std::decay_t<decltype(item)>>) {
      out.push(static_cast<std::int64_t>(item));
    } else {
      out.push(Json(std::string(item)));
    }
  }
  return out;
}

}  // namespace

std::span<const MeasureInfo> all_measures() {
  return kMeasureTable;
}

std::string_view name_of(Measure measure) {
  return kMeasureTable[static_cast<std::size_t>(measure)].name;
}

Confinement plan_confinement(const ConfineRequest& request, const KernelFacts& facts) {
  Confinement out;
  ConfinePlan& plan = out.plan;
  const auto take = [&](Measure measure, bool required = true) {
    if (facts.fault(measure).empty()) {
      out.in_force.push_back(measure);
      return true;
    }
    out.missing.push_back({measure, facts.fault(measure), required});
    return false;
  };
  plan.arguments = request.arguments;
  plan.address = request.address;
  plan.model_path = request.model_path;
  plan.read_paths = request.read_paths;
  plan.devices = request.devices;
  plan.scratch_bytes = request.scratch_bytes;
  for (const std::string_view path : kSystemPaths) plan.system_paths.emplace_back(path);
  if (request.address.is_unix()) plan.socket_directory = directory_of(request.address.unix_path);

  for (const auto& [measure, flag] : kNamespaceFlags) {
    if (take(measure)) plan.namespaces |= flag;
  }
  if (facts.through_user_namespace && plan.namespaces != 0) plan.namespaces |= CLONE_NEWUSER;

  plan.uid = request.uid;
  plan.gid = static_cast<gid_t>(request.uid);
  if (!request.own_user) {
    out.missing.push_back({Measure::kOwnUser, "TB_RUNTIME_UID is the sentinel's own user", !request.shared_user});
  } else if (facts.through_user_namespace && facts.fault(Measure::kOwnUser).empty()) {
    out.missing.push_back({Measure::kOwnUser, "a user namespace of an ordinary user holds that user only", true});
  } else {
    plan.change_user = take(Measure::kOwnUser);
  }
  take(Measure::kNoCapabilities);
  take(Measure::kNoNewPrivileges);
  plan.seccomp = take(Measure::kSeccomp);
  plan.landlock_abi = take(Measure::kLandlock) ? facts.landlock_abi : 0;
  take(Measure::kNoCoreDumps);
  if (take(Measure::kProcessLimit)) plan.processes = kMostProcesses;

  if (request.memory_bytes != 0) {
    out.group_directory = facts.group_directory;
    out.memory_bytes = request.memory_bytes;
    // Without a group each process is limited, not their sum: worth having, but it is not what was asked for.
    if (!take(Measure::kMemoryLimit)) plan.data_bytes = request.memory_bytes;
  }
  if (facts.swap_is_on && out.group_directory.empty() && facts.fault(Measure::kNoSwap).empty()) {
    out.missing.push_back({Measure::kNoSwap, "swap is on, and the runtime has no control group of its own", false});
  } else {
    take(Measure::kNoSwap, false);
  }
  return out;
}

void require_full(const Confinement& confinement) {
  std::vector<std::string> told;
  for (const Shortfall& shortfall : confinement.missing) {
    if (shortfall.required) told.push_back(fmt::format("{} ({})", name_of(shortfall.measure), shortfall.why));
  }
  if (told.empty()) return;
  throw Error("isolation_impossible",
              fmt::format("this machine cannot confine the runtime with {}", fmt::join(told, ", ")));
}

bool covers_contract(const Confinement& confinement) {
  return std::ranges::none_of(confinement.missing, [](const Shortfall& shortfall) {
    return shortfall.required || shortfall.measure == Measure::kOwnUser;
  });
}

Json ConfinePlan::to_json() const {
  Json out = Json::object();
  out.set("arguments", list_json(arguments));
  out.set("namespaces", static_cast<std::int64_t>(namespaces));
  out.set("change_user", change_user);
  out.set("uid", static_cast<std::int64_t>(uid));
  out.set("gid", static_cast<std::int64_t>(gid));
  out.set("groups", list_json(groups));
  out.set("system_paths", list_json(system_paths));
  out.set("read_paths", list_json(read_paths));
  out.set("model_path", model_path);
  out.set("devices", list_json(devices));
  out.set("socket_directory", socket_directory);
  out.set("unix_path", address.unix_path);
  out.set("host", address.host);
  out.set("port", static_cast<std::int64_t>(address.port));
  out.set("scratch_bytes", static_cast<std::int64_t>(scratch_bytes));
  out.set("processes", static_cast<std::int64_t>(processes));
  out.set("data_bytes", static_cast<std::int64_t>(data_bytes));
  out.set("seccomp", seccomp);
  out.set("landlock_abi", landlock_abi);
  return out;
}

Result<ConfinePlan> ConfinePlan::parse(std::string_view text) {
  constexpr std::int64_t kAny = (std::int64_t{1} << 53) - 1;
  const Json json = TRY(Json::parse(text, {.bytes = kMaxPlanBytes}));
  const JsonReader reader(json, "plan");
  ConfinePlan plan;
  plan.arguments = TRY(reader.strings("arguments"));
  plan.namespaces = static_cast<std::uint64_t>(TRY(reader.integer("namespaces", 0, kAny)));
  plan.change_user = TRY(reader.boolean("change_user"));
  plan.uid = static_cast<uid_t>(TRY(reader.integer("uid", 0, 4294967294)));
  plan.gid = static_cast<gid_t>(TRY(reader.integer("gid", 0, 4294967294)));
  if (const Json* groups = json.find("groups"); groups != nullptr && groups->is_array()) {
    for (const Json& group : groups->as_array()) {
      if (!group.is_integer()) return fail("json_malformed", "groups of the plan must be numbers");
      plan.groups.push_back(static_cast<gid_t>(group.as_integer()));
    }
  }
  plan.system_paths = TRY(reader.strings("system_paths"));
  plan.read_paths = TRY(reader.strings("read_paths"));
  plan.model_path = TRY(reader.string("model_path"));
  plan.devices = TRY(reader.strings("devices"));
  plan.socket_directory = TRY(reader.string("socket_directory"));
  plan.address.unix_path = TRY(reader.string("unix_path"));
  plan.address.host = TRY(reader.string("host"));
  plan.address.port = static_cast<std::uint16_t>(TRY(reader.integer("port", 0, 65535)));
  plan.scratch_bytes = static_cast<std::uint64_t>(TRY(reader.integer("scratch_bytes", 0, kAny)));
  plan.processes = static_cast<std::uint64_t>(TRY(reader.integer("processes", 0, kAny)));
  plan.data_bytes = static_cast<std::uint64_t>(TRY(reader.integer("data_bytes", 0, kAny)));
  plan.seccomp = TRY(reader.boolean("seccomp"));
  plan.landlock_abi = static_cast<int>(TRY(reader.integer("landlock_abi", 0, 1000)));
  if (plan.arguments.empty()) return fail("json_malformed", "the plan names no program");
  return plan;
}

}  // namespace tb::sentinel::runtime
