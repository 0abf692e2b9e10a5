// Blobs by their digest in a folder: <folder>/blobs/sha256/<hex>, as an OCI layout has them. Everything that an image
// is made of passes through here, piece by piece, and stays only if its bytes are what their digest says.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/crypto.h"
#include "base/fs.h"
#include "oci/manifest.h"

namespace tb::oci {

class BlobFolder {
 public:
  /// Makes <folder>/blobs/sha256 where it is not there. Throws what make_directories gives.
  explicit BlobFolder(std::string folder);
  const std::string& folder() const { return folder_; }
  /// `digest` must be is_digest().
  std::string path_of(std::string_view digest) const;
  /// A file of that digest's name and size is there; its bytes were verified when it was put.
  bool has(const Descriptor& blob) const;
  Descriptor put(std::string_view media_type, std::string_view text) const;
  /// The whole of a small blob, verified. Throws "image_digest_mismatch", "image_malformed" (larger than a document may
  /// be), "file_not_found".
  std::string read(const Descriptor& blob) const;

 private:
  std::string folder_;
};

/// A blob that comes piece by piece. Dropped without keep() it leaves nothing.
class IncomingBlob {
 public:
  explicit IncomingBlob(const BlobFolder& folder);
  ~IncomingBlob();
  IncomingBlob(const IncomingBlob&) = delete;
  IncomingBlob& operator=(const IncomingBlob&) = delete;

  void write(ByteView piece);
  std::uint64_t bytes() const { return bytes_; }
  /// Its digest is what it is: for blobs that we make.
  Descriptor keep(std::string_view media_type);
  /// Throws "image_digest_mismatch" if the bytes are not those of `blob`.
  void keep_as(const Descriptor& blob);

 private:
  const BlobFolder& folder_;
  std::string partial_;
  Fd fd_;
  Sha256 hash_;
  std::uint64_t bytes_ = 0;
};

}  // namespace tb::oci
