// From the plaintext stream back to files, and the walk that proves a stream says what its index says.
//
// StreamCheck looks at every byte as it passes: it belongs to an indexed file, to a header that agrees with the index,
// or is zero padding; SHA-256s in the index are checked where they stand. Unpacker does the same and writes the files:
// all of it into `.<name>.<random>.partial` beside the target, which gets its name only in finish() and is removed with
// everything in it otherwise. Nothing is created but what the index names, and no link is ever followed.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "asset/content.h"
#include "asset/tar_map.h"
#include "base/crypto.h"
#include "base/fs.h"
#include "base/result.h"
#include "tbenc/sink.h"

namespace tb::asset {

/// Takes the plaintext in order; movable, the content must outlive it.
class StreamCheck final : public tbenc::Sink {
 public:
  /// "archive_malformed" if the index leaves impossible gaps.
  static Result<StreamCheck> make(const Content& content, std::uint64_t plaintext_bytes);
  /// "archive_malformed" where stream and index disagree, "plaintext_digest_mismatch".
  Result<> write(ByteView bytes) override;
  /// "archive_malformed" if bytes are missing.
  Result<> finish();

 private:
  explicit StreamCheck(const Content& content, std::uint64_t total) : content_(&content), total_(total) {}
  Result<> take(const TarMap::Piece& piece, ByteView bytes);
  Result<> end_file(std::size_t index);

  const Content* content_;
  std::uint64_t total_;
  std::uint64_t at_ = 0;
  std::optional<TarMap> map_;  ///< of a tar
  std::set<std::string> directories_;
  Bytes gap_;
  std::optional<Sha256> whole_;
  Sha256 part_;  ///< of the file that is passing
};

class Unpacker final : public tbenc::Sink {
 public:
  /// `target`: the directory (tar) or file to make. "output_exists" if it is there and not `replace`; a file is
  /// replaced only by a file, and a directory only by a directory of which it is an older copy: one that holds anything
  /// the index does not name is never removed. Errors of StreamCheck::make and of the file system.
  static Result<Unpacker> create(const Content& content, std::uint64_t plaintext_bytes, std::string target,
                                 bool replace = false);
  ~Unpacker() override;
  Unpacker(Unpacker&&) noexcept;
  Unpacker& operator=(Unpacker&&) = delete;

  /// Errors of StreamCheck::write and of the file system.
  Result<> write(ByteView bytes) override;
  /// Gives the target its name. Call it only once the end of the stream is known to be the true one.
  Result<> finish();

 private:
  struct Impl;
  explicit Unpacker(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tb::asset
