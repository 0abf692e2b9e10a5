#include "deliver/fuse_session.h"

#define FUSE_USE_VERSION 312
#include <fcntl.h>
#include <fmt/format.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "base/fs.h"
#include "deliver/fuse_notes.h"
#include "deliver/mount_point.h"
#include "deliver/mount_table.h"
#include "deliver/self_access.h"

namespace tb::deliver {
namespace {

/// Nothing ever changes below a mount: what the kernel was told it may keep.
constexpr double kForEverSeconds = 1e9;
constexpr std::size_t kBlockBytes = 4096;
/// A small read that was answered waits so long at most for a place in the pusher's queue: less than opening its chunk
/// again would cost those who come after it.
constexpr std::chrono::milliseconds kPushPatience{2};
/// Reads up to this size that do not go on where the one before ended have the rest of their chunk pushed.
constexpr std::size_t kSmallRead = std::size_t{128} << 10;
/// The kernel sends the pieces of its readahead in order, but two threads of ours may take them out of order.
constexpr std::uint64_t kNear = std::uint64_t{4} << 20;

/// What libfuse said last on this thread, for the error that follows.
thread_local std::string g_said;

void keep_log(fuse_log_level, const char* format, va_list arguments) {
  char text[512];
  const int length = vsnprintf(text, sizeof text, format, arguments);
  if (length <= 0) return;
  g_said.assign(text, std::min<std::size_t>(static_cast<std::size_t>(length), sizeof text - 1));
  while (!g_said.empty() && g_said.back() == '\n') g_said.pop_back();
}

}  // namespace

struct FuseSession::Calls {
  static FuseSession& self(fuse_req_t request) { return *static_cast<FuseSession*>(fuse_req_userdata(request)); }

  static void init(void*, fuse_conn_info* connection) {
    connection->max_write = kReadBytes;  // libfuse derives the pages of a request from it
    connection->max_readahead = kReadAheadBytes;
    connection->max_background = kMostBackground;
    connection->congestion_threshold = kMostBackground * 3 / 4;
    constexpr unsigned wanted = FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO | FUSE_CAP_PARALLEL_DIROPS;
    connection->want |= connection->capable & wanted;
    // A request is read into memory: it is a hundred bytes. Attributes never change, so nothing is invalidated by them.
    connection->want &= ~static_cast<unsigned>(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE |
                                               FUSE_CAP_AUTO_INVAL_DATA);
  }

  static struct stat attributes(const FuseSession& session, Inode inode) {
    const MountNode& node = *session.tree_.node(inode);
    const bool passable = inode == kRootInode && session.options_.others_pass_root;
    struct stat st{};
    st.st_ino = inode;
    st.st_uid = passable ? geteuid() : session.options_.owner;
    st.st_gid = getegid();
    st.st_mode = node.directory ? S_IFDIR | (passable ? 0711U : 0500U) : S_IFREG | (node.executable ? 0500U : 0400U);
    st.st_nlink = node.directory ? 2 + node.subdirectories : 1;
    st.st_size = static_cast<off_t>(node.bytes);
    st.st_blocks = static_cast<blkcnt_t>((node.bytes + 511) / 512);
    st.st_blksize = kBlockBytes;
    st.st_atim.tv_sec = st.st_mtim.tv_sec = st.st_ctim.tv_sec = session.mounted_at_s_;
    return st;
  }

  static void lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
    const FuseSession& session = self(request);
    fuse_entry_param entry{};
    entry.entry_timeout = entry.attr_timeout = kForEverSeconds;
    entry.ino = session.tree_.find(parent, name);  // none: the kernel remembers that too
    if (entry.ino != kNoInode) entry.attr = attributes(session, entry.ino);
    fuse_reply_entry(request, &entry);
  }

  static void getattr(fuse_req_t request, fuse_ino_t inode, fuse_file_info*) {
    const FuseSession& session = self(request);
    if (session.tree_.node(inode) == nullptr) return void(fuse_reply_err(request, ENOENT));
    const struct stat st = attributes(session, inode);
    fuse_reply_attr(request, &st, kForEverSeconds);
  }

  /// default_permissions let root pass everything; here it does not.
  static int may_open(fuse_req_t request, Inode inode, const fuse_file_info* info) {
    const FuseSession& session = self(request);
    if (session.stopping_) return EIO;
    if (session.tree_.node(inode) == nullptr) return ENOENT;
    if ((info->flags & O_ACCMODE) != O_RDONLY) return EROFS;
    const uid_t who = fuse_req_ctx(request)->uid;
    const bool own_root = inode == kRootInode && session.options_.others_pass_root && who == geteuid();
    return who == session.options_.owner || own_root ? 0 : EACCES;
  }

  static void open(fuse_req_t request, fuse_ino_t inode, fuse_file_info* info) {
    if (const int refused = may_open(request, inode, info)) return void(fuse_reply_err(request, refused));
    FuseSession& session = self(request);
    info->fh = session.opened_++ % kFollowed;
    session.next_[info->fh] = 0;
    info->keep_cache = 1;
    info->noflush = 1;
    fuse_reply_open(request, info);
  }

