#include "sentinel/runtime/landlock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "base/error.h"
#include "base/fs.h"

namespace tb::sentinel::runtime {
namespace {

// Version 1 is in Debian 12's headers; what came later is written out here (linux/landlock.h of Linux 6.10).
constexpr std::uint64_t kRefer = 1ULL << 13;     // 2
constexpr std::uint64_t kTruncate = 1ULL << 14;  // 3
constexpr std::uint64_t kIoctlDev = 1ULL << 15;  // 5
constexpr std::uint64_t kBindTcp = 1ULL << 0;    // 4
constexpr std::uint64_t kConnectTcp = 1ULL << 1;
constexpr std::uint64_t kScopeAbstractSockets = 1ULL << 0;  // 6
constexpr std::uint64_t kScopeSignals = 1ULL << 1;
constexpr int kRuleNetPort = 2;

struct RulesetAttr {
  std::uint64_t handled_access_fs = 0;
  std::uint64_t handled_access_net = 0;
  std::uint64_t scoped = 0;
};

struct NetPortAttr {
  std::uint64_t allowed_access = 0;
  std::uint64_t port = 0;
};

constexpr std::uint64_t kFirst = (1ULL << 13) - 1;  // all thirteen rights of version 1
constexpr std::uint64_t kRead = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
constexpr std::uint64_t kNodes = LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK;
constexpr std::uint64_t kOfFiles =
    LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE | kTruncate | kIoctlDev;

[[noreturn]] void failed(std::string_view what) {
  throw Error("runtime_failed", fmt::format("landlock: {}: {}", what, std::strerror(errno)));
}

std::uint64_t handled_rights(int abi) {
  std::uint64_t out = kFirst;
  if (abi >= 2) out |= kRefer;
  if (abi >= 3) out |= kTruncate;
  if (abi >= 5) out |= kIoctlDev;
  return out;
}

void allow(int ruleset, const std::string& path, std::uint64_t rights) {
  const Fd fd(open(path.c_str(), O_PATH | O_CLOEXEC));
  if (!fd && (errno == ENOENT || errno == EACCES || errno == ENOTDIR)) return;
  if (!fd) failed(path);
  struct stat info{};
  if (fstat(fd.get(), &info) != 0) failed(path);
  if (!S_ISDIR(info.st_mode)) rights &= kOfFiles;
  const landlock_path_beneath_attr rule{.allowed_access = rights, .parent_fd = fd.get()};
  if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0U) != 0) failed(path);
}

}  // namespace

int landlock_abi() {
  const long version = syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  return version > 0 ? static_cast<int>(version) : 0;
}

void apply_landlock(const LandlockRules& rules) {
  const std::uint64_t handled = handled_rights(rules.abi);
  RulesetAttr attr{.handled_access_fs = handled};
  if (rules.abi >= 4 && rules.confine_tcp) attr.handled_access_net = kBindTcp | kConnectTcp;
  if (rules.abi >= 6) attr.scoped = kScopeAbstractSockets | kScopeSignals;
  const std::size_t bytes = rules.abi >= 6 ? 24 : rules.abi >= 4 ? 16 : 8;
  const Fd ruleset(static_cast<int>(syscall(SYS_landlock_create_ruleset, &attr, bytes, 0U)));
  if (!ruleset) failed("ruleset");
  for (const std::string& path : rules.read) allow(ruleset.get(), path, kRead & handled);
  for (const std::string& path : rules.write) allow(ruleset.get(), path, handled & ~kNodes);
  for (const std::string& path : rules.devices) {
    allow(ruleset.get(), path,
          handled & (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | kTruncate | kIoctlDev));
  }
  if (!rules.sockets.empty()) {
    allow(ruleset.get(), rules.sockets,
          LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REMOVE_FILE);
  }
  if (attr.handled_access_net != 0 && rules.port != 0) {
    const NetPortAttr rule{.allowed_access = kBindTcp, .port = rules.port};
    if (syscall(SYS_landlock_add_rule, ruleset.get(), kRuleNetPort, &rule, 0U) != 0) failed("port");
  }
  if (syscall(SYS_landlock_restrict_self, ruleset.get(), 0U) != 0) failed("restrict");
}

}  // namespace tb::sentinel::runtime
