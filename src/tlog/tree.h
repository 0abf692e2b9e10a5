// The Merkle tree of RFC 6962 2.1 over the lines of a log: a frontier that grows, proofs, and their verification.
//
// Nothing here stores anything. Who appends keeps a Frontier (at most 64 hashes, whatever the log's size); who proves
// gives a NodeReader over complete subtrees, wherever those lie.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/crypto.h"

namespace tb::tlog {

/// SHA-256(0x01 ‖ left ‖ right). RFC 6962 2.1.
Digest node_hash(const Digest& left, const Digest& right);
/// The root of a tree without leaves: SHA-256 of nothing.
Digest empty_root();

/// The root of the complete subtree over leaves [index << height, (index + 1) << height).
struct Node {
  unsigned height = 0;
  std::uint64_t index = 0;
  Digest hash{};
};

/// The roots of the complete subtrees that a tree of `size` leaves falls into, largest first: all that appending needs.
class Frontier {
 public:
  Frontier() = default;
  /// Throws "chain_broken" unless there is one hash for each bit set in `size`.
  Frontier(std::uint64_t size, std::vector<Digest> hashes);

  /// Adds a leaf hash; gives the nodes that became complete by it, the leaf's own first.
  std::vector<Node> append(const Digest& leaf);
  Digest root() const;
  std::uint64_t size() const { return size_; }
  const std::vector<Digest>& hashes() const { return hashes_; }

  /// The hashes one after the other, for a row or a file, and back. Throws "chain_broken" as the constructor.
  Bytes to_bytes() const;
  static Frontier from_bytes(std::uint64_t size, ByteView bytes);

 private:
  std::uint64_t size_ = 0;
  std::vector<Digest> hashes_;
};

/// Gives Node::hash of a complete subtree; called only for ones inside the tree that is asked about.
using NodeReader = std::function<Digest(unsigned height, std::uint64_t index)>;

/// Root of the first `size` leaves.
Digest root_at(std::uint64_t size, const NodeReader& read);
/// From the leaf's sibling up. Throws "internal" unless index < size. RFC 6962 2.1.1.
std::vector<Digest> inclusion_proof(std::uint64_t index, std::uint64_t size, const NodeReader& read);
/// Empty for old_size 0 and for equal sizes. Throws "internal" unless old_size <= size. RFC 6962 2.1.2.
std::vector<Digest> consistency_proof(std::uint64_t old_size, std::uint64_t size, const NodeReader& read);

/// RFC 9162 2.1.3.2.
bool verify_inclusion(const Digest& leaf, std::uint64_t index, std::uint64_t size, std::span<const Digest> proof,
                      const Digest& root);
/// RFC 9162 2.1.4.2. Every tree is consistent with the empty one, by an empty proof.
bool verify_consistency(std::uint64_t old_size, const Digest& old_root, std::uint64_t size, const Digest& root,
                        std::span<const Digest> proof);

}  // namespace tb::tlog
