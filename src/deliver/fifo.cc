#include "deliver/fifo.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <vector>

#include "base/crypto.h"
#include "deliver/guard.h"
#include "deliver/pipe_end.h"
#include "deliver/reader_stream.h"

namespace tb::deliver {
namespace {

/// poll(2) passes over a negative descriptor.
constexpr int kNoStop = -1;

/// A FIFO that waits for its reader. Held by O_PATH, so that whoever renames its name changes nothing for us.
struct Waiting {
  Fd inode;
  std::string reopen() const { return fmt::format("/proc/self/fd/{}", inode.get()); }
};

class Fifo final : public Delivery {
 public:
  explicit Fifo(FifoOptions options)
      : options_(std::move(options)), kernel_(options_.kernel ? *options_.kernel : probe_kernel()) {
    if (!options_.allow_swap) value_or_throw(require_no_swap(kernel_));
    const auto slash = options_.pipe_path.rfind('/');
    if (!options_.pipe_path.starts_with('/') || slash + 1 == options_.pipe_path.size()) {
      throw Error("path_unsafe", options_.pipe_path + " is not an absolute path of a file");
    }
    name_ = options_.pipe_path.substr(slash + 1);
    open_directory(slash == 0 ? "/" : options_.pipe_path.substr(0, slash));
    value_or_throw(remove_ours());
  }
  ~Fifo() override {
    (void)revoke();
    // Readers of broken streams outlive this object: their pipe is closed when they have gone, not before.
    for (PipeEnd& end : abandoned_) {
      std::thread([held = std::move(end)] { held.wait_reader_gone(kNoStop); }).detach();
    }
  }

  std::string kind() const override { return "fifo"; }
  std::string path() const override { return options_.pipe_path; }
  bool usable() const override { return usable_; }
  bool takes_chunks() const override { return false; }
  std::optional<Error> last_fault() const override {
    const std::lock_guard lock(mutex_);
    return fault_;
  }

  Result<> begin(const asset::Manifest&, const tbenc::Layout& layout) override {
    TRY(revoke());
    layout_ = layout;
    const std::lock_guard lock(mutex_);
    fault_.reset();
    return {};
  }
  Result<> chunk(std::uint64_t, ByteView) override { return fail("internal", "a fifo takes ciphertext, not chunks"); }
  Result<> finish() override { return {}; }
  void abort(const Error&) override { (void)revoke(); }

  void serve(std::shared_ptr<asset::ChunkSource> chunks) override {
    if (!layout_ || thread_.joinable()) throw Error("internal", "a fifo serves once after it was begun");
    if (chunks->layout() != *layout_) throw Error("internal", "the chunks are another asset's");
    stop_ = Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!stop_) throw error_from_errno(errno, "eventfd");
    set_current(std::make_shared<Waiting>(value_or_throw(make_pipe())));
    stopping_ = false;
    stop_source_ = std::stop_source();
    usable_ = true;
    thread_ = std::thread([this, source = std::move(chunks)] { serve_readers(*source); });
  }

  Result<> revoke() override {
    usable_ = false;
    if (thread_.joinable()) {
      stopping_ = true;
      stop_source_.request_stop();
      const std::uint64_t one = 1;
      (void)::write(stop_.get(), &one, sizeof one);
      // Opening a FIFO for writing waits for a reader: we are one, until the thread has seen the stop.
      const auto waiting = current();
      // Its owner may have closed it to us.
      if (waiting) (void)chmod(waiting->reopen().c_str(), 0600);
      const Fd wake(waiting ? open(waiting->reopen().c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC) : -1);
      thread_.join();
    }
    set_current(nullptr);
    std::erase_if(abandoned_, [](const PipeEnd& end) { return end.reader_gone(); });
    return remove_ours();
  }

 private:
  std::shared_ptr<Waiting> current() const {
    const std::lock_guard lock(mutex_);
    return waiting_;
  }
  void set_current(std::shared_ptr<Waiting> waiting) {
    const std::lock_guard lock(mutex_);
    waiting_ = std::move(waiting);
  }
  void set_fault(const Error& error) {
    usable_ = false;
    const std::lock_guard lock(mutex_);
    fault_ = error;
  }

  void open_directory(const std::string& path) {
    directory_ = value_or_throw(open_file(path, O_RDONLY | O_DIRECTORY));
    struct stat st{};
    if (fstat(directory_.get(), &st) != 0) throw error_from_errno(errno, path);
    const bool trusted = st.st_uid == 0 || st.st_uid == geteuid();
    // With the sticky bit (/dev/shm) nobody can replace what is ours or the runtime's.
    if (!trusted || ((st.st_mode & 022) != 0 && (st.st_mode & S_ISVTX) == 0)) {
      throw Error("path_unsafe", path + " can be written by others");
    }
  }