  static void opendir(fuse_req_t request, fuse_ino_t inode, fuse_file_info* info) {
    if (const int refused = may_open(request, inode, info)) return void(fuse_reply_err(request, refused));
    info->keep_cache = 1;
    info->cache_readdir = 1;
    fuse_reply_open(request, info);
  }

  static void readdir(fuse_req_t request, fuse_ino_t inode, std::size_t size, off_t offset, fuse_file_info*) {
    const FuseSession& session = self(request);
    const MountNode* node = session.tree_.node(inode);
    if (node == nullptr || !node->directory) return void(fuse_reply_err(request, ENOTDIR));
    std::vector<char> buffer(std::min<std::size_t>(size, 65536));
    std::size_t used = 0;
    const std::size_t entries = node->children.size() + 2;
    for (auto at = static_cast<std::size_t>(offset); at < entries; ++at) {
      const Inode entry = at == 0 ? inode : at == 1 ? node->parent : node->children[at - 2];
      const MountNode& child = *session.tree_.node(entry);
      struct stat st{};
      st.st_ino = entry;
      st.st_mode = child.directory ? S_IFDIR : S_IFREG;
      const char* name = at == 0 ? "." : at == 1 ? ".." : child.name.c_str();
      const std::size_t more =
          fuse_add_direntry(request, buffer.data() + used, buffer.size() - used, name, &st, static_cast<off_t>(at + 1));
      if (more > buffer.size() - used) break;
      used += more;
    }
    fuse_reply_buf(request, buffer.data(), used);
  }

  static void statfs(fuse_req_t request, fuse_ino_t) {
    const FuseSession& session = self(request);
    struct statvfs fs{};
    fs.f_bsize = fs.f_frsize = kBlockBytes;
    fs.f_blocks = session.tree_.file_bytes() / kBlockBytes + 1;
    fs.f_files = session.tree_.size();
    fs.f_namemax = 255;
    fs.f_flag = ST_RDONLY;
    fuse_reply_statfs(request, &fs);
  }

  static void read(fuse_req_t request, fuse_ino_t inode, std::size_t size, off_t at, fuse_file_info* info) {
    FuseSession& session = self(request);
    const MountNode* node = session.tree_.node(inode);
    const auto offset = static_cast<std::uint64_t>(at);
    if (session.stopping_ || node == nullptr) return void(fuse_reply_err(request, EIO));
    if (offset >= node->bytes) return void(fuse_reply_buf(request, nullptr, 0));
    const auto bytes = static_cast<std::size_t>(std::min<std::uint64_t>(size, node->bytes - offset));
    const std::uint64_t expected = session.next_[info->fh].exchange(offset + bytes);
    const bool goes_on = offset == expected;
    const bool near = expected != 0 && offset + kNear >= expected && offset <= expected + kNear;
    if (goes_on || (near && bytes > kSmallRead)) session.reader_->going_on(node->offset + offset);
    const bool push = !goes_on && bytes <= kSmallRead && (info->flags & O_DIRECT) == 0;
    const auto waiting = session.reads_waiting_;
    ++*waiting;
    session.reader_->read(node->offset + offset, bytes, [&session, waiting, request, push](Result<ReadAnswer> answer) {
      give(session, request, push, std::move(answer));
      --*waiting;
      waiting->notify_all();
    });
  }

  static void give(FuseSession& session, fuse_req_t request, bool push, Result<ReadAnswer> answer) {
    if (!answer) {
      if (!session.stopping_) session.fault_(answer.error());
      fuse_reply_err(request, EIO);
      return;
    }
    // Straight from the chunk into the reader's pages: one copy.
    std::vector<iovec> pieces;
    for (const ByteView piece : answer->pieces) {
      pieces.push_back({const_cast<std::uint8_t*>(piece.data()), piece.size()});
    }
    fuse_reply_iov(request, pieces.data(), static_cast<int>(pieces.size()));
    // After the reply: storing waits for pages that the kernel locked for it.
    if (push && session.options_.most_pushes != 0) {
      for (ChunkCache::Pin& pin : answer->pins) session.pusher_.push(std::move(pin), kPushPatience);
    }
  }

  template <typename... Arguments>
  static void refuse_write(fuse_req_t request, Arguments...) {
    fuse_reply_err(request, EROFS);
  }

  static fuse_lowlevel_ops operations() {
    fuse_lowlevel_ops all{};
    all.init = init;
    all.lookup = lookup;
    all.getattr = getattr;
    all.open = open;
    all.opendir = opendir;
    all.readdir = readdir;
    all.statfs = statfs;
    all.read = read;
    // The mount is read-only, so the kernel asks none of these, unless root mounts it again with other flags.
    all.setattr = refuse_write;
    all.mknod = refuse_write;
    all.mkdir = refuse_write;
    all.unlink = refuse_write;
    all.rmdir = refuse_write;
    all.symlink = refuse_write;
    all.rename = refuse_write;
    all.link = refuse_write;
    all.create = refuse_write;
    all.write = refuse_write;
    all.fallocate = refuse_write;
    all.setxattr = refuse_write;
    all.removexattr = refuse_write;
    return all;
  }
};

