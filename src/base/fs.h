// Files: owned descriptors, whole reads and writes, files that appear whole or not at all.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "base/secret.h"

namespace tb {

/// Owner of a file descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() { reset(); }
  Fd(Fd&& other) noexcept : fd_(other.release()) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = other.release();
    }
    return *this;
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset();

 private:
  int fd_ = -1;
};

/// open(2) with O_CLOEXEC, EINTR handled; errors name the path.
Result<Fd> open_file(const std::string& path, int flags, mode_t mode = 0600);
Result<std::uint64_t> file_size(int fd, std::string_view what);
/// Reads until `out` is full or the end; returns the bytes read.
Result<std::size_t> read_full(int fd, MutableBytes out, std::string_view what);
Result<std::size_t> pread_full(int fd, MutableBytes out, std::uint64_t offset, std::string_view what);
Result<> write_full(int fd, ByteView bytes, std::string_view what);
Result<> pwrite_full(int fd, ByteView bytes, std::uint64_t offset, std::string_view what);
/// The whole of a small file; "file_too_large" above `max_bytes`.
Result<std::string> read_small_file(const std::string& path, std::size_t max_bytes = std::size_t{1} << 20);
/// Its owner's alone, or root's and readable by a group: so orchestrators and systemd hand secrets to a program that is
/// not root (a volume of Kubernetes with fsGroup is root:group 0440). Root itself gets no such exception.
bool is_private(const struct stat& info);
/// As read_small_file, into a secret; refuses ("file_mode_unsafe") a file that is not private.
Result<SecretString> read_secret_file(const std::string& path, std::size_t max_bytes = 65536);

/// A file written aside in the same directory, fsynced, then put at `path` by commit(). Dropped without commit it
/// leaves nothing behind.
class AtomicFile {
 public:
  /// kWithoutName: a kill while it is being written leaves nothing behind either, on ext4, XFS, Btrfs and tmpfs;
  /// elsewhere, and for kNamed, the file is `.<name>.<random>.partial` until commit().
  enum class Aside { kWithoutName, kNamed };

  /// Without `replace`, an existing `path` is refused ("output_exists"), both now and at commit.
  static Result<AtomicFile> create(std::string path, mode_t mode, bool replace, Aside aside = Aside::kWithoutName);
  ~AtomicFile();
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  int fd() const { return fd_.get(); }
  /// Where it is until commit(), for libraries that open files by name; of kNamed alone.
  const std::string& partial_path() const { return partial_; }
  Result<> commit();

 private:
  AtomicFile(std::string path, std::string partial, Fd fd, bool replace);
  std::string path_;
  std::string partial_;  ///< empty while it has no name
  Fd fd_;
  bool replace_ = false;
};

Result<> write_file_atomically(const std::string& path, std::string_view content, mode_t mode, bool replace);
/// mkdir -p; only the last component gets `mode`, the others 0755.
Result<> make_directories(const std::string& path, mode_t mode);

}  // namespace tb
