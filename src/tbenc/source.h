// Where bytes come from: at random (a file, ranges of a blob) or in order (a pipe, a tar stream made on the way).
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/fs.h"
#include "base/result.h"

namespace tb::tbenc {

/// Bytes at any offset. read_at may be called from several threads at once.
class RandomSource {
 public:
  virtual ~RandomSource() = default;
  virtual std::uint64_t size() const = 0;
  /// Fills `out` from `offset`; an end before that is an error, "source_changed" for files.
  virtual Result<> read_at(std::uint64_t offset, MutableBytes out) const = 0;
  /// Called once everything was read: "source_changed" if the source is known to have changed meanwhile.
  virtual Result<> check_unchanged() const { return {}; }
  /// For messages: a path, never a signed URL.
  virtual std::string name() const = 0;
};

/// Bytes in order, from one thread at a time.
class PullSource {
 public:
  virtual ~PullSource() = default;
  /// Fills `out`; fewer bytes only at the end, and 0 ever after.
  virtual Result<std::size_t> read(MutableBytes out) = 0;
  /// The total, where it is known before reading: then exactly so many bytes come.
  virtual std::optional<std::uint64_t> size() const { return std::nullopt; }
  virtual std::string name() const = 0;
};

/// A regular file. The size is taken when it is opened; a file that shrinks, grows or is written to until
/// check_unchanged() is "source_changed", which names it.
class FileSource final : public RandomSource {
 public:
  /// "not_a_regular_file" for anything else, or the errors of open(2).
  static Result<FileSource> open(const std::string& path);
  /// Takes an open descriptor of a regular file; `name` is for messages.
  static Result<FileSource> from_fd(Fd fd, std::string name);

  std::uint64_t size() const override { return size_; }
  Result<> read_at(std::uint64_t offset, MutableBytes out) const override;
  Result<> check_unchanged() const override;
  std::string name() const override { return name_; }

 private:
  FileSource(Fd fd, std::string name, const struct stat& st);
  Fd fd_;
  std::string name_;
  std::uint64_t size_;
  struct timespec modified_;
};

/// Any descriptor, read in order until its end. The descriptor stays the caller's.
class FdSource final : public PullSource {
 public:
  FdSource(int fd, std::string name) : fd_(fd), name_(std::move(name)) {}
  Result<std::size_t> read(MutableBytes out) override { return read_full(fd_, out, name_); }
  std::string name() const override { return name_; }

 private:
  int fd_;
  std::string name_;
};

/// Memory of the caller's, which must outlive the source.
class MemorySource final : public RandomSource {
 public:
  explicit MemorySource(ByteView bytes) : bytes_(bytes) {}
  std::uint64_t size() const override { return bytes_.size(); }
  Result<> read_at(std::uint64_t offset, MutableBytes out) const override;
  std::string name() const override { return "memory"; }

 private:
  ByteView bytes_;
};

/// Memory of the caller's in order, which must outlive the source.
class MemoryPull final : public PullSource {
 public:
  explicit MemoryPull(ByteView bytes) : rest_(bytes) {}
  Result<std::size_t> read(MutableBytes out) override;
  std::string name() const override { return "memory"; }

 private:
  ByteView rest_;
};

}  // namespace tb::tbenc
