#include "deliver/kernel.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/fs.h"
#include "deliver/own_mount.h"

namespace tb::deliver {
namespace {

constexpr std::size_t kPageBytes = 4096;

std::string text_of(const std::string& path) {
  return read_small_file(path, std::size_t{16} << 20).value_or("");
}

bool has_capability(unsigned capability) {
  __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> sets{};
  if (syscall(SYS_capget, &head, sets.data()) != 0) return false;
  return (sets[capability / 32].effective >> (capability % 32) & 1U) != 0;
}

/// Two mappings of a huge page each, one of them aligned.
class Span {
 public:
  Span(int flags, int fd) {
    base_ = mmap(nullptr, 2 * kHugePageBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base_ == MAP_FAILED) return;
    const auto at = (reinterpret_cast<std::uintptr_t>(base_) + kHugePageBytes - 1) & ~(kHugePageBytes - 1);
    void* p = mmap(reinterpret_cast<void*>(at), kHugePageBytes, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd, 0);
    if (p != MAP_FAILED) data_ = static_cast<char*>(p);
  }
  ~Span() {
    if (base_ != MAP_FAILED) munmap(base_, 2 * kHugePageBytes);
  }
  Span(const Span&) = delete;
  Span& operator=(const Span&) = delete;
  char* data() const { return data_; }

 private:
  void* base_ = MAP_FAILED;
  char* data_ = nullptr;
};

/// Whether a file on the mount gets a huge page, written as a delivery writes it.
bool gives_huge_pages(int root) {
  const Fd file(openat(root, "probe", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file || ftruncate(file.get(), kHugePageBytes) != 0) return false;
  const Bytes zeros(kHugePageBytes);
  if (!pwrite_full(file.get(), zeros, 0, "probe")) return false;
  const Span span(MAP_SHARED, file.get());
  if (span.data() == nullptr) return false;
  (void)*static_cast<volatile char*>(span.data());
  return has_huge_page(text_of("/proc/self/smaps"), reinterpret_cast<std::uintptr_t>(span.data()));
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
  const Span span(MAP_PRIVATE | MAP_ANONYMOUS, -1);
  if (span.data() == nullptr) return;
  span.data()[0] = 'x';
  const iovec piece{span.data(), kPageBytes};
  char back = 0;
  kernel.vmsplice = vmsplice(writing.get(), &piece, 1, SPLICE_F_NONBLOCK) == kPageBytes &&
                    read(reading.get(), &back, 1) == 1 && back == 'x';
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

bool has_huge_page(std::string_view smaps, std::uintptr_t address) {
  const std::string start = fmt::format("{:08x}-", address);
  const auto at = smaps.starts_with(start) ? 0 : smaps.find("\n" + start);
  if (at == std::string_view::npos) return false;
  smaps.remove_prefix(at);
  // VmFlags is the last field of a mapping.
  smaps = smaps.substr(0, smaps.find("VmFlags:"));
  constexpr std::string_view field = "ShmemPmdMapped:";
  const auto named = smaps.find(field);
  if (named == std::string_view::npos) return false;
  const auto digit = smaps.find_first_not_of(' ', named + field.size());
  return digit != std::string_view::npos && smaps[digit] > '0' && smaps[digit] <= '9';
}

Kernel probe_kernel() {
  Kernel kernel;
  probe_tmpfs(kernel);
  probe_pipe(kernel);
  kernel.anonymous_huge_pages = huge_pages_on_request(text_of("/sys/kernel/mm/transparent_hugepage/enabled"));
  rlimit limit{};
  kernel.lock_memory =
      has_capability(CAP_IPC_LOCK) || (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY);
  kernel.swap_device = swap_device(text_of("/proc/swaps"));
  return kernel;
}

}  // namespace tb::deliver
