// doctor's findings about what a delivery can use of the kernel, by deliver's own probes: what they say is what the
// sentinel will do, if it runs as this user with these rights.
#include <fmt/format.h>

#include "cli/console.h"
#include "cli/doctor.h"

namespace tb::cli {
namespace {

constexpr std::size_t kGoodPipeBytes = std::size_t{1} << 20;

Finding own_tmpfs(const deliver::Kernel& kernel) {
  if (!kernel.own_tmpfs) {
    return {
        "own_tmpfs", Health::kWarning, "not allowed",
        "CAP_SYS_ADMIN and a kernel of 5.2 or newer let the sentinel mount one; or mount one with huge=within_size at "
        "TB_MODEL_DIR: first writes get several times faster"};
  }
  return {"own_tmpfs", Health::kOk, kernel.tmpfs_noswap ? "can be mounted, never swaps" : "can be mounted", ""};
}

Finding huge_pages(const deliver::Kernel& kernel) {
  std::string value = "tmpfs " + (kernel.tmpfs_huge.empty() ? "none" : kernel.tmpfs_huge);
  value += kernel.anonymous_huge_pages ? ", memory on request" : ", memory none";
  // Without a mount of our own nothing was tried out.
  if (kernel.own_tmpfs && kernel.tmpfs_huge.empty()) {
    return {
        "huge_pages", Health::kWarning, value,
        "echo never > /sys/kernel/mm/transparent_hugepage/shmem_enabled if it says deny, and see that 2 MiB pages are "
        "free"};
  }
  if (!kernel.anonymous_huge_pages) {
    return {"huge_pages", Health::kWarning, value,
            "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled: decryption and delivery by fifo get faster"};
  }
  return {"huge_pages", Health::kOk, value, ""};
}

Finding pipe(const deliver::Kernel& kernel) {
  const bool gives = kernel.vmsplice && kernel.anonymous_huge_pages;
  const std::string value = fmt::format("{}, {}", human_bytes(kernel.pipe_bytes), gives ? "without a copy" : "copied");
  if (kernel.pipe_bytes < kGoodPipeBytes) {
    return {"pipe", Health::kWarning, value, "sysctl fs.pipe-max-size=1048576: delivery by fifo gets faster"};
  }
  if (!kernel.vmsplice) {
    return {"pipe", Health::kWarning, value, "allow the system call vmsplice: delivery by fifo gets twice as fast"};
  }
  return {"pipe", Health::kOk, value, ""};
}

Finding locked_memory(const deliver::Kernel& kernel) {
  if (kernel.lock_memory) return {"locked_memory", Health::kOk, "allowed", ""};
  if (kernel.swap_device.empty()) return {"locked_memory", Health::kOk, "limited, and swap is off", ""};
  return {"locked_memory", Health::kWarning, "limited",
          "with swap on the sentinel starts only if it can lock its memory: CAP_IPC_LOCK, or ulimit -l unlimited"};
}

}  // namespace

std::vector<Finding> examine_delivery(const deliver::Kernel& kernel) {
  return {own_tmpfs(kernel), huge_pages(kernel), pipe(kernel), locked_memory(kernel)};
}

}  // namespace tb::cli
