#include "tlog/growth.h"

#include <algorithm>
#include <bit>

namespace tb::tlog {
namespace {

Digest find_node(std::span<const Node> nodes, unsigned height, std::uint64_t index) {
  const auto found =
      std::ranges::find_if(nodes, [&](const Node& node) { return node.height == height && node.index == index; });
  if (found == nodes.end()) throw Error("internal", "a node of a tree was asked for that is not kept");
  return found->hash;
}

}  // namespace

void Growth::append(std::span<const Node> completed) {
  nodes_.push_back(completed.front());
  ++end_;
  for (const Node& parent : completed.subspan(1)) {
    if (nodes_.size() < 2) return;
    const Node& left = nodes_[nodes_.size() - 2];
    if (left.height + 1 != parent.height || left.index % 2 != 0) return;
    nodes_.pop_back();
    nodes_.back() = parent;
  }
}

std::vector<Digest> Growth::consistency_proof() const {
  std::vector<Node> nodes = nodes_of(from_);
  nodes.insert(nodes.end(), nodes_.begin(), nodes_.end());
  return tlog::consistency_proof(begin(), end(),
                                 [&](unsigned height, std::uint64_t index) { return find_node(nodes, height, index); });
}

std::vector<Node> nodes_of(const Frontier& frontier) {
  std::vector<Node> nodes;
  std::uint64_t begin = 0;
  for (const Digest& hash : frontier.hashes()) {
    const std::uint64_t leaves = std::bit_floor(frontier.size() - begin);
    const auto height = static_cast<unsigned>(std::countr_zero(leaves));
    nodes.push_back({.height = height, .index = begin >> height, .hash = hash});
    begin += leaves;
  }
  return nodes;
}

NodeReader nodes_after(const Frontier& cut, std::span<const Digest> leaves) {
  return [first = cut.size(), kept = nodes_of(cut), leaves](unsigned height, std::uint64_t index) {
    const auto read = [&](auto&& self, unsigned h, std::uint64_t i) -> Digest {
      const std::uint64_t begin = i << h;
      const std::uint64_t end = (i + 1) << h;
      if (end <= first) return find_node(kept, h, i);
      if (begin < first) return node_hash(self(self, h - 1, 2 * i), self(self, h - 1, 2 * i + 1));
      if (end - first > leaves.size()) throw Error("internal", "a node of a tree was asked for beyond its end");
      Frontier part;
      for (std::uint64_t at = begin; at < end; ++at) part.append(leaves[at - first]);
      return part.root();
    };
    return read(read, height, index);
  };
}

}  // namespace tb::tlog
