// spec: RFC 6962 2.1.1, 2.1.2
#include "tlog/growth.h"

#include <gtest/gtest.h>

#include "tlog/chain.h"

namespace tb::tlog {
namespace {

std::vector<Digest> many_leaves(std::size_t count) {
  std::vector<Digest> out;
  for (std::size_t i = 0; i < count; ++i) out.push_back(leaf_hash("leaf " + std::to_string(i)));
  return out;
}

Frontier frontier_of(std::span<const Digest> leaves) {
  Frontier out;
  for (const Digest& leaf : leaves) out.append(leaf);
  return out;
}

TEST(Growth, ProvesEverySizeAgainstEverySizeBefore) {
  const auto leaves = many_leaves(70);
  for (std::size_t from = 0; from <= leaves.size(); ++from) {
    const Frontier then = frontier_of(std::span(leaves).first(from));
    Growth growth(then);
    Frontier now = then;
    for (std::size_t size = from; size <= leaves.size(); ++size) {
      ASSERT_EQ(growth.end(), size);
      const auto proof = growth.consistency_proof();
      ASSERT_TRUE(verify_consistency(from, then.root(), size, now.root(), proof)) << from << " to " << size;
      const auto whole = consistency_proof(from, size, nodes_after(Frontier(), leaves));
      ASSERT_EQ(proof, whole) << from << " to " << size;
      if (size == leaves.size()) break;
      growth.append(now.append(leaves[size]));
    }
  }
}

TEST(Growth, OfAnotherTreeProvesNothing) {
  const auto leaves = many_leaves(20);
  Growth growth(frontier_of(std::span(leaves).first(5)));
  Frontier grown = frontier_of(std::span(leaves).first(5)), now = grown;
  for (std::size_t i = 5; i < 20; ++i) {
    growth.append(grown.append(leaves[i]));
    now.append(leaves[i == 9 ? 0 : i]);
  }
  EXPECT_FALSE(verify_consistency(5, frontier_of(std::span(leaves).first(5)).root(), 20, now.root(),
                                  growth.consistency_proof()));
}

TEST(Growth, ACutLogProvesAllThatIsLeft) {
  const auto leaves = many_leaves(45);
  for (std::size_t cut = 0; cut <= leaves.size(); ++cut) {
    const Frontier before = frontier_of(std::span(leaves).first(cut));
    const NodeReader kept = nodes_after(before, std::span(leaves).subspan(cut));
    for (std::size_t size = std::max<std::size_t>(cut, 1); size <= leaves.size(); ++size) {
      const Digest root = frontier_of(std::span(leaves).first(size)).root();
      ASSERT_EQ(root_at(size, kept), root) << cut << " " << size;
      for (std::size_t index = cut; index < size; ++index) {
        ASSERT_TRUE(verify_inclusion(leaves[index], index, size, inclusion_proof(index, size, kept), root))
            << cut << " " << index << " " << size;
      }
      for (std::size_t old = cut; old <= size; ++old) {
        const Digest old_root = frontier_of(std::span(leaves).first(old)).root();
        ASSERT_TRUE(verify_consistency(old, old_root, size, root, consistency_proof(old, size, kept)))
            << cut << " " << old << " " << size;
      }
    }
  }
}

TEST(Growth, WhatWasCutOffIsNotMadeUp) {
  const auto leaves = many_leaves(12);
  const Frontier before = frontier_of(std::span(leaves).first(6));
  const NodeReader kept = nodes_after(before, std::span(leaves).subspan(6));
  EXPECT_THROW(inclusion_proof(2, 12, kept), Error);
  EXPECT_THROW(kept(0, 5), Error);
  EXPECT_THROW(kept(0, 12), Error) << "beyond the end";
  EXPECT_THROW(kept(3, 1), Error) << "half beyond the end";
}

}  // namespace
}  // namespace tb::tlog
