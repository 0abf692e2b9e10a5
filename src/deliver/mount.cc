#include "deliver/mount.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <map>
#include <mutex>
#include <thread>

#include "deliver/chunk_read.h"
#include "deliver/fuse_session.h"
#include "deliver/guard.h"
#include "deliver/mount_point.h"
#include "deliver/mount_table.h"
#include "deliver/mount_tree.h"
#include "deliver/place.h"
#include "deliver/self_access.h"

namespace tb::deliver {
namespace {

constexpr mode_t kModelDirMode = 0711;
/// More than two cores open chunks faster than one reader takes them; over a network, waiting needs company.
constexpr unsigned kMostLoaders = 8;

constexpr std::size_t kMostKnown = 256;
/// A chunk that has come waits so long at most for the one before it to be pushed.
constexpr std::chrono::milliseconds kPatience{100};

/// Of the files, below the root; the first `most`.
std::vector<std::string> file_paths(const MountTree& tree, std::size_t most) {
  std::vector<std::string> paths;
  for (Inode inode = kRootInode; inode <= tree.size() && paths.size() < most; ++inode) {
    if (tree.node(inode)->directory) continue;
    std::string path;
    for (Inode at = inode; at != kRootInode; at = tree.node(at)->parent) {
      path = path.empty() ? tree.node(at)->name : tree.node(at)->name + "/" + path;
    }
    paths.push_back(std::move(path));
  }
  return paths;
}

class FuseMount final : public Mount {
 public:
  explicit FuseMount(MountOptions options) : options_(std::move(options)) {
    if (!options_.allow_swap) value_or_throw(require_no_swap(probe_kernel()));
    point_ = value_or_throw(prepare_mount_point(options_.model_dir, kModelDirMode, options_.runtime_uid));
  }
  ~FuseMount() override { (void)revoke(); }

  std::string kind() const override { return "mount"; }
  std::string path() const override { return options_.bare ? options_.model_dir : options_.model_dir + "/" + name_; }
  bool takes_chunks() const override { return false; }
  bool usable() const override {
    const std::lock_guard lock(mutex_);
    return session_ && !session_->ended() && !fault_;
  }
  bool ended() const override {
    const std::lock_guard lock(mutex_);
    return session_ && session_->ended();
  }
  std::optional<Error> last_fault() const override {
    const std::lock_guard lock(mutex_);
    if (!fault_ && session_ && session_->ended()) {
      return Error("mount_refused", "the mount was taken away from outside");
    }
    return fault_;
  }

  Result<> begin(const asset::Manifest& manifest, const tbenc::Layout& layout) override {
    TRY(revoke());
    name_ = TRY(model_name(manifest));
    tree_ = TRY(MountTree::create(manifest.content(), layout.plaintext_bytes(), name_,
                                  options_.bare ? MountTree::Shape::kBare : MountTree::Shape::kWrapped));
    layout_ = layout;
    const std::lock_guard lock(mutex_);
    fault_.reset();
    return {};
  }

  void serve(std::shared_ptr<asset::ChunkSource> chunks) override {
    if (!tree_) throw Error("internal", "a mount serves once after it was begun");
    if (chunks->layout() != *layout_) throw Error("internal", "the chunks are another asset's");
    auto reader = std::make_shared<ChunkReader>(std::move(chunks),
                                                std::clamp(std::thread::hardware_concurrency(), 2U, kMostLoaders));
    FuseOptions options;
    options.mount_point = point_;
    options.owner = options_.runtime_uid;
    options.others_pass_root = !options_.bare;
    options.most_pushes = std::max<std::size_t>(1, reader->cache().slot_count() / 2);
    const std::vector<std::string> paths = file_paths(*tree_, kMostKnown);
    auto session = std::make_shared<FuseSession>(std::move(*std::exchange(tree_, std::nullopt)), reader, options,
                                                 [this](const Error& error) { note_fault(error); });
    value_or_throw(require_own_fuse(point_, kMountSource));
    make_known(paths);
    const std::lock_guard lock(mutex_);
    session_ = std::move(session);
    reader_ = std::move(reader);
  }

