// Reading and growing the files of the embedded store.
#include "controlplane/blob_files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "api/asset.h"

namespace tb::controlplane {
namespace {

std::optional<std::uint64_t> size_if_there(const std::string& path) {
  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0) return std::nullopt;
  if (!S_ISREG(info.st_mode)) throw Error("io_error", "an object of the store is no regular file");
  return static_cast<std::uint64_t>(info.st_size);
}

void sync_directory(const std::string& path) {
  const Fd dir = value_or_throw(open_file(path, O_RDONLY | O_DIRECTORY));
  if (::fsync(dir.get()) != 0) throw error_from_errno(errno, path);
}

}  // namespace

BlobFiles::BlobFiles(std::string root) : root_(std::move(root)) {
  value_or_throw(make_directories(root_, 0700));
}

std::string BlobFiles::directory(const BlobName& blob) const {
  // The names have no slash and no dot, so nothing leads out of the root.
  if (!api::valid_name(blob.tenant) || !api::valid_asset_id(blob.asset_id) ||
      (blob.name != kCiphertextName && blob.name != kManifestName)) {
    throw Error("blob_not_found", "there is no such object");
  }
  return root_ + "/" + blob.tenant + "/" + blob.asset_id;
}

std::optional<BlobFiles::Object> BlobFiles::open(const BlobName& blob) const {
  const std::string path = directory(blob) + "/" + std::string(blob.name);
  auto fd = open_file(path, O_RDONLY | O_NOFOLLOW);
  if (!fd) {
    if (fd.error().reason == "file_not_found") return std::nullopt;
    throw Error(fd.error());
  }
  const std::uint64_t bytes = value_or_throw(file_size(fd->get(), "an object of the store"));
  return Object{.fd = std::move(*fd), .bytes = bytes};
}

api::UploadState BlobFiles::state(const BlobName& blob, std::uint64_t total) const {
  const std::string path = directory(blob) + "/" + std::string(blob.name);
  api::UploadState out{.total_bytes = static_cast<std::int64_t>(total)};
  if (const auto whole = size_if_there(path)) {
    if (*whole != total) throw Error("blob_conflict", "another object is stored under this name");
    out.received_bytes = out.total_bytes;
    out.complete = true;
  } else if (const auto part = size_if_there(path + ".partial")) {
    out.received_bytes = static_cast<std::int64_t>(*part);
  }
  return out;
}

api::UploadState BlobFiles::add(const BlobName& blob, std::uint64_t offset, std::uint64_t total, ByteView piece) const {
  const std::string dir = directory(blob);
  const std::string path = dir + "/" + std::string(blob.name);
  value_or_throw(make_directories(root_ + "/" + blob.tenant, 0700));
  value_or_throw(make_directories(dir, 0700));
  const Fd fd = value_or_throw(open_file(path + ".partial", O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  // Two uploads of the same object take turns; the second finds another offset than it thought.
  if (::flock(fd.get(), LOCK_EX) != 0) throw error_from_errno(errno, "an upload's lock");
  if (size_if_there(path)) {
    ::unlink((path + ".partial").c_str());
    throw Error("blob_conflict", "the object is stored already");
  }
  std::uint64_t stored = value_or_throw(file_size(fd.get(), "a partial object"));
  if (offset == 0 && stored > 0) {
    if (::ftruncate(fd.get(), 0) != 0) throw error_from_errno(errno, "a partial object");
    stored = 0;
  }
  if (stored != offset) throw Error("upload_offset_wrong", "the piece does not begin where the stored bytes end");
  if (piece.size() > total - offset) throw Error("range_invalid", "the piece is longer than the object");
  if (auto written = pwrite_full(fd.get(), piece, offset, "an object of the store"); !written) {
    // What did not fit is taken back, so that the upload can go on from where it was.
    if (::ftruncate(fd.get(), static_cast<off_t>(offset)) != 0) throw error_from_errno(errno, "a partial object");
    throw Error(written.error());
  }
  api::UploadState out{.received_bytes = static_cast<std::int64_t>(offset + piece.size()),
                       .total_bytes = static_cast<std::int64_t>(total)};
  if (offset + piece.size() == total) {
    if (::fsync(fd.get()) != 0) throw error_from_errno(errno, "an object of the store");
    if (::renameat2(AT_FDCWD, (path + ".partial").c_str(), AT_FDCWD, path.c_str(), RENAME_NOREPLACE) != 0) {
      throw error_from_errno(errno, "an object of the store");
    }
    sync_directory(dir);
    out.complete = true;
  }
  return out;
}

}  // namespace tb::controlplane
