#include "deliver/guard.h"

#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/vfs.h>

#include <cerrno>

#include "base/fs.h"
#include "deliver/mount_table.h"
#include "deliver/self_access.h"

namespace tb::deliver {
namespace {

std::string parent_of(const std::string& path) {
  const auto end = path.find_last_not_of('/');
  if (end == std::string::npos) return "/";
  const auto slash = path.rfind('/', end);
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

Result<> require_memory(const std::string& path) {
  struct statfs fs{};
  std::string at = path;
  while (statfs(at.c_str(), &fs) != 0) {
    if (errno == EINTR) continue;
    if (errno != ENOENT || at == "/" || at == ".") return fail(error_from_errno(errno, at));
    at = parent_of(at);
  }
  const auto magic = static_cast<std::uint64_t>(fs.f_type) & 0xffffffffU;
  if (magic == TMPFS_MAGIC || magic == RAMFS_MAGIC) return {};
  return fail("plaintext_on_disk",
              fmt::format("{} is not in memory (file system type {:#x}): plaintext would reach a disk", path, magic));
}

Result<> require_own_fuse(const std::string& path, std::string_view source) {
  const auto row = mount_at(own_mount_table(), path);
  struct statfs fs{};
  int answer = -1;
  if (row && row->type.starts_with("fuse") && row->source == source) {
    access_own_mount([&] { answer = statfs(path.c_str(), &fs); });
  }
  if (answer == 0 && (static_cast<std::uint64_t>(fs.f_type) & 0xffffffffU) == FUSE_SUPER_MAGIC) {
    return {};
  }
  return fail("plaintext_on_disk", path + " is not a mount of ours");
}

Result<> require_no_swap(const Kernel& kernel) {
  if (kernel.swap_device.empty()) return {};
  return fail("swap_enabled", fmt::format("swap is on ({}): memory can reach a disk", kernel.swap_device));
}

Result<> require_unswappable(const Kernel& kernel) {
  if (kernel.swap_device.empty()) return {};
  // On fault: locking must not touch what is only reserved.
  if (kernel.lock_memory && mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0) return {};
  return fail("swap_enabled", fmt::format("swap is on ({}) and this process may not lock its memory (CAP_IPC_LOCK)",
                                          kernel.swap_device));
}

Result<> forbid_core_dumps() {
  const rlimit none{0, 0};
  if (setrlimit(RLIMIT_CORE, &none) != 0) return fail(error_from_errno(errno, "core dump limit"));
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return fail(error_from_errno(errno, "dumpable flag"));
  return {};
}

}  // namespace tb::deliver
