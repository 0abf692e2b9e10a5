#include "cli/doctor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <set>
#include <sstream>
#include <thread>

#include "base/crypto.h"
#include "base/fs.h"
#include "cli/console.h"
#include "deliver/mount.h"

namespace tb::cli {
namespace {

constexpr std::uint64_t kGib = std::uint64_t{1} << 30;

// The text of a small system file, or empty: what cannot be read is reported as unknown by each check.
std::string text_of(const std::string& path) {
  return read_small_file(path).value_or("");
}

std::string trimmed(std::string text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) text.pop_back();
  return text;
}

std::set<std::string> cpu_flags(const std::string& cpuinfo) {
  std::istringstream lines(cpuinfo);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("flags") && !line.starts_with("Features")) continue;
    std::istringstream words(line.substr(line.find(':') + 1));
    std::set<std::string> flags;
    for (std::string word; words >> word;) flags.insert(word);
    return flags;
  }
  return {};
}

std::optional<std::uint64_t> meminfo_bytes(const std::string& meminfo, const std::string& field) {
  std::istringstream lines(meminfo);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(field + ":")) continue;
    std::istringstream words(line.substr(field.size() + 1));
    std::uint64_t kib = 0;
    if (words >> kib) return kib * 1024;
  }
  return std::nullopt;
}

Finding instructions(const std::set<std::string>& flags, const char* name, std::initializer_list<const char*> any_of,
                     const char* what) {
  for (const char* flag : any_of) {
    if (flags.contains(flag)) return {name, Health::kOk, flag, ""};
  }
  return {name, Health::kWarning, "none",
          fmt::format("this processor has no {} instructions: expect a tenth of the speed", what)};
}

Finding memory(const std::string& root) {
  const std::string meminfo = text_of(root + "/proc/meminfo");
  const auto total = meminfo_bytes(meminfo, "MemTotal");
  const auto available = meminfo_bytes(meminfo, "MemAvailable");
  if (!total || !available) return {"memory", Health::kWarning, "unknown", "/proc/meminfo cannot be read"};
  std::string value = fmt::format("{} available of {}", human_bytes(*available), human_bytes(*total));
  const std::string limit = trimmed(text_of(root + "/sys/fs/cgroup/memory.max"));
  if (!limit.empty() && limit != "max") value += fmt::format(", limited to {} bytes by the control group", limit);
  if (*available < kGib)
    return {"memory", Health::kWarning, value, "under 1 GiB is free: a model will not fit beside its runtime"};
  return {"memory", Health::kOk, value, ""};
}

Finding swap(const std::string& root) {
  const auto total = meminfo_bytes(text_of(root + "/proc/meminfo"), "SwapTotal");
  if (!total) return {"swap", Health::kWarning, "unknown", "/proc/meminfo cannot be read"};
  if (*total == 0) return {"swap", Health::kOk, "off", ""};
  return {
      "swap", Health::kWarning, human_bytes(*total) + " on",
      "plaintext in memory can reach a disk: swapoff -a. The sentinel starts only if it may mount a tmpfs that never "
      "swaps and lock its own memory; the runtime's memory is then still the operator's to keep from swap"};
}

Finding shared_memory(const std::string& root) {
  struct statfs info{};
  if (statfs((root + "/dev/shm").c_str(), &info) != 0) {
    return {"tmpfs", Health::kWarning, "no /dev/shm",
            "mount a tmpfs at /dev/shm, or set TB_MODEL_DIR to another tmpfs"};
  }
  if (info.f_type != TMPFS_MAGIC) {
    return {"tmpfs", Health::kFault, "/dev/shm is not a tmpfs", "decrypted weights would be written to a disk there"};
  }
  const std::uint64_t block = static_cast<std::uint64_t>(info.f_bsize);
  return {
      "tmpfs", Health::kOk,
      fmt::format("/dev/shm has {} free of {}", human_bytes(info.f_bavail * block), human_bytes(info.f_blocks * block)),
      ""};
}

