// Where bytes go, in order: a file, a pipe, memory. A write into a file at several offsets at once brings nothing: the
// kernel takes the file's lock for every write (docs/performance.md).
#pragma once

#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/fs.h"
#include "base/result.h"

namespace tb::tbenc {

/// Takes bytes in order, from one thread at a time.
class Sink {
 public:
  virtual ~Sink() = default;
  virtual Result<> write(ByteView bytes) = 0;
};

/// A descriptor written in order: pipe, socket, terminal or file. It stays the caller's. A pipe is made 1 MiB deep
/// where the system allows it.
class FdSink final : public Sink {
 public:
  FdSink(int fd, std::string name);
  Result<> write(ByteView bytes) override { return write_full(fd_, bytes, name_); }

 private:
  int fd_;
  std::string name_;
};

/// Appends to bytes of the caller's.
class MemorySink final : public Sink {
 public:
  explicit MemorySink(Bytes& bytes) : bytes_(bytes) {}
  Result<> write(ByteView bytes) override;

 private:
  Bytes& bytes_;
};

}  // namespace tb::tbenc
