// How a file becomes the blocks of a blob: sizes, and names that say what is in them. Pure.
//
// A block's name (its id) holds its number, the size of blocks, and 24 bytes of a digest. For a file that is uploaded
// the digest is the SHA-256 of the file from its start to the block's end: a block that the service holds under a name
// has just those bytes before and in it, so an interrupted upload goes on with what is proven and with nothing else.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/crypto.h"
#include "base/result.h"

namespace tb::azure {

inline constexpr std::uint64_t kLeastBlockBytes = std::uint64_t{8} << 20;
inline constexpr std::uint64_t kMostBlockBytes = std::uint64_t{64} << 20;
inline constexpr std::uint64_t kMostBlocks = 50'000;  ///< of a blob, by the service

struct Block {
  std::uint32_t number = 0;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
};

class BlockPlan {
 public:
  /// `block_bytes` 0: 8 MiB, or what it takes in MiB for at most 50 000 blocks. "file_too_large" if so many blocks do
  /// not hold `total_bytes`, or more than 64 MiB would be needed; "usage" for a size above 64 MiB.
  static Result<BlockPlan> make(std::uint64_t total_bytes, std::uint64_t block_bytes = 0);

  std::uint64_t total_bytes() const { return total_bytes_; }
  std::uint64_t block_bytes() const { return block_bytes_; }
  std::uint32_t count() const { return count_; }
  Block block(std::uint32_t number) const;
  /// base64 of 32 bytes: equal in length for all, as the service wants it.
  std::string id(std::uint32_t number, const Digest& digest) const;

 private:
  std::uint64_t total_bytes_ = 0, block_bytes_ = 0;
  std::uint32_t count_ = 0;
};

/// The body of Put Block List: these blocks in their order, the newest of each name.
std::string block_list_body(std::span<const std::string> ids);

}  // namespace tb::azure
