// A read-only FUSE mount of a MountTree, answered out of a StreamReader. The only file that knows libfuse.
//
// Nothing that a reader does keeps a thread of ours: a read that must wait for a chunk leaves its request with the
// StreamReader and is answered from there. How many can wait is the kernel's to bound: kMostBackground requests of its
// readahead, and one for each thread that reads directly.
//
// stop() is what makes plaintext unreachable: from its first line on every read fails with EIO, also of files that are
// open or mapped, though the source of the chunks may hang; then the page cache of every file is dropped, so that
// mapped pages fault again and end in SIGBUS; then the connection is closed, which fails whatever comes after, and the
// mount is detached. The kernel frees the pages without overwriting them, as it does with the memory of a program that
// ends.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "deliver/chunk_read.h"
#include "deliver/mount_tree.h"
#include "deliver/page_push.h"

struct fuse_session;

namespace tb::deliver {

struct FuseOptions {
  std::string mount_point;  ///< as prepare_mount_point() gave it
  uid_t owner = 0;          ///< of the files; nobody else may open them, root neither
  bool others_pass_root =
      false;                    ///< the root directory is 0711 and ours, as a TB_MODEL_DIR is, instead of 0500 and his
  std::size_t most_pushes = 0;  ///< chunks held while they are pushed into the page cache; 0: none are
};

class FuseSession {
 public:
  static constexpr unsigned kMostBackground = 32;
  static constexpr std::size_t kReadBytes = std::size_t{1} << 20;
  /// What the kernel reads ahead of a sequential reader, if it lets us say so (root).
  static constexpr std::size_t kReadAheadBytes = std::size_t{4} << 20;

  /// Opened files whose readers are told apart; with more, some may be taken for readers here and there.
  static constexpr std::size_t kFollowed = 1024;

  /// `fault` is called with the error of each read that failed other than by stop(). Any thread.
  using Fault = std::function<void(const Error&)>;

  /// Mounts and serves. Throws Error: "mount_refused" with what libfuse said.
  FuseSession(MountTree tree, std::shared_ptr<StreamReader> reader, FuseOptions options, Fault fault);
  /// stop().
  ~FuseSession();
  FuseSession(const FuseSession&) = delete;
  FuseSession& operator=(const FuseSession&) = delete;

  /// Pushes a chunk into the page cache of the files that the kernel knows, if there is memory for it, and time within
  /// `patience`.
  void push(ChunkCache::Pin pin, std::chrono::milliseconds patience) { pusher_.push(std::move(pin), patience); }
  /// True once it was unmounted or aborted from outside, or stopped.
  bool ended() const { return ended_; }
  /// Ends it, see above. The error says what could not be undone. Once.
  Result<> stop();

  /// What libfuse's callbacks call; public for them only.
  struct Calls;

 private:
  friend struct Calls;
  struct SessionDeleter {
    void operator()(fuse_session* session) const;
  };

  void mount();
  void set_read_ahead() const;
  void serve();

  MountTree tree_;
  std::shared_ptr<StreamReader> reader_;
  /// Where the reader of each opened file goes on, to know who reads in order. A hint: files share a place in turn, so
  /// that nothing has to be given back, which the kernel does not do for files that are open when a mount ends.
  std::array<std::atomic<std::uint64_t>, kFollowed> next_{};
  std::atomic<std::uint64_t> opened_ = 0;
  FuseOptions options_;
  Fault fault_;
  std::int64_t mounted_at_s_;
  std::unique_ptr<fuse_session, SessionDeleter> session_;
  std::atomic<bool> stopping_ = false, ended_ = false;
  /// Shared with each read, so that the last one to be answered may find this object gone.
  std::shared_ptr<std::atomic<std::uint64_t>> reads_waiting_ = std::make_shared<std::atomic<std::uint64_t>>(0);
  PagePusher pusher_;
  std::vector<std::thread> threads_;
};

}  // namespace tb::deliver
