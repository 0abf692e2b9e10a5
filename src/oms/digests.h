// The digests of a model's files as its plaintext stream passes, once: while it is encrypted, while a ciphertext is
// opened to be verified, or while a directory is read. And the comparison with what a signer said.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "asset/content.h"
#include "asset/tar_map.h"
#include "base/crypto.h"
#include "oms/statement.h"

namespace tb::oms {

/// Takes the plaintext of `content` in order; movable.
class ModelDigests {
 public:
  /// `content` is validated and outlives this; nullptr for one file that its manifest gives no name: then it is called
  /// "." here. `shard_bytes` as the statement's. Throws "archive_malformed" for an impossible index.
  ModelDigests(const asset::Content* content, std::uint64_t plaintext_bytes, std::uint64_t shard_bytes = 0);
  /// Never throws but for memory: it runs inside the pipeline that encrypts.
  void update(ByteView plain);
  /// One resource for each file or shard, sorted by name. Throws "oms_content_mismatch" if the stream was not whole.
  std::vector<Resource> finish();

 private:
  void take(std::string_view path, std::uint64_t file_bytes, std::uint64_t offset, ByteView bytes);
  void add(std::string_view path, std::uint64_t start, std::uint64_t end);

  const asset::Content* content_;
  std::uint64_t total_, shard_bytes_;
  std::uint64_t at_ = 0;
  std::optional<asset::TarMap> map_;
  Sha256 hash_;
  std::vector<Resource> found_;
};

/// What is signed of a model that is encrypted: its digests without what OMS leaves out. Throws "oms_content_mismatch"
/// if nothing is left to sign.
Statement statement_of(std::vector<Resource> found, std::string subject, bool followed_links);

/// Throws "oms_content_mismatch" naming the first file that was changed, that is missing, or that nobody signed. Files
/// that the statement leaves out may be there. `found` is sorted by name.
void require_same(const Statement& signed_by, const std::vector<Resource>& found);

}  // namespace tb::oms