void FuseSession::SessionDeleter::operator()(fuse_session* session) const {
  fuse_session_destroy(session);
}

FuseSession::FuseSession(MountTree tree, std::shared_ptr<StreamReader> reader, FuseOptions options, Fault fault)
    : tree_(std::move(tree)),
      reader_(std::move(reader)),
      options_(std::move(options)),
      fault_(std::move(fault)),
      mounted_at_s_(time(nullptr)),
      pusher_(tree_, options_.most_pushes, std::clamp(std::thread::hardware_concurrency(), 1U, 4U),
              [this]() -> PagePusher::Store {
                return [notes = std::make_shared<FuseNotes>(fuse_session_fd(session_.get()))](
                           Inode inode, std::uint64_t offset, ByteView bytes) { notes->store(inode, offset, bytes); };
              }) {
  mount();
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  const unsigned count = std::clamp(std::thread::hardware_concurrency(), 2U, 4U);
  for (unsigned i = 0; i < count; ++i) threads_.emplace_back([this] { serve(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  set_read_ahead();
}

FuseSession::~FuseSession() {
  (void)stop();
}

void FuseSession::mount() {
  fuse_set_log_func(keep_log);
  g_said.clear();
  std::string flags = fmt::format("ro,nosuid,nodev,noexec,default_permissions,fsname={0},subtype={0}", kMountSource);
  if (options_.owner != geteuid()) flags += ",allow_other";
  std::vector<std::string> words{"trustbridge", "-o", flags};
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  fuse_args arguments = FUSE_ARGS_INIT(static_cast<int>(argv.size()), argv.data());
  static const fuse_lowlevel_ops operations = Calls::operations();
  session_.reset(fuse_session_new(&arguments, &operations, sizeof operations, this));
  fuse_opt_free_args(&arguments);
  if (!session_ || fuse_session_mount(session_.get(), options_.mount_point.c_str()) != 0) {
    throw Error("mount_refused",
                fmt::format("{} cannot be mounted{}{}", options_.mount_point, g_said.empty() ? "" : ": ", g_said));
  }
}

void FuseSession::set_read_ahead() const {
  // Answered by our threads, after the kernel has taken its own value from the first exchange.
  struct stat st{};
  int answer = 0;
  access_own_mount([&] { answer = stat(options_.mount_point.c_str(), &st); });
  if (answer != 0) return;
  const std::string path = fmt::format("/sys/class/bdi/{}:{}/read_ahead_kb", major(st.st_dev), minor(st.st_dev));
  const Fd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  // An ordinary user may not; then the kernel reads ahead as it does elsewhere, 128 KiB.
  if (file) (void)write_full(file.get(), as_bytes(std::to_string(kReadAheadBytes >> 10)), path);
}

void FuseSession::serve() {
  // Cancelled while it waits for a request, and only there: the kernel wakes exactly one of those who block in read(2),
  // where poll(2) would wake them all for each request.
  const std::unique_ptr<fuse_buf, void (*)(fuse_buf*)> buffer(new fuse_buf{}, [](fuse_buf* used) {
    std::free(used->mem);
    delete used;
  });
  int ignored = 0;
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &ignored);
  while (fuse_session_exited(session_.get()) == 0) {
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &ignored);
    const int received = fuse_session_receive_buf(session_.get(), buffer.get());
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &ignored);
    if (received > 0) {
      fuse_session_process_buf(session_.get(), buffer.get());
    } else if (received != -EINTR) {
      break;
    }
  }
  ended_ = true;
}

Result<> FuseSession::stop() {
  if (stopping_.exchange(true)) return {};
  reader_->cancel();
  pusher_.stop();
  // Our threads still answer: dropping pages waits for reads that have them locked.
  std::thread([this] {
    const FuseNotes notes(fuse_session_fd(session_.get()));
    for (Inode inode = kRootInode; inode <= tree_.size(); ++inode) {
      if (tree_.node(inode)->bytes != 0) notes.drop(inode);
    }
  }).join();
  for (std::thread& thread : threads_) pthread_cancel(thread.native_handle());
  for (std::thread& thread : threads_) thread.join();
  ended_ = true;
  for (auto waiting = reads_waiting_->load(); waiting != 0; waiting = reads_waiting_->load()) {
    reads_waiting_->wait(waiting);
  }
  const auto still_mounted = [&] {
    const auto there = mount_at(own_mount_table(), options_.mount_point);
    return there && there->is_ours();
  };
  // Closes the device first, so that the kernel ends the connection whoever has files open; then detaches. What was
  // unmounted from outside is only closed, and what was aborted from outside is left mounted by it.
  if (still_mounted()) fuse_session_unmount(session_.get());
  session_.reset();
  return still_mounted() ? detach_mount(options_.mount_point) : Result<>();
}

}  // namespace tb::deliver
