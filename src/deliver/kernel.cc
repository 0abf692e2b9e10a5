#include "deliver/kernel.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>

#include "base/fs.h"
#include "deliver/own_mount.h"
#include "deliver/pipe_pages.h"

namespace tb::deliver {
namespace {

constexpr std::size_t kPageBytes = 4096;

std::string text_of(const std::string& path) {
  return read_small_file(path).value_or("");
}

bool has_capability(unsigned capability) {
  __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> sets{};
  if (syscall(SYS_capget, &head, sets.data()) != 0) return false;
  return (sets[capability / 32].effective >> (capability % 32) & 1U) != 0;
}

/// Whether a large file on the mount gets huge pages: the kernel says so by its block size, also where the
/// administrator denied what the mount's options ask for.
bool gives_huge_pages(int root) {
  const Fd file(openat(root, "probe", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  struct stat st{};
  return file && ftruncate(file.get(), kHugePageBytes) == 0 && fstat(file.get(), &st) == 0 &&
         static_cast<std::size_t>(st.st_blksize) >= kHugePageBytes;
}

void probe_tmpfs(Kernel& kernel) {
  constexpr std::uint64_t kProbeBytes = 4 * kHugePageBytes;
  kernel.own_tmpfs = OwnMount::make({.bytes = kProbeBytes}).has_value();
  if (!kernel.own_tmpfs) return;
  kernel.tmpfs_noswap = OwnMount::make({.bytes = kProbeBytes, .noswap = true}).has_value();
  for (const char* huge : {"within_size", "always"}) {
    const auto mount = OwnMount::make({.bytes = kProbeBytes, .huge = huge});
    if (!mount || !gives_huge_pages(mount->root())) continue;
    kernel.tmpfs_huge = huge;
    return;
  }
}

void probe_pipe(Kernel& kernel) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) return;
  const Fd reading(ends[0]), writing(ends[1]);
  // Without CAP_SYS_RESOURCE there is a limit (fs.pipe-max-size), and a lower one for who holds many pipes.
  for (std::size_t bytes = kMostPipeBytes; bytes >= kPageBytes; bytes /= 2) {
    const int got = fcntl(writing.get(), F_SETPIPE_SZ, static_cast<int>(bytes));
    if (got < 0) continue;
    kernel.pipe_bytes = static_cast<std::size_t>(got);
    break;
  }
  PipePages pages(kPageBytes);
  pages.span()[0] = 'x';
  const iovec piece{pages.span().data(), kPageBytes};
  char back = 0;
  kernel.vmsplice = vmsplice(writing.get(), &piece, 1, SPLICE_F_NONBLOCK) == kPageBytes &&
                    read(reading.get(), &back, 1) == 1 && back == 'x';
}

/// A kernel without swap has no such file; one that cannot be read is no proof of anything.
std::string probe_swap() {
  const auto table = read_small_file("/proc/swaps");
  if (table) return swap_device(*table);
  return table.error().code() == Code::kNotFound ? "" : "perhaps: " + table.error().story();
}

}  // namespace

std::string swap_device(std::string_view proc_swaps) {
  const auto heading_end = proc_swaps.find('\n');
  if (heading_end == std::string_view::npos) return {};
  const std::string_view rows = proc_swaps.substr(heading_end + 1);
  return std::string(rows.substr(0, rows.find_first_of(" \t\n")));
}

bool huge_pages_on_request(std::string_view enabled) {
  return enabled.find("[always]") != std::string_view::npos || enabled.find("[madvise]") != std::string_view::npos;
}

Kernel probe_kernel() {
  Kernel kernel;
  probe_tmpfs(kernel);
  probe_pipe(kernel);
  kernel.anonymous_huge_pages = huge_pages_on_request(text_of("/sys/kernel/mm/transparent_hugepage/enabled"));
  rlimit limit{};
  kernel.lock_memory =
      has_capability(CAP_IPC_LOCK) || (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY);
  kernel.swap_device = probe_swap();
  return kernel;
}

}  // namespace tb::deliver
