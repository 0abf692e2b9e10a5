#include "deliver/guard.h"

#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/vfs.h>

#include <cerrno>

#include "base/fs.h"

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

Result<> require_no_swap(std::string_view proc_swaps) {
  const auto heading_end = proc_swaps.find('\n');
  if (heading_end == std::string_view::npos) return {};
  const std::string_view rows = proc_swaps.substr(heading_end + 1);
  const auto first = rows.substr(0, rows.find_first_of(" \t\n"));
  if (first.empty()) return {};
  return fail("swap_enabled", fmt::format("swap is on ({}): memory can reach a disk", first));
}

Result<> require_no_swap() {
  auto text = read_small_file("/proc/swaps");
  if (!text) {
    // A kernel without swap has no such file.
    if (text.error().code() == Code::kNotFound) return {};
    return fail(std::move(text.error()));
  }
  return require_no_swap(*text);
}

Result<> forbid_core_dumps() {
  const rlimit none{0, 0};
  if (setrlimit(RLIMIT_CORE, &none) != 0) return fail(error_from_errno(errno, "core dump limit"));
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return fail(error_from_errno(errno, "dumpable flag"));
  return {};
}

}  // namespace tb::deliver
