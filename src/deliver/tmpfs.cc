#include "deliver/tmpfs.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <optional>
#include <set>

#include "base/crypto.h"
#include "base/memory.h"
#include "deliver/guard.h"
#include "deliver/model_tree.h"
#include "deliver/mount_point.h"
#include "deliver/mount_table.h"
#include "deliver/own_mount.h"
#include "deliver/place.h"
#include "deliver/wipe.h"

namespace tb::deliver {
namespace {

/// What the files of a model take in a tmpfs of our own, and a little for its marker.
std::uint64_t mount_bytes(const asset::Manifest& manifest, std::uint64_t plaintext_bytes, std::string_view huge) {
  constexpr std::uint64_t kSpareBytes = std::uint64_t{1} << 20, kPageBytes = 4096;
  // With "within_size" a file's end has small pages, with "always" it has a whole huge one.
  const std::uint64_t unit = huge == "always" ? kHugePageBytes : kPageBytes;
  const auto rounded = [unit](std::uint64_t bytes) { return (bytes + unit - 1) / unit * unit; };
  const auto& content = manifest.content();
  std::uint64_t sum = rounded(kSpareBytes);
  if (!content || !content->is_tar()) return sum + rounded(plaintext_bytes);
  for (const asset::ContentFile& file : content->files) sum += rounded(file.bytes);
  return sum;
}

class Tmpfs final : public Delivery {
 public:
  explicit Tmpfs(TmpfsOptions options)
      : options_(std::move(options)), kernel_(options_.kernel ? *options_.kernel : probe_kernel()) {
    const std::string place = value_or_throw(remove_left_mounts(options_.model_dir));
    mounts_ = options_.own_mount && kernel_.own_tmpfs && !mount_at(own_mount_table(), place);
    if (!options_.allow_swap) {
      value_or_throw(mounts_ && kernel_.tmpfs_noswap ? require_unswappable(kernel_) : require_no_swap(kernel_));
    }
    if (!mounts_) value_or_throw(require_memory(options_.model_dir));
    dir_ = value_or_throw(open_owned_dir(options_.model_dir, 0711));
    // Again by the open directory: a mount in between would make the first look at another place.
    if (!mounts_) value_or_throw(require_memory(fmt::format("/proc/self/fd/{}", dir_.get())));
    value_or_throw(remove_leftovers(dir_.get(), options_.model_dir, options_.runtime_uid));
  }
  ~Tmpfs() override { (void)revoke(); }

  std::string kind() const override { return "tmpfs"; }
  std::string path() const override { return options_.model_dir + "/" + name_; }
  bool usable() const override { return usable_; }

  Result<> begin(const asset::Manifest& manifest, const tbenc::Layout& layout) override {
    TRY(revoke());
    name_ = TRY(model_name(manifest));
    layout_ = layout;
    hidden_ = std::string(kHiddenPrefix) + random_token(9);
    auto begun = begin_tree(manifest);
    if (!begun) (void)revoke();
    return begun;
  }

  Result<> chunk(std::uint64_t index, ByteView plain) override {
    if (!tree_) return fail("internal", "a chunk before the delivery was begun");
    return tree_->write(layout_->plain_offset(index), plain);
  }

  Result<> finish() override {
    if (!tree_) return fail("internal", "the delivery is finished before it was begun");
    TRY(tree_->seal(options_.runtime_uid));
    TRY(write_marker(top(), name_));
    if (renameat2(top(), hidden_.c_str(), top(), name_.c_str(), RENAME_NOREPLACE) != 0) {
      if (errno == EEXIST) return fail("path_unsafe", path() + " is there already and not ours");
      return fail(error_from_errno(errno, path()));
    }
    hidden_.clear();
    tree_.reset();
    delivered_ = true;
    usable_ = true;
    return {};
  }

  void abort(const Error&) override { (void)revoke(); }

  Result<> revoke() override {
    usable_ = false;
    tree_.reset();
    Result<> first;
    if (!hidden_.empty()) first = wipe_tree_at(top(), hidden_);
    if (delivered_) {
      if (auto wiped = wipe_tree_at(top(), name_); !wiped && first) first = std::move(wiped);
    }
    if (!first) return first;
    (void)remove_marker(top());
    hidden_.clear();
    delivered_ = false;
    if (mount_) TRY(mount_->detach());
    mount_.reset();
    return {};
  }

 private:
  /// The directory that is filled: the top of our mount, or model_dir itself.
  int top() const { return mount_ ? mount_->root() : dir_.get(); }

  Result<> begin_tree(const asset::Manifest& manifest) {
    const std::uint64_t bytes = layout_->plaintext_bytes();
    if (mounts_) TRY(mount_over(mount_bytes(manifest, bytes, kernel_.tmpfs_huge)));
    if (!mount_) TRY(check_room(bytes));
    const bool huge = mount_ && !kernel_.tmpfs_huge.empty();
    tree_ =
        TRY(ModelTree::create(top(), hidden_, manifest.content(), bytes, huge ? Reserve::kPages : Reserve::kNothing));
    return {};
  }

  /// Puts a tmpfs of our own over model_dir. Where that is refused (a security module may), the directory itself will
  /// do, unless it is on a disk, or swap is on and only `noswap` was an answer to it.
  Result<> mount_over(std::uint64_t bytes) {
    TRY(check_memory(bytes));
    auto mount = OwnMount::make({.bytes = bytes, .huge = kernel_.tmpfs_huge, .noswap = kernel_.tmpfs_noswap});
    Result<> attached = mount ? mount->attach(dir_.get()) : fail(std::move(mount.error()));
    if (attached) {
      mount_ = std::move(*mount);
      return require_memory(fmt::format("/proc/self/fd/{}", mount_->root()));
    }
    TRY(require_memory(fmt::format("/proc/self/fd/{}", dir_.get())));
    if (!options_.allow_swap) TRY(require_no_swap(kernel_));
    return {};
  }

  static std::unexpected<Error> too_small(std::uint64_t bytes, std::uint64_t free, const std::string& where) {
    return fail("memory_short",
                fmt::format("the model needs {} MiB, {} MiB are free in {}", (bytes >> 20) + 1, free >> 20, where));
  }

  static Result<> check_memory(std::uint64_t bytes) {
    const auto memory = memory_available();
    if (memory && *memory < bytes) return too_small(bytes, *memory, "memory");
    return {};
  }

  Result<> check_room(std::uint64_t bytes) const {
    struct statvfs fs{};
    if (fstatvfs(dir_.get(), &fs) != 0) return fail(error_from_errno(errno, options_.model_dir));
    const std::uint64_t room = std::uint64_t{fs.f_bavail} * fs.f_frsize;
    if (fs.f_blocks != 0 && room < bytes) return too_small(bytes, room, options_.model_dir);
    return check_memory(bytes);
  }

  TmpfsOptions options_;
  Kernel kernel_;
  bool mounts_ = false;  ///< a tmpfs of our own is put over model_dir
  Fd dir_;               ///< model_dir, below our mount
  std::optional<OwnMount> mount_;
  std::string name_, hidden_;
  std::optional<tbenc::Layout> layout_;
  std::unique_ptr<ModelTree> tree_;
  bool delivered_ = false;
  std::atomic<bool> usable_ = false;
};

}  // namespace

std::unique_ptr<Delivery> make_tmpfs(TmpfsOptions options) {
  return std::make_unique<Tmpfs>(std::move(options));
}

}  // namespace tb::deliver