Finding fuse(const std::string& root) {
  const std::string device = root + "/dev/fuse";
  if (access(device.c_str(), F_OK) != 0) {
    return {"fuse", Health::kWarning, "no /dev/fuse", "load the fuse module; delivery then falls back to tmpfs"};
  }
  if (access(device.c_str(), R_OK | W_OK) != 0) {
    return {"fuse", Health::kWarning, "/dev/fuse is not ours to open", "give this user access to /dev/fuse"};
  }
  // On this machine by doing it: a container may have the device and not the right.
  if (root.empty()) {
    const auto works = deliver::mount_works();
    if (works) return {"fuse", Health::kOk, "usable", ""};
    return {"fuse", Health::kWarning, works.error().story(),
            geteuid() == 0 ? "mounting needs CAP_SYS_ADMIN; delivery then falls back to tmpfs"
                           : "install fuse3, so that a mount needs no root; delivery then falls back to tmpfs"};
  }
  for (const char* path : {"/usr/bin/fusermount3", "/bin/fusermount3"}) {
    if (access((root + path).c_str(), X_OK) == 0) return {"fuse", Health::kOk, "usable", ""};
  }
  return {"fuse", geteuid() == 0 ? Health::kOk : Health::kWarning, "/dev/fuse, without fusermount3",
          geteuid() == 0 ? "" : "install fuse3, so that a mount needs no root"};
}

Finding core_dumps(const std::string& root) {
  const std::string pattern = trimmed(text_of(root + "/proc/sys/kernel/core_pattern"));
  struct rlimit limit{};
  getrlimit(RLIMIT_CORE, &limit);
  if (pattern.starts_with('|')) {
    return {"core_dumps", Health::kWarning, "piped to " + pattern.substr(1, pattern.find(' ') - 1),
            "a crashing runtime would hand its memory to that program: set kernel.core_pattern to an empty value"};
  }
  if (limit.rlim_cur != 0 && !pattern.empty()) {
    return {"core_dumps", Health::kWarning, fmt::format("written as {}", pattern),
            "a crashing runtime would write its memory to a disk: ulimit -c 0"};
  }
  return {"core_dumps", Health::kOk, "off", ""};
}

Finding tracing(const std::string& root) {
  const std::string scope = trimmed(text_of(root + "/proc/sys/kernel/yama/ptrace_scope"));
  if (scope.empty())
    return {"ptrace", Health::kWarning, "unrestricted",
            "kernel.yama.ptrace_scope is not there: any process of the user can read another's memory"};
  if (scope == "0") return {"ptrace", Health::kWarning, "scope 0", "sysctl kernel.yama.ptrace_scope=1"};
  return {"ptrace", Health::kOk, "scope " + scope, ""};
}

Finding tpm(const std::string& root) {
  const std::string device = root + "/dev/tpmrm0";
  if (access(device.c_str(), F_OK) != 0) {
    return {"tpm", Health::kOk, "none", ""};
  }
  if (access(device.c_str(), R_OK | W_OK) != 0)
    return {"tpm", Health::kWarning, "not ours to open", "add this user to the group tss"};
  return {"tpm", Health::kOk, "/dev/tpmrm0", ""};
}

Finding kernel() {
  struct utsname name{};
  uname(&name);
  return {"kernel", Health::kOk, fmt::format("{} {} {}", name.sysname, name.release, name.machine), ""};
}

}  // namespace

std::vector<Finding> examine_machine(const std::string& root) {
  const std::set<std::string> flags = cpu_flags(text_of(root + "/proc/cpuinfo"));
  std::vector<Finding> findings;
  findings.push_back(kernel());
  findings.push_back({"cores", Health::kOk, fmt::format("{}", std::thread::hardware_concurrency()), ""});
  findings.push_back(instructions(flags, "aes", {"vaes", "aes"}, "AES"));
  findings.push_back({"aes_gcm", Health::kOk, std::string(gcm_engine_name(best_gcm_engine())), ""});
  findings.push_back(instructions(flags, "sha256", {"sha_ni", "sha2"}, "SHA-256"));
  findings.push_back(memory(root));
  findings.push_back(shared_memory(root));
  findings.push_back(swap(root));
  findings.push_back(fuse(root));
  findings.push_back(core_dumps(root));
  findings.push_back(tracing(root));
  findings.push_back(tpm(root));
  return findings;
}

}  // namespace tb::cli