  MutableBytes place(std::uint64_t index) override {
    const std::lock_guard lock(mutex_);
    if (!reader_) return {};
    const MutableBytes bytes = reader_->cache().reserve(index);
    if (!bytes.empty()) places_[index] = reader_;
    return bytes;
  }
  void leave(std::uint64_t index) override {
    if (const auto reader = reader_of_place(index)) reader->cache().leave(index);
  }
  Result<> chunk(std::uint64_t index, ByteView plain) override {
    std::shared_ptr<FuseSession> session;
    std::shared_ptr<ChunkReader> reader = reader_of_place(index);
    {
      const std::lock_guard lock(mutex_);
      session = session_;
      if (!reader) reader = reader_;
    }
    if (!reader) return {};
    // Not stored from here: that waits for pages which the kernel locked for reads, and those may wait for our caller.
    reader->cache().put(index, plain);
    if (!session) return {};
    if (auto pin = reader->cache().find(index)) session->push(std::move(*pin), kPatience);
    return {};
  }
  Result<> finish() override { return {}; }
  void abort(const Error&) override { (void)revoke(); }

  Result<> revoke() override {
    std::shared_ptr<FuseSession> session;
    std::shared_ptr<ChunkReader> reader;
    {
      const std::lock_guard lock(mutex_);
      session = std::move(session_);
      reader = std::move(reader_);
    }
    tree_.reset();
    return session ? session->stop() : Result<>();
  }

 private:
  /// The reader that gave chunk `index` a place, nullptr if none did; it is given back by that.
  std::shared_ptr<ChunkReader> reader_of_place(std::uint64_t index) {
    const std::lock_guard lock(mutex_);
    auto place = places_.extract(index);
    return place ? std::move(place.mapped()) : nullptr;
  }

  /// The kernel takes pages of files that it knows only: it is made to look them up, and remembers them as long as it
  /// has memory. Where this program may not look (another user's directories, and not root), the runtime will.
  void make_known(const std::vector<std::string>& paths) const {
    access_own_mount([&] {
      struct stat st{};
      for (const std::string& path : paths) (void)stat(fmt::format("{}/{}", point_, path).c_str(), &st);
    });
  }

  void note_fault(const Error& error) {
    const std::lock_guard lock(mutex_);
    if (!fault_) fault_ = error;
  }

  MountOptions options_;
  std::string point_, name_;
  std::optional<MountTree> tree_;
  std::optional<tbenc::Layout> layout_;
  mutable std::mutex mutex_;  ///< of what follows; never held while a session ends
  std::shared_ptr<ChunkReader> reader_;
  std::shared_ptr<FuseSession> session_;
  std::map<std::uint64_t, std::shared_ptr<ChunkReader>> places_;  ///< by chunk; keeps what was given alive
  std::optional<Error> fault_;
};

/// Nothing to read.
class NoBytes final : public StreamReader {
 public:
  std::uint64_t size() const override { return 0; }
  void read(std::uint64_t, std::size_t, ReadDone done) override { done(ReadAnswer{}); }
  void going_on(std::uint64_t) override {}
  void cancel() override {}
};

}  // namespace

std::unique_ptr<Mount> make_mount(MountOptions options) {
  return std::make_unique<FuseMount>(std::move(options));
}

Result<> mount_fits(const std::string& model_dir, uid_t runtime_uid) {
  TRY(prepare_mount_point(model_dir, kModelDirMode, runtime_uid));
  return {};
}

Result<> mount_works(const std::string& directory) {
  std::string path = directory + "/.trustbridge-probe-XXXXXX";
  if (mkdtemp(path.data()) == nullptr) return fail(error_from_errno(errno, directory));
  Result<> works;
  try {
    MountTree tree = value_or_throw(MountTree::create(std::nullopt, 0, "empty", MountTree::Shape::kBare));
    FuseOptions options;
    options.mount_point = path;
    options.owner = geteuid();
    FuseSession session(std::move(tree), std::make_shared<NoBytes>(), options, [](const Error&) {});
    works = session.stop();
  } catch (const Error& error) {
    works = std::unexpected(error);
  }
  (void)rmdir(path.c_str());
  return works;
}

}  // namespace tb::deliver
