#include "hydrate/cache.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>

#include "base/crypto.h"
#include "base/memory.h"

namespace tb::hydrate {
namespace {

Error does_not_fit(std::string_view reason, const std::string& where, std::uint64_t wanted, std::uint64_t free) {
  return Error(reason, fmt::format("the ciphertext cache needs {} MiB in {}, {} MiB are free", (wanted >> 20) + 1,
                                   where, free >> 20));
}

Result<Fd> open_on_disk(const std::string& directory, std::uint64_t bytes) {
  TRY(make_directories(directory, 0700));
  struct statvfs fs{};
  if (statvfs(directory.c_str(), &fs) != 0) return fail(error_from_errno(errno, directory));
  const std::uint64_t free = std::uint64_t{fs.f_bavail} * fs.f_frsize;
  if (free < bytes) return fail(does_not_fit("disk_full", directory, bytes, free));
  const std::string path = directory + "/.ciphertext-" + random_token(12);
  Fd fd = TRY(open_file(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  if (unlink(path.c_str()) != 0) return fail(error_from_errno(errno, path));
  int rc;
  do rc = fallocate(fd.get(), 0, 0, static_cast<off_t>(bytes));
  while (rc != 0 && errno == EINTR);
  if (rc != 0 && errno == EOPNOTSUPP) rc = ftruncate(fd.get(), static_cast<off_t>(bytes));
  if (rc != 0) return fail(error_from_errno(errno, "ciphertext cache in " + directory));
  return fd;
}

Result<Fd> open_in_memory(std::uint64_t bytes) {
  const auto free = memory_available();
  if (free && *free < bytes) return fail(does_not_fit("memory_short", "memory", bytes, *free));
  Fd fd(memfd_create("trustbridge-ciphertext", MFD_CLOEXEC));
  if (!fd) return fail(error_from_errno(errno, "memory for the ciphertext cache"));
  if (ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) {
    return fail(error_from_errno(errno, "memory for the ciphertext cache"));
  }
  return fd;
}

}  // namespace

Cache::Cache(Fd fd, const tbenc::Layout& layout, const tbenc::Header& header)
    : fd_(std::move(fd)), layout_(layout), header_(header), present_(layout.chunk_count()) {}

Result<std::shared_ptr<Cache>> Cache::create(CacheKind kind, const std::string& directory, const tbenc::Layout& layout,
                                             const tbenc::Header& header) {
  const std::uint64_t bytes = layout.ciphertext_bytes();
  Fd fd = TRY(kind == CacheKind::kDisk ? open_on_disk(directory, bytes) : open_in_memory(bytes));
  const auto encoded = tbenc::encode_header(header);
  TRY(pwrite_full(fd.get(), encoded, 0, "ciphertext cache"));
  return std::shared_ptr<Cache>(new Cache(std::move(fd), layout, header));
}

Result<> Cache::write_record(std::uint64_t chunk, ByteView record) {
  if (record.size() != layout_.record_bytes(chunk)) return fail("internal", "a record of the wrong size for the cache");
  TRY(pwrite_full(fd_.get(), record, layout_.record_offset(chunk), "ciphertext cache"));
  {
    const std::lock_guard lock(mutex_);
    if (!present_[chunk]) ++present_count_;
    present_[chunk] = true;
  }
  arrived_.notify_all();
  return {};
}

Result<> Cache::read_record(std::uint64_t chunk, MutableBytes out) const {
  return read_at(layout_.record_offset(chunk), out);
}

bool Cache::present(std::uint64_t chunk) const {
  const std::lock_guard lock(mutex_);
  return present_[chunk];
}

bool Cache::wait_for(std::uint64_t chunk, std::stop_token stop) const {
  std::unique_lock lock(mutex_);
  return arrived_.wait(lock, stop, [&] { return present_[chunk]; });
}

void Cache::forget(std::uint64_t chunk) {
  const std::lock_guard lock(mutex_);
  if (present_[chunk]) --present_count_;
  present_[chunk] = false;
}

bool Cache::complete() const {
  const std::lock_guard lock(mutex_);
  return present_count_ == present_.size();
}

Result<> Cache::read_at(std::uint64_t offset, MutableBytes out) const {
  const std::size_t got = TRY(pread_full(fd_.get(), out, offset, "ciphertext cache"));
  if (got != out.size()) return fail("io_error", "the ciphertext cache is shorter than it was made");
  return {};
}

}  // namespace tb::hydrate
