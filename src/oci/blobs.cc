#include "oci/blobs.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "oci/reference.h"

namespace tb::oci {
namespace {

constexpr std::string_view kAlgorithm = "sha256:";

}  // namespace

BlobFolder::BlobFolder(std::string folder) : folder_(std::move(folder)) {
  value_or_throw(make_directories(folder_ + "/blobs/sha256", 0755));
}

std::string BlobFolder::path_of(std::string_view digest) const {
  if (!is_digest(digest)) throw Error("internal", "a blob was asked for by something that is no digest");
  return folder_ + "/blobs/sha256/" + std::string(digest.substr(kAlgorithm.size()));
}

bool BlobFolder::has(const Descriptor& blob) const {
  struct stat found{};
  return ::lstat(path_of(blob.digest).c_str(), &found) == 0 && S_ISREG(found.st_mode) &&
         static_cast<std::uint64_t>(found.st_size) == blob.bytes;
}

Descriptor BlobFolder::put(std::string_view media_type, std::string_view text) const {
  IncomingBlob blob(*this);
  blob.write(as_bytes(text));
  return blob.keep(media_type);
}

std::string BlobFolder::read(const Descriptor& blob) const {
  if (blob.bytes > kMaxDocumentBytes) throw Error("image_malformed", "a document of the image is too large");
  std::string text = value_or_throw(read_small_file(path_of(blob.digest), kMaxDocumentBytes));
  if (text.size() != blob.bytes || digest_of(text) != blob.digest) {
    throw Error("image_digest_mismatch", fmt::format("{} holds other bytes than its name says", blob.digest));
  }
  return text;
}

IncomingBlob::IncomingBlob(const BlobFolder& folder)
    : folder_(folder),
      partial_(fmt::format("{}/blobs/sha256/.{}.partial", folder.folder(), random_token(12))),
      fd_(value_or_throw(open_file(partial_, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0644))) {}

IncomingBlob::~IncomingBlob() {
  if (!partial_.empty()) ::unlink(partial_.c_str());
}

void IncomingBlob::write(ByteView piece) {
  value_or_throw(write_full(fd_.get(), piece, partial_));
  hash_.update(piece);
  bytes_ += piece.size();
}

Descriptor IncomingBlob::keep(std::string_view media_type) {
  Descriptor out{.media_type = std::string(media_type),
                 .digest = std::string(kAlgorithm) + to_hex(hash_.finish()),
                 .bytes = bytes_};
  const std::string path = folder_.path_of(out.digest);
  if (::fsync(fd_.get()) != 0) throw error_from_errno(errno, partial_);
  if (std::rename(partial_.c_str(), path.c_str()) != 0) throw error_from_errno(errno, path);
  partial_.clear();
  return out;
}

void IncomingBlob::keep_as(const Descriptor& blob) {
  const std::string digest = std::string(kAlgorithm) + to_hex(Sha256(hash_).finish());
  if (bytes_ != blob.bytes || digest != blob.digest) {
    throw Error("image_digest_mismatch", fmt::format("what came for {} has {} of {} bytes and the digest {}",
                                                     blob.digest, bytes_, blob.bytes, digest));
  }
  keep(blob.media_type);
}

}  // namespace tb::oci
