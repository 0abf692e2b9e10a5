// What keeps a runtime from everything but answering: the measures, what this machine can do of them, and the plan made
// of both. Pure: facts and a request in, a plan out, which confined_init.h carries out. docs/isolation.md has the
// reader's side.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "sentinel/config.h"

namespace tb::sentinel::runtime {

enum class Measure : std::uint8_t {
  kNetworkNamespace,
  kMountNamespace,
  kPidNamespace,
  kIpcNamespace,
  kUtsNamespace,
  kOwnUser,
  kNoCapabilities,
  kNoNewPrivileges,
  kSeccomp,
  kLandlock,
  kNoCoreDumps,
  kProcessLimit,
  kMemoryLimit,
  kNoSwap,
};

struct MeasureInfo {
  Measure measure;
  std::string_view name;    ///< stable: "network_namespace"
  std::string_view stops;   ///< what a runtime cannot do while it is in force
  std::string_view advice;  ///< how a machine gets it
};

/// One row for each measure, in the order of the enumeration.
std::span<const MeasureInfo> all_measures();
inline constexpr std::size_t kMeasures = 14;
std::string_view name_of(Measure measure);

/// What the kernel and our rights allow; found out by kernel_facts.h, made up by tests.
struct KernelFacts {
  std::array<std::string, kMeasures> faults;  ///< why a measure cannot be had; empty: it can
  bool through_user_namespace = false;        ///< namespaces come only with a user namespace around them
  int landlock_abi = 0;
  bool swap_is_on = false;
  std::string group_directory;  ///< cgroup v2 directory in which groups with a memory limit can be made; empty: none

  const std::string& fault(Measure measure) const { return faults[static_cast<std::size_t>(measure)]; }
  std::string& fault(Measure measure) { return faults[static_cast<std::size_t>(measure)]; }
};

struct ConfineRequest {
  std::vector<std::string> arguments;  ///< the program first
  std::string model_path;              ///< what the runtime reads: readable inside at the same path
  RuntimeAddress address;              ///< a unix socket's directory is made inside, writable
  uid_t uid = 0;
  bool own_user = true;      ///< uid is not ours
  bool shared_user = false;  ///< TB_ALLOW_SHARED_UID: own_user may be missing
  std::vector<std::string> read_paths, devices;
  std::uint64_t scratch_bytes = 0;
  std::uint64_t memory_bytes = 0;  ///< 0: no limit
};

struct Shortfall {
  Measure measure;
  std::string why;
  bool required = true;  ///< `full` cannot do without
};

/// What confined_init does. Paths are absolute and the same inside and outside.
struct ConfinePlan {
  std::vector<std::string> arguments;
  std::uint64_t namespaces = 0;  ///< CLONE_NEW* flags
  bool change_user = false;
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;              ///< those that the devices belong to
  std::vector<std::string> system_paths;  ///< read-only, where they are there
  std::vector<std::string> read_paths;    ///< read-only, and must be there
  std::string model_path;
  std::vector<std::string> devices;
  std::string socket_directory;  ///< empty: the runtime listens on TCP
  RuntimeAddress address;
  std::uint64_t scratch_bytes = 0;
  std::uint64_t processes = 0;   ///< most processes and threads of the user; 0: as it is
  std::uint64_t data_bytes = 0;  ///< most private writable memory of one process; 0: no limit
  bool seccomp = true;
  int landlock_abi = 0;  ///< 0: without

  bool has(std::uint64_t flag) const { return (namespaces & flag) != 0; }
  Json to_json() const;
  /// "json_malformed" and its like unless to_json() wrote it.
  static Result<ConfinePlan> parse(std::string_view text);
};

struct Confinement {
  ConfinePlan plan;
  std::vector<Measure> in_force;
  std::vector<Shortfall> missing;
  std::string group_directory;     ///< where the runtime's own control group goes; empty: it has none
  std::uint64_t memory_bytes = 0;  ///< of that group
};

Confinement plan_confinement(const ConfineRequest& request, const KernelFacts& facts);

/// Throws "isolation_impossible", naming each required measure that is missing and why.
void require_full(const Confinement& confinement);

/// True if everything is in force that a contract with runtime_isolation = required asks for: all that `full` requires,
/// own_user included.
bool covers_contract(const Confinement& confinement);

}  // namespace tb::sentinel::runtime
