#include "deliver/fuse_notes.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>

namespace tb::deliver {
namespace {

void keep_only(int device) {
  constexpr unsigned kFirst = STDERR_FILENO + 1;
  const auto kept = static_cast<unsigned>(device);
  if (kept > kFirst) (void)close_range(kFirst, kept - 1, 0);
  (void)close_range(kept + 1, ~0U, 0);
}

/// -1 if there is none to be had. By plain system calls, for a table of descriptors that is this thread's: what watches
/// the process's own (sanitizers) would take the same number for the same file.
int clone_of(int session_device) {
  const auto device = static_cast<int>(syscall(SYS_openat, AT_FDCWD, "/dev/fuse", O_RDWR | O_CLOEXEC, 0));
  if (device < 0) return -1;
  auto of = static_cast<std::uint32_t>(session_device);
  if (syscall(SYS_ioctl, device, FUSE_DEV_IOC_CLONE, &of) == 0) return device;
  syscall(SYS_close, device);
  return -1;
}

}  // namespace

FuseNotes::FuseNotes(int session_device) : device_(session_device) {
  if (unshare(CLONE_FILES) != 0) return;
  is_ours_ = true;
  if (const int own = clone_of(session_device); own >= 0) device_ = own;
  keep_only(device_);
}

FuseNotes::~FuseNotes() {
  if (is_ours_) syscall(SYS_close, device_);
}

void FuseNotes::store(Inode inode, std::uint64_t offset, ByteView bytes) const {
  const fuse_notify_store_out out{
      .nodeid = inode, .offset = offset, .size = static_cast<std::uint32_t>(bytes.size()), .padding = 0};
  tell(FUSE_NOTIFY_STORE, &out, sizeof out, bytes);
}

void FuseNotes::drop(Inode inode) const {
  const fuse_notify_inval_inode_out out{.ino = inode, .off = 0, .len = 0};
  tell(FUSE_NOTIFY_INVAL_INODE, &out, sizeof out, {});
}

void FuseNotes::tell(int code, const void* what, std::size_t what_bytes, ByteView bytes) const {
  fuse_out_header header{};
  header.len = static_cast<std::uint32_t>(sizeof header + what_bytes + bytes.size());
  header.error = code;  // unique 0: nobody asked
  const std::array parts{iovec{&header, sizeof header}, iovec{const_cast<void*>(what), what_bytes},
                         iovec{const_cast<std::uint8_t*>(bytes.data()), bytes.size()}};
  (void)!syscall(SYS_writev, device_, parts.data(), static_cast<int>(bytes.empty() ? 2 : 3));
}

}  // namespace tb::deliver
