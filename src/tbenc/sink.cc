#include "tbenc/sink.h"

#include <fcntl.h>
#include <sys/stat.h>

namespace tb::tbenc {
namespace {

constexpr int kPipeBytes = 1 << 20;  // what an unprivileged process may ask for by default

}  // namespace

FdSink::FdSink(int fd, std::string name) : fd_(fd), name_(std::move(name)) {
  struct stat st{};
  if (::fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode)) {
    ::fcntl(fd, F_SETPIPE_SZ, kPipeBytes);  // a smaller pipe works too, only slower
  }
}

Result<> MemorySink::write(ByteView bytes) {
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  return {};
}

}  // namespace tb::tbenc