  Result<> remove_ours() const {
    struct stat st{};
    if (fstatat(directory_.get(), name_.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) return {};
    if (!S_ISFIFO(st.st_mode) || (st.st_uid != geteuid() && st.st_uid != options_.runtime_uid)) {
      return fail("path_unsafe", options_.pipe_path + " is there and not a fifo of ours");
    }
    if (unlinkat(directory_.get(), name_.c_str(), 0) != 0) return fail(error_from_errno(errno, options_.pipe_path));
    return {};
  }

  /// A fresh FIFO at the path, taking the place of one that has found its reader.
  Result<Waiting> make_pipe() const {
    const std::string aside = fmt::format(".{}.{}", name_, random_token(9));
    if (mkfifoat(directory_.get(), aside.c_str(), 0600) != 0) return fail(error_from_errno(errno, options_.pipe_path));
    auto made = prepare(aside);
    if (made && renameat(directory_.get(), aside.c_str(), directory_.get(), name_.c_str()) != 0) {
      made = fail(error_from_errno(errno, options_.pipe_path));
    }
    if (!made) (void)unlinkat(directory_.get(), aside.c_str(), 0);
    return made;
  }

  Result<Waiting> prepare(const std::string& aside) const {
    if (fchmodat(directory_.get(), aside.c_str(), 0600, 0) != 0) return fail(error_from_errno(errno, aside));
    if (options_.runtime_uid != geteuid() && fchownat(directory_.get(), aside.c_str(), options_.runtime_uid,
                                                      static_cast<gid_t>(-1), AT_SYMLINK_NOFOLLOW) != 0) {
      return fail("runtime_uid_refused", fmt::format("the fifo cannot be given to user {}", options_.runtime_uid));
    }
    Waiting waiting{Fd(openat(directory_.get(), aside.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC))};
    if (!waiting.inode) return fail(error_from_errno(errno, aside));
    TRY(check(waiting.inode.get()));
    return waiting;
  }

  /// Mode 0600 and the runtime's, also after the runtime has had it.
  Result<> check(int fd) const {
    struct stat st{};
    if (fstat(fd, &st) != 0) return fail(error_from_errno(errno, options_.pipe_path));
    if (!S_ISFIFO(st.st_mode) || (st.st_mode & 07777) != 0600 || st.st_uid != options_.runtime_uid) {
      return fail("path_unsafe", options_.pipe_path + " is not a fifo of mode 0600 of the runtime's user");
    }
    return {};
  }

  void serve_readers(asset::ChunkSource& source) {
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
    try {
      while (!stopping_) {
        auto end = value_or_throw(next_reader());
        if (!end) break;
        value_or_throw(serve_one(source, std::move(*end)));
      }
    } catch (const Error& error) {
      set_fault(error);
    } catch (const std::exception& error) {
      set_fault(Error("internal", error.what()));
    }
  }

  /// Waits for a reader, then puts a fresh FIFO in place for the one after it. Nothing if stopped.
  Result<std::optional<PipeEnd>> next_reader() {
    const auto waiting = current();
    int fd;
    do fd = open(waiting->reopen().c_str(), O_WRONLY | O_CLOEXEC);
    while (fd < 0 && errno == EINTR && !stopping_);
    Fd end(fd);
    if (stopping_) {
      // Most likely revoke() itself; if a real reader has come just now, it must not see an end either.
      if (end) abandoned_.emplace_back(std::move(end), kernel_.pipe_bytes);
      return std::nullopt;
    }
    if (!end) return fail(error_from_errno(errno, options_.pipe_path));
    TRY(check(end.get()));
    set_current(std::make_shared<Waiting>(TRY(make_pipe())));
    return PipeEnd(std::move(end), kernel_.pipe_bytes);
  }

  Result<> serve_one(asset::ChunkSource& source, PipeEnd end) {
    auto served = stream_to_reader(source, end, stop_.get(), stop_source_.get_token(), kernel_);
    if (served && *served != Written::kStopped) return {};
    end.drain();
    abandoned_.push_back(std::move(end));
    // A source that was told to stop has not failed.
    if (served || stopping_) return {};
    return fail(std::move(served.error()));
  }

  FifoOptions options_;
  Kernel kernel_;
  Fd directory_, stop_;
  std::string name_;
  std::optional<Error> fault_;
  std::optional<tbenc::Layout> layout_;
  mutable std::mutex mutex_;          ///< of waiting_ and fault_
  std::shared_ptr<Waiting> waiting_;  ///< the FIFO at the path now
  std::vector<PipeEnd> abandoned_;    ///< readers of broken streams: held open until they are gone
  std::atomic<bool> usable_ = false, stopping_ = false;
  std::stop_source stop_source_;  ///< for a source that waits; stop_ for a reader that does
  std::thread thread_;
};

}  // namespace

std::unique_ptr<Delivery> make_fifo(FifoOptions options) {
  return std::make_unique<Fifo>(std::move(options));
}

}  // namespace tb::deliver
