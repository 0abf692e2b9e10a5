#include "deliver/pipe_end.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>

#include "base/secret.h"

namespace tb::deliver {
namespace {
constexpr std::size_t kDrainBytes = std::size_t{64} << 10;
}  // namespace

PipeEnd::PipeEnd(Fd fd, std::size_t pipe_bytes) : fd_(std::move(fd)) {
  (void)fcntl(fd_.get(), F_SETFL, fcntl(fd_.get(), F_GETFL) | O_NONBLOCK);
  (void)fcntl(fd_.get(), F_SETPIPE_SZ, static_cast<int>(pipe_bytes));
}

template <typename Put>
Result<Written> PipeEnd::put_all(ByteView& rest, int stop_fd, IfFull if_full, Put put) {
  while (!rest.empty()) {
    pollfd ends[2] = {{fd_.get(), POLLOUT, 0}, {stop_fd, POLLIN, 0}};
    const int ready = poll(ends, 2, if_full == IfFull::kWait ? -1 : 0);
    if (ready == 0) return Written::kPart;
    if (ready < 0) {
      if (errno == EINTR) continue;
      return fail(error_from_errno(errno, "fifo"));
    }
    if (ends[1].revents != 0) return Written::kStopped;
    if ((ends[0].revents & POLLERR) != 0) return Written::kReaderGone;
    const ssize_t n = put();
    if (n >= 0) {
      rest = rest.subspan(static_cast<std::size_t>(n));
    } else if (errno == EPIPE) {
      return Written::kReaderGone;
    } else if (errno != EAGAIN && errno != EINTR) {
      return fail(error_from_errno(errno, "fifo"));
    }
  }
  return Written::kAll;
}

Result<Written> PipeEnd::write(ByteView& rest, int stop_fd, IfFull if_full) {
  return put_all(rest, stop_fd, if_full, [&] { return ::write(fd_.get(), rest.data(), rest.size()); });
}

Result<Written> PipeEnd::give(ByteView& rest, int stop_fd, IfFull if_full) {
  return put_all(rest, stop_fd, if_full, [&] {
    // The kernel reads from it only.
    const iovec pages{const_cast<std::uint8_t*>(rest.data()), rest.size()};
    return vmsplice(fd_.get(), &pages, 1, SPLICE_F_NONBLOCK);
  });
}

bool PipeEnd::reader_gone() const {
  pollfd end{fd_.get(), 0, 0};
  return poll(&end, 1, 0) > 0 && (end.revents & POLLERR) != 0;
}

bool PipeEnd::wait_reader_gone(int stop_fd) const {
  for (;;) {
    pollfd ends[2] = {{fd_.get(), 0, 0}, {stop_fd, POLLIN, 0}};
    if (poll(ends, 2, -1) < 0) {
      if (errno == EINTR) continue;
      return false;
    }
    if ((ends[0].revents & POLLERR) != 0) return true;
    if (ends[1].revents != 0) return false;
  }
}

void PipeEnd::drain() noexcept {
  const Fd reader(open(fmt::format("/proc/self/fd/{}", fd_.get()).c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!reader) return;
  WipedBuffer buffer(kDrainBytes);
  for (;;) {
    const ssize_t n = read(reader.get(), buffer.data(), buffer.size());
    if (n <= 0 && !(n < 0 && errno == EINTR)) return;
  }
}

}  // namespace tb::deliver
