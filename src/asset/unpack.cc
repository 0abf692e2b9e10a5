#include "asset/unpack.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <utility>

namespace tb::asset {
namespace {

constexpr mode_t kPrivateDirectory = 0700;
constexpr mode_t kPrivateFile = 0600;
constexpr mode_t kDirectory = 0755;

Result<Fd> open_directory_at(int parent, const std::string& name) {
  Fd fd(openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return fail(error_from_errno(errno, name));
  return fd;
}

/// The directory of `path` below `root`, made where it is missing.
Result<Fd> make_parents(int root, const std::string& path) {
  Fd parent(fcntl(root, F_DUPFD_CLOEXEC, 0));
  if (!parent) return fail(error_from_errno(errno, path));
  std::size_t start = 0;
  for (std::size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', start)) {
    const std::string name = path.substr(start, slash - start);
    start = slash + 1;
    if (mkdirat(parent.get(), name.c_str(), kDirectory) != 0 && errno != EEXIST) {
      return fail(error_from_errno(errno, name));
    }
    parent = TRY(open_directory_at(parent.get(), name));
  }
  return parent;
}

Result<Fd> create_file(int root, const ContentFile& file) {
  const Fd parent = TRY(make_parents(root, file.path));
  const std::string name = file.path.substr(file.path.rfind('/') + 1);
  Fd fd(openat(parent.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, file.mode));
  if (!fd) return fail(error_from_errno(errno, file.path));
  return fd;
}

/// "output_exists" unless everything in the directory is named by the index.
Result<> check_older_copy(const Content& content, const std::string& directory) {
  namespace fs = std::filesystem;
  std::error_code ec;
  fs::recursive_directory_iterator it(directory, ec);
  for (; !ec && it != fs::recursive_directory_iterator(); it.increment(ec)) {
    const auto status = it->symlink_status(ec);
    if (ec) break;
    if (fs::is_directory(status)) continue;
    if (content.find(it->path().lexically_relative(directory).string()) == nullptr) {
      return fail(Error("output_exists", fmt::format("'{}' holds other files", directory))
                      .with_hint("give another path, or remove the directory yourself"));
    }
  }
  if (ec) return fail(error_from_errno(ec.value(), directory));
  return {};
}

/// Whether something may be put at `target`; true if something of its kind stands there.
Result<bool> check_target(const Content& content, const std::string& target, bool replace) {
  struct stat st{};
  if (lstat(target.c_str(), &st) != 0) {
    if (errno == ENOENT) return false;
    return fail(error_from_errno(errno, target));
  }
  if (!replace || !S_ISDIR(st.st_mode)) return fail("output_exists", fmt::format("'{}' exists", target));
  TRY(check_older_copy(content, target));
  return true;
}

}  // namespace

struct Unpacker::Impl {
  Impl(const Content& content_in, StreamCheck check_in, std::string target_in)
      : content(content_in), check(std::move(check_in)), target(std::move(target_in)) {}
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    root.reset();
    remove(partial);
  }

  static void remove(const std::string& directory) {
    std::error_code ignored;
    if (!directory.empty()) std::filesystem::remove_all(directory, ignored);
  }
  Result<> make_partial_directory();
  Result<> write_tar(ByteView bytes);
  Result<> publish();

  const Content& content;
  StreamCheck check;
  std::string target;
  std::optional<AtomicFile> file;  ///< of kind file

  std::optional<TarMap> map;  ///< of kind tar, as all below
  std::string partial;
  Fd root;
  std::size_t open_index = 0;
  Fd open;
  std::uint64_t at = 0;
  bool replaces = false;
};

Result<> Unpacker::Impl::make_partial_directory() {
  const std::size_t slash = target.rfind('/');
  const std::string parent = slash == std::string::npos ? "" : target.substr(0, slash + 1);
  const std::string name = slash == std::string::npos ? target : target.substr(slash + 1);
  std::string path = fmt::format("{}.{}.{}.partial", parent, name, random_token(6));
  if (mkdir(path.c_str(), kPrivateDirectory) != 0) return fail(error_from_errno(errno, path));
  partial = std::move(path);
  root = TRY(open_directory_at(AT_FDCWD, partial));
  for (const ContentFile& one : content.files) {
    if (one.bytes == 0) TRY(create_file(root.get(), one));
  }
  return {};
}

Result<> Unpacker::Impl::write_tar(ByteView bytes) {
  for (const TarMap::Piece& piece : map->pieces(at, bytes.size())) {
    if (!piece.is_file) continue;
    const ContentFile& one = content.files[piece.index];
    if (piece.offset == 0) open = TRY(create_file(root.get(), one));
    TRY(write_full(open.get(), bytes.subspan(piece.at, piece.bytes), one.path));
    if (piece.offset + piece.bytes == one.bytes) open.reset();
  }
  at += bytes.size();
  return {};
}

Result<> Unpacker::Impl::publish() {
  if (syncfs(root.get()) != 0) return fail(error_from_errno(errno, partial));
  const auto renamed = [this](unsigned flags) {
    return renameat2(AT_FDCWD, partial.c_str(), AT_FDCWD, target.c_str(), flags) == 0;
  };
  // A file system without the flags says EINVAL; a plain rename(2) never replaces a directory that holds something.
  if (!renamed(replaces ? RENAME_EXCHANGE : RENAME_NOREPLACE) && (errno != EINVAL || replaces || !renamed(0))) {
    if (errno == EEXIST || errno == ENOTEMPTY) return fail("output_exists", fmt::format("'{}' exists", target));
    return fail(error_from_errno(errno, target));
  }
  // After an exchange the older copy stands at `partial`, and goes with it.
  if (!replaces) partial.clear();
  return {};
}

Unpacker::Unpacker(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Unpacker::~Unpacker() = default;
Unpacker::Unpacker(Unpacker&&) noexcept = default;

Result<Unpacker> Unpacker::create(const Content& content, std::uint64_t plaintext_bytes, std::string target,
                                  bool replace) {
  while (target.size() > 1 && target.ends_with('/')) target.pop_back();
  TRY(validate(content, plaintext_bytes));
  StreamCheck check = TRY(StreamCheck::make(content, plaintext_bytes));
  auto impl = std::make_unique<Impl>(content, std::move(check), std::move(target));
  if (content.is_tar()) {
    impl->map = TRY(TarMap::make(content, plaintext_bytes));
    impl->replaces = TRY(check_target(content, impl->target, replace));
    TRY(impl->make_partial_directory());
  } else {
    impl->file.emplace(TRY(AtomicFile::create(impl->target, kPrivateFile, replace)));
  }
  return Unpacker(std::move(impl));
}

Result<> Unpacker::write(ByteView bytes) {
  TRY(impl_->check.write(bytes));
  if (impl_->file) return write_full(impl_->file->fd(), bytes, impl_->target);
  return impl_->write_tar(bytes);
}

Result<> Unpacker::finish() {
  TRY(impl_->check.finish());
  return impl_->file ? impl_->file->commit() : impl_->publish();
}

}  // namespace tb::asset
