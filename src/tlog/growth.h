// How a log has grown since one size of it, in bounded memory: who appends keeps this beside the frontier and can prove
// to a witness at any time that the tree of now continues the one of then, without reading a record again.
//
// And the nodes of a log whose first records are gone: the frontier where it was cut, and the records after it.
#pragma once

#include <span>
#include <vector>

#include "tlog/tree.h"

namespace tb::tlog {

/// Roots of the complete subtrees that leaves [begin, end) fall into: fewer than 128, whatever the distance.
class Growth {
 public:
  /// Nothing has grown yet since the tree that `from` is the frontier of.
  explicit Growth(Frontier from) : from_(std::move(from)), end_(from_.size()) {}

  /// `completed`: what Frontier::append() gave for the leaf, so that no node is hashed twice.
  void append(std::span<const Node> completed);
  std::uint64_t begin() const { return from_.size(); }
  std::uint64_t end() const { return end_; }
  /// Of the tree of end() leaves with that of begin() leaves. RFC 6962 2.1.2.
  std::vector<Digest> consistency_proof() const;

 private:
  Frontier from_;
  std::uint64_t end_;
  std::vector<Node> nodes_;  ///< left to right
};

/// The complete subtrees of a frontier, largest first.
std::vector<Node> nodes_of(const Frontier& frontier);

/// Nodes of a tree whose first `cut.size()` leaves are known by their frontier only, and the rest by `leaves`: enough
/// for proofs of any leaf that is left, and of consistency with any size that is not before the cut. Both outlive the
/// reader; it throws "internal" for a node that lies before the cut.
NodeReader nodes_after(const Frontier& cut, std::span<const Digest> leaves);

}  // namespace tb::tlog
