// What this program tells the kernel about a mount of its own without being asked: pages to keep, pages to drop.
//
// The kernel takes such a word only once it has the lock of each page, and a page that somebody reads is locked until
// we have answered. Whoever waits there cannot be killed, and would keep the device open that the answer has to come
// from: a process that was killed meanwhile would never end. So each thread that tells has a device of its own
// (FUSE_DEV_IOC_CLONE) and no other descriptor of the process: then the session's device goes with the other threads,
// and the kernel ends the reads that were taken up there.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "deliver/mount_tree.h"

namespace tb::deliver {

class FuseNotes {
 public:
  /// For the thread that makes it and no other, which keeps no descriptor from here on but the first three. Where the
  /// kernel or the rights of this user allow no second device it tells over `session_device`.
  explicit FuseNotes(int session_device);
  ~FuseNotes();
  FuseNotes(const FuseNotes&) = delete;
  FuseNotes& operator=(const FuseNotes&) = delete;

  /// Bytes for the page cache, whole pages or the end of the file. Whatever the kernel says: they are read when they
  /// are wanted.
  void store(Inode inode, std::uint64_t offset, ByteView bytes) const;
  /// All pages of a file go; returns when they have.
  void drop(Inode inode) const;

 private:
  void tell(int code, const void* what, std::size_t what_bytes, ByteView bytes) const;
  int device_;
  bool is_ours_ = false;  ///< to be closed: it is in no other thread's table
};

}  // namespace tb::deliver
