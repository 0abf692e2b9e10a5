#include "tlog/tree.h"

#include <algorithm>
#include <bit>

namespace tb::tlog {
namespace {

/// Largest power of two that is smaller than `size`, for size > 1: where RFC 6962 splits a tree.
std::uint64_t split_of(std::uint64_t size) {
  return std::bit_floor(size - 1);
}

/// Root over leaves [begin, end), which is a right part of a split tree: `begin` is a multiple of every complete
/// subtree that the range falls into.
Digest range_root(std::uint64_t begin, std::uint64_t end, const NodeReader& read) {
  std::vector<Digest> roots;
  while (begin < end) {
    const std::uint64_t leaves = std::bit_floor(end - begin);
    const auto height = static_cast<unsigned>(std::countr_zero(leaves));
    roots.push_back(read(height, begin >> height));
    begin += leaves;
  }
  if (roots.empty()) return empty_root();
  Digest root = roots.back();
  for (std::size_t i = roots.size() - 1; i-- > 0;) root = node_hash(roots[i], root);
  return root;
}

}  // namespace

Digest node_hash(const Digest& left, const Digest& right) {
  std::array<std::uint8_t, 1 + 2 * std::tuple_size_v<Digest>> bytes;
  bytes[0] = 1;
  std::ranges::copy(right, std::ranges::copy(left, bytes.begin() + 1).out);
  return sha256(bytes);
}

Digest empty_root() {
  return sha256(ByteView());
}

Frontier::Frontier(std::uint64_t size, std::vector<Digest> hashes) : size_(size), hashes_(std::move(hashes)) {
  if (static_cast<std::size_t>(std::popcount(size)) != hashes_.size()) {
    throw Error("chain_broken", "a frontier does not have the hashes that its size asks for");
  }
}

std::vector<Node> Frontier::append(const Digest& leaf) {
  std::vector<Node> completed{{.height = 0, .index = size_, .hash = leaf}};
  Digest hash = leaf;
  for (unsigned height = 0; ((size_ >> height) & 1) != 0; ++height) {
    hash = node_hash(hashes_.back(), hash);
    hashes_.pop_back();
    completed.push_back({.height = height + 1, .index = size_ >> (height + 1), .hash = hash});
  }
  hashes_.push_back(hash);
  ++size_;
  return completed;
}

Digest Frontier::root() const {
  if (hashes_.empty()) return empty_root();
  Digest root = hashes_.back();
  for (std::size_t i = hashes_.size() - 1; i-- > 0;) root = node_hash(hashes_[i], root);
  return root;
}

Bytes Frontier::to_bytes() const {
  Bytes out;
  for (const Digest& hash : hashes_) out.insert(out.end(), hash.begin(), hash.end());
  return out;
}

Frontier Frontier::from_bytes(std::uint64_t size, ByteView bytes) {
  if (bytes.size() % Digest().size() != 0) throw Error("chain_broken", "a frontier is cut short");
  std::vector<Digest> hashes(bytes.size() / Digest().size());
  for (std::size_t i = 0; i < hashes.size(); ++i) {
    std::ranges::copy(bytes.subspan(i * hashes[i].size(), hashes[i].size()), hashes[i].begin());
  }
  return {size, std::move(hashes)};
}

Digest root_at(std::uint64_t size, const NodeReader& read) {
  return range_root(0, size, read);
}

std::vector<Digest> inclusion_proof(std::uint64_t index, std::uint64_t size, const NodeReader& read) {
  if (index >= size) throw Error("internal", "a proof was asked for a leaf that is not in the tree");
  std::vector<Digest> proof;
  std::uint64_t begin = 0;
  std::uint64_t end = size;
  while (end - begin > 1) {
    const std::uint64_t middle = begin + split_of(end - begin);
    if (index < middle) {
      proof.push_back(range_root(middle, end, read));
      end = middle;
    } else {
      proof.push_back(range_root(begin, middle, read));
      begin = middle;
    }
  }
  std::ranges::reverse(proof);
  return proof;
}

std::vector<Digest> consistency_proof(std::uint64_t old_size, std::uint64_t size, const NodeReader& read) {
  if (old_size > size) throw Error("internal", "a consistency proof was asked for backwards");
  std::vector<Digest> proof;
  if (old_size == 0 || old_size == size) return proof;
  std::uint64_t begin = 0;
  std::uint64_t end = size;
  while (end != old_size) {
    const std::uint64_t middle = begin + split_of(end - begin);
    if (old_size <= middle) {
      proof.push_back(range_root(middle, end, read));
      end = middle;
    } else {
      proof.push_back(range_root(begin, middle, read));
      begin = middle;
    }
  }
  // The old tree's own root is known to who verifies, unless it is a part of a larger old tree.
  if (begin != 0) proof.push_back(range_root(begin, end, read));
  std::ranges::reverse(proof);
  return proof;
}

bool verify_inclusion(const Digest& leaf, std::uint64_t index, std::uint64_t size, std::span<const Digest> proof,
                      const Digest& root) {
  if (index >= size) return false;
  std::uint64_t at = index;
  std::uint64_t last = size - 1;
  Digest hash = leaf;
  for (const Digest& sibling : proof) {
    if (last == 0) return false;
    if ((at & 1) != 0 || at == last) {
      hash = node_hash(sibling, hash);
      while ((at & 1) == 0 && at != 0) {
        at >>= 1;
        last >>= 1;
      }
    } else {
      hash = node_hash(hash, sibling);
    }
    at >>= 1;
    last >>= 1;
  }
  return last == 0 && hash == root;
}

bool verify_consistency(std::uint64_t old_size, const Digest& old_root, std::uint64_t size, const Digest& root,
                        std::span<const Digest> proof) {
  if (old_size > size) return false;
  if (old_size == size) return proof.empty() && old_root == root;
  if (old_size == 0) return proof.empty();
  if (proof.empty()) return false;
  std::uint64_t at = old_size - 1;
  std::uint64_t last = size - 1;
  while ((at & 1) != 0) {
    at >>= 1;
    last >>= 1;
  }
  // A complete old tree is itself the first hash of the proof; it is not sent.
  const bool complete = std::has_single_bit(old_size);
  Digest old_hash = complete ? old_root : proof.front();
  Digest hash = old_hash;
  for (const Digest& step : proof.subspan(complete ? 0 : 1)) {
    if (last == 0) return false;
    if ((at & 1) != 0 || at == last) {
      old_hash = node_hash(step, old_hash);
      hash = node_hash(step, hash);
      while ((at & 1) == 0 && at != 0) {
        at >>= 1;
        last >>= 1;
      }
    } else {
      hash = node_hash(hash, step);
    }
    at >>= 1;
    last >>= 1;
  }
  return last == 0 && old_hash == old_root && hash == root;
}

}  // namespace tb::tlog
