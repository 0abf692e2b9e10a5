// Files that appear whole or not at all: what was written aside is fsynced before it gets its name, and the directory
// after it.
#include "base/fs.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "base/crypto.h"

namespace tb {
namespace {

std::unexpected<Error> errno_error(std::string_view what) {
  return std::unexpected(error_from_errno(errno, what));
}

std::string parent_of(const std::string& path) {
  const auto parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

std::string partial_name(const std::string& path) {
  const auto name = std::filesystem::path(path).filename().string();
  return fmt::format("{}/.{}.{}.partial", parent_of(path), name, random_token(6));
}

std::string link_of(int fd) {
  return fmt::format("/proc/self/fd/{}", fd);
}

/// Empty where the file system or this process's /proc cannot do it. Only where a name is known to be had in the end:
/// to learn that it is not after all has been written would be too late.
Fd open_without_name(const std::string& directory, mode_t mode) {
  Fd fd(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, mode));
  if (!fd) return fd;
  struct statfs on{};
  constexpr auto kKnown =
      std::to_array<unsigned long>({EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC, TMPFS_MAGIC});
  const bool known =
      fstatfs(fd.get(), &on) == 0 && std::ranges::count(kKnown, static_cast<unsigned long>(on.f_type)) != 0;
  if (!known || access(link_of(fd.get()).c_str(), F_OK) != 0) fd.reset();
  return fd;
}

int give_name(int fd, const std::string& path) {
  return linkat(AT_FDCWD, link_of(fd).c_str(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW);
}

}  // namespace

void Fd::reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

Result<Fd> open_file(const std::string& path, int flags, mode_t mode) {
  int fd = -1;
  do fd = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  while (fd < 0 && errno == EINTR);
  if (fd < 0) return errno_error(path);
  return Fd(fd);
}

Result<std::uint64_t> file_size(int fd, std::string_view what) {
  struct stat st{};
  if (fstat(fd, &st) != 0) return errno_error(what);
  return static_cast<std::uint64_t>(st.st_size);
}

Result<std::size_t> read_full(int fd, MutableBytes out, std::string_view what) {
  std::size_t done = 0;
  while (done < out.size()) {
    const ssize_t n = ::read(fd, out.data() + done, out.size() - done);
    if (n == 0) break;
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(what);
    done += static_cast<std::size_t>(n);
  }
  return done;
}

Result<std::size_t> pread_full(int fd, MutableBytes out, std::uint64_t offset, std::string_view what) {
  std::size_t done = 0;
  while (done < out.size()) {
    const ssize_t n = ::pread(fd, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    if (n == 0) break;
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(what);
    done += static_cast<std::size_t>(n);
  }
  return done;
}

Result<> write_full(int fd, ByteView bytes, std::string_view what) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(what);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

Result<> pwrite_full(int fd, ByteView bytes, std::uint64_t offset, std::string_view what) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(what);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return {};
}

namespace {

Result<std::string> read_bounded(int fd, const std::string& path, std::size_t max_bytes) {
  std::string out;
  while (true) {
    const std::size_t have = out.size();
    if (have > max_bytes) {
      wipe(out.data(), out.size());
      return fail("file_too_large", fmt::format("{} is larger than {} bytes", path, max_bytes));
    }
    const std::size_t want = std::min<std::size_t>(max_bytes + 1 - have, 65536);
    std::string bigger;
    bigger.reserve(have + want);
    bigger = out;
    bigger.resize(have + want);
    wipe(out.data(), out.size());
    const std::size_t n = TRY(read_full(fd, {reinterpret_cast<std::uint8_t*>(bigger.data()) + have, want}, path));
    bigger.resize(have + n);
    out = std::move(bigger);
    if (n < want) return out;
  }
}

}  // namespace

Result<std::string> read_small_file(const std::string& path, std::size_t max_bytes) {
  const Fd fd = TRY(open_file(path, O_RDONLY));
  return read_bounded(fd.get(), path, max_bytes);
}

bool is_private(const struct stat& info) {
  const bool handed_by_root = info.st_uid == 0 && geteuid() != 0;
  return (info.st_mode & (handed_by_root ? 037U : 077U)) == 0;
}

Result<SecretString> read_secret_file(const std::string& path, std::size_t max_bytes) {
  const Fd fd = TRY(open_file(path, O_RDONLY));
  struct stat st{};
  if (fstat(fd.get(), &st) != 0) return errno_error(path);
  if (S_ISREG(st.st_mode) && !is_private(st))
    return fail("file_mode_unsafe", fmt::format("{} can be read by others (mode {:04o})", path, st.st_mode & 07777));
  return SecretString(TRY(read_bounded(fd.get(), path, max_bytes)));
}

AtomicFile::AtomicFile(std::string path, std::string partial, Fd fd, bool replace)
    : path_(std::move(path)), partial_(std::move(partial)), fd_(std::move(fd)), replace_(replace) {}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      partial_(std::exchange(other.partial_, {})),
      fd_(std::move(other.fd_)),
      replace_(other.replace_) {}

AtomicFile::~AtomicFile() {
  if (!partial_.empty()) ::unlink(partial_.c_str());
}

Result<AtomicFile> AtomicFile::create(std::string path, mode_t mode, bool replace, Aside aside) {
  struct stat st{};
  if (!replace && lstat(path.c_str(), &st) == 0) return fail("output_exists", fmt::format("{} exists", path));
  std::string partial;
  Fd fd;
  if (aside == Aside::kWithoutName) fd = open_without_name(parent_of(path), mode);
  if (!fd) {
    partial = partial_name(path);
    fd = TRY(open_file(partial, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode));
  }
  AtomicFile file(std::move(path), std::move(partial), std::move(fd), replace);
  if (fchmod(file.fd(), mode) != 0) return errno_error(file.path_);
  return file;
}

Result<> AtomicFile::commit() {
  if (fsync(fd_.get()) != 0) return errno_error(path_);
  int rc = 0;
  if (partial_.empty() && !replace_) {
    rc = give_name(fd_.get(), path_);
  } else {
    if (partial_.empty()) {  // only rename(2) replaces
      std::string partial = partial_name(path_);
      if (give_name(fd_.get(), partial) != 0) return errno_error(partial);
      partial_ = std::move(partial);
    }
    rc = replace_ ? ::rename(partial_.c_str(), path_.c_str())
                  : renameat2(AT_FDCWD, partial_.c_str(), AT_FDCWD, path_.c_str(), RENAME_NOREPLACE);
  }
  if (rc != 0) {
    if (errno == EEXIST) return fail("output_exists", fmt::format("{} exists", path_));
    return errno_error(path_);
  }
  partial_.clear();
  const Fd dir = TRY(open_file(parent_of(path_), O_RDONLY | O_DIRECTORY));
  // Some file systems (FUSE, network ones) cannot sync a directory: the file itself is already safe.
  if (fsync(dir.get()) != 0 && errno != EINVAL && errno != ENOSYS) return errno_error(path_);
  return {};
}

Result<> write_file_atomically(const std::string& path, std::string_view content, mode_t mode, bool replace) {
  AtomicFile file = TRY(AtomicFile::create(path, mode, replace));
  TRY(write_full(file.fd(), as_bytes(content), path));
  return file.commit();
}

Result<> make_directories(const std::string& path, mode_t mode) {
  std::error_code ec;
  const auto parent = std::filesystem::path(path).parent_path();
  if (!parent.empty() && !std::filesystem::exists(parent, ec)) TRY(make_directories(parent.string(), 0755));
  if (::mkdir(path.c_str(), mode) == 0) {
    if (::chmod(path.c_str(), mode) != 0) return errno_error(path);
    return {};
  }
  if (errno != EEXIST) return errno_error(path);
  struct stat st{};
  if (::stat(path.c_str(), &st) != 0) return errno_error(path);
  if (!S_ISDIR(st.st_mode)) return fail("output_exists", fmt::format("{} exists and is no directory", path));
  return {};
}

}  // namespace tb
