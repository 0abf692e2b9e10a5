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
#include "deliver/place.h"
#include "deliver/wipe.h"

namespace tb::deliver {
namespace {

class Tmpfs final : public Delivery {
 public:
  explicit Tmpfs(TmpfsOptions options) : options_(std::move(options)) {
    value_or_throw(require_memory(options_.model_dir));
    if (!options_.allow_swap) value_or_throw(require_no_swap());
    dir_ = value_or_throw(open_owned_dir(options_.model_dir, 0711));
    // Again by the open directory: a mount in between would make the first look at another place.
    value_or_throw(require_memory(fmt::format("/proc/self/fd/{}", dir_.get())));
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
    TRY(check_room(layout.plaintext_bytes()));
    hidden_ = std::string(kHiddenPrefix) + random_token(9);
    auto tree = ModelTree::create(dir_.get(), hidden_, manifest.content(), layout.plaintext_bytes());
    if (!tree) {
      (void)revoke();
      return fail(std::move(tree.error()));
    }
    tree_ = std::move(*tree);
    return {};
  }

  Result<> chunk(std::uint64_t index, ByteView plain) override {
    if (!tree_) return fail("internal", "a chunk before the delivery was begun");
    return tree_->write(layout_->plain_offset(index), plain);
  }

  Result<> finish() override {
    if (!tree_) return fail("internal", "the delivery is finished before it was begun");
    TRY(tree_->seal(options_.runtime_uid));
    TRY(write_marker(dir_.get(), name_));
    if (renameat2(dir_.get(), hidden_.c_str(), dir_.get(), name_.c_str(), RENAME_NOREPLACE) != 0) {
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
    if (!hidden_.empty()) first = wipe_tree_at(dir_.get(), hidden_);
    if (delivered_) {
      if (auto wiped = wipe_tree_at(dir_.get(), name_); !wiped && first) first = std::move(wiped);
    }
    if (first) {
      (void)remove_marker(dir_.get());
      hidden_.clear();
      delivered_ = false;
    }
    return first;
  }

 private:
  Result<> check_room(std::uint64_t bytes) const {
    const auto too_small = [&](std::uint64_t free, const std::string& where) {
      return fail("memory_short",
                  fmt::format("the model needs {} MiB, {} MiB are free in {}", (bytes >> 20) + 1, free >> 20, where));
    };
    struct statvfs fs{};
    if (fstatvfs(dir_.get(), &fs) != 0) return fail(error_from_errno(errno, options_.model_dir));
    const std::uint64_t room = std::uint64_t{fs.f_bavail} * fs.f_frsize;
    if (fs.f_blocks != 0 && room < bytes) return too_small(room, options_.model_dir);
    const auto memory = memory_available();
    if (memory && *memory < bytes) return too_small(*memory, "memory");
    return {};
  }

  TmpfsOptions options_;
  Fd dir_;
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
