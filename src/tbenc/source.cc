#include "tbenc/source.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace tb::tbenc {

FileSource::FileSource(Fd fd, std::string name, const struct stat& st)
    : fd_(std::move(fd)),
      name_(std::move(name)),
      size_(static_cast<std::uint64_t>(st.st_size)),
      modified_(st.st_mtim) {}

Result<FileSource> FileSource::open(const std::string& path) {
  // O_NONBLOCK: a FIFO without a writer must be refused below, not waited for.
  return from_fd(TRY(open_file(path, O_RDONLY | O_NONBLOCK)), path);
}

Result<FileSource> FileSource::from_fd(Fd fd, std::string name) {
  struct stat st{};
  if (::fstat(fd.get(), &st) != 0) return fail(error_from_errno(errno, name));
  if (!S_ISREG(st.st_mode)) return fail("not_a_regular_file", fmt::format("{} is not a regular file", name));
  return FileSource(std::move(fd), std::move(name), st);
}

Result<> FileSource::read_at(std::uint64_t offset, MutableBytes out) const {
  const std::size_t got = TRY(pread_full(fd_.get(), out, offset, name_));
  if (got < out.size()) return fail("source_changed", fmt::format("{} became shorter while it was read", name_));
  return {};
}

Result<> FileSource::check_unchanged() const {
  struct stat st{};
  if (::fstat(fd_.get(), &st) != 0) return fail(error_from_errno(errno, name_));
  if (static_cast<std::uint64_t>(st.st_size) != size_) {
    return fail("source_changed",
                fmt::format("{} went from {} to {} bytes while it was read", name_, size_, st.st_size));
  }
  if (st.st_mtim.tv_sec != modified_.tv_sec || st.st_mtim.tv_nsec != modified_.tv_nsec) {
    return fail("source_changed", fmt::format("{} was written to while it was read", name_));
  }
  return {};
}

Result<> MemorySource::read_at(std::uint64_t offset, MutableBytes out) const {
  if (offset > bytes_.size() || out.size() > bytes_.size() - offset) {
    return fail("source_changed", "memory ends before the range that was asked for");
  }
  if (!out.empty()) std::memcpy(out.data(), bytes_.data() + offset, out.size());
  return {};
}

Result<std::size_t> MemoryPull::read(MutableBytes out) {
  const std::size_t taken = std::min(out.size(), rest_.size());
  if (taken != 0) std::memcpy(out.data(), rest_.data(), taken);
  rest_ = rest_.subspan(taken);
  return taken;
}

}  // namespace tb::tbenc
