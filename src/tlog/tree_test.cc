// spec: RFC 6962 2.1; RFC 9162 2.1.3.2, 2.1.4.2; C2SP tlog-tiles
#include "tlog/tree.h"

#include <gtest/gtest.h>

#include "tlog/chain.h"
#include "tlog/tile.h"

namespace tb::tlog {
namespace {

Digest digest_of(std::string_view hex) {
  Digest out;
  std::ranges::copy(value_or_throw(from_hex(hex)), out.begin());
  return out;
}

/// The leaves of Certificate Transparency's own tests, and the roots of the trees of the first 1 to 8 of them.
const std::vector<std::string> kLeaves = {
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"};
const std::vector<std::string> kRoots = {"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                                         "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
                                         "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
                                         "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                                         "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
                                         "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
                                         "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
                                         "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};
constexpr std::string_view kLeaf1 = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7";
constexpr std::string_view kNode23 = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e";
constexpr std::string_view kNode4567 = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4";
constexpr std::string_view kLeaf4 = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b";
constexpr std::string_view kNode67 = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0";
constexpr std::string_view kNode45 = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a";

std::vector<Digest> known_leaves() {
  std::vector<Digest> out;
  for (const auto& hex : kLeaves) out.push_back(leaf_hash(as_text(value_or_throw(from_hex(hex)))));
  return out;
}

std::vector<Digest> many_leaves(std::size_t count) {
  std::vector<Digest> out;
  for (std::size_t i = 0; i < count; ++i) out.push_back(leaf_hash("leaf " + std::to_string(i)));
  return out;
}

/// The recursion of RFC 6962 2.1, word for word.
Digest naive_root(std::span<const Digest> leaves) {
  if (leaves.empty()) return empty_root();
  if (leaves.size() == 1) return leaves.front();
  std::size_t split = 1;
  while (split * 2 < leaves.size()) split *= 2;
  return node_hash(naive_root(leaves.first(split)), naive_root(leaves.subspan(split)));
}

std::vector<Digest> naive_path(std::size_t index, std::span<const Digest> leaves) {
  if (leaves.size() == 1) return {};
  std::size_t split = 1;
  while (split * 2 < leaves.size()) split *= 2;
  std::vector<Digest> path =
      index < split ? naive_path(index, leaves.first(split)) : naive_path(index - split, leaves.subspan(split));
  path.push_back(naive_root(index < split ? leaves.subspan(split) : leaves.first(split)));
  return path;
}

std::vector<Digest> naive_subproof(std::size_t old_size, std::span<const Digest> leaves, bool known) {
  if (old_size == leaves.size()) return known ? std::vector<Digest>{} : std::vector<Digest>{naive_root(leaves)};
  std::size_t split = 1;
  while (split * 2 < leaves.size()) split *= 2;
  if (old_size <= split) {
    auto proof = naive_subproof(old_size, leaves.first(split), known);
    proof.push_back(naive_root(leaves.subspan(split)));
    return proof;
  }
  auto proof = naive_subproof(old_size - split, leaves.subspan(split), false);
  proof.push_back(naive_root(leaves.first(split)));
  return proof;
}

NodeReader reader_of(const std::vector<Digest>& leaves) {
  return [&leaves](unsigned height, std::uint64_t index) {
    const std::uint64_t count = std::uint64_t{1} << height;
    EXPECT_LE((index + 1) * count, leaves.size());
    return naive_root(std::span(leaves).subspan(index * count, count));
  };
}

TEST(Tree, KnownRoots) {
  const auto leaves = known_leaves();
  Frontier frontier;
  EXPECT_EQ(to_hex(frontier.root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    frontier.append(leaves[i]);
    EXPECT_EQ(to_hex(frontier.root()), kRoots[i]) << i + 1;
    EXPECT_EQ(frontier.size(), i + 1);
    EXPECT_EQ(to_hex(root_at(i + 1, reader_of(leaves))), kRoots[i]);
  }
}

TEST(Tree, KnownProofs) {
  const auto leaves = known_leaves();
  const auto read = reader_of(leaves);
  const auto hashes = [](std::initializer_list<std::string_view> hexes) {
    std::vector<Digest> out;
    for (const auto hex : hexes) out.push_back(digest_of(hex));
    return out;
  };
  EXPECT_EQ(inclusion_proof(0, 1, read), hashes({}));
  EXPECT_EQ(inclusion_proof(0, 8, read), hashes({kLeaf1, kNode23, kNode4567}));
  EXPECT_EQ(inclusion_proof(5, 8, read), hashes({kLeaf4, kNode67, kRoots[3]}));
  EXPECT_EQ(inclusion_proof(2, 3, read), hashes({kRoots[1]}));
  EXPECT_EQ(inclusion_proof(1, 5, read), hashes({kRoots[0], kNode23, kLeaf4}));
  EXPECT_EQ(consistency_proof(1, 1, read), hashes({}));
  EXPECT_EQ(consistency_proof(1, 8, read), hashes({kLeaf1, kNode23, kNode4567}));
  EXPECT_EQ(consistency_proof(6, 8, read), hashes({kNode45, kNode67, kRoots[3]}));
  EXPECT_EQ(consistency_proof(2, 5, read), hashes({kNode23, kLeaf4}));
}

TEST(Tree, EveryProofIsThatOfTheRecursionAndVerifies) {
  const auto leaves = many_leaves(67);
  const auto read = reader_of(leaves);
  for (std::size_t size = 1; size <= leaves.size(); ++size) {
    const std::span now(leaves.data(), size);
    const Digest root = naive_root(now);
    for (std::size_t i = 0; i < size; ++i) {
      const auto proof = inclusion_proof(i, size, read);
      ASSERT_EQ(proof, naive_path(i, now)) << i << " of " << size;
      ASSERT_TRUE(verify_inclusion(leaves[i], i, size, proof, root)) << i << " of " << size;
    }
    for (std::size_t old = 0; old <= size; ++old) {
      const auto proof = consistency_proof(old, size, read);
      if (old > 0) ASSERT_EQ(proof, naive_subproof(old, now, true)) << old << " to " << size;
      ASSERT_TRUE(verify_consistency(old, naive_root(now.first(old)), size, root, proof)) << old << " to " << size;
    }
  }
}

TEST(Tree, ChangedProofsAreRefused) {
  const auto leaves = many_leaves(21);
  const auto read = reader_of(leaves);
  const Digest root = naive_root(leaves);
  const Digest other = leaf_hash("other");
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    const auto proof = inclusion_proof(i, leaves.size(), read);
    EXPECT_FALSE(verify_inclusion(other, i, leaves.size(), proof, root));
    EXPECT_FALSE(verify_inclusion(leaves[i], (i + 1) % leaves.size(), leaves.size(), proof, root));
    EXPECT_FALSE(verify_inclusion(leaves[i], i, leaves.size(), proof, other));
    EXPECT_FALSE(verify_inclusion(leaves[i], leaves.size(), leaves.size(), proof, root));
    for (std::size_t at = 0; at < proof.size(); ++at) {
      auto changed = proof;
      changed[at] = other;
      EXPECT_FALSE(verify_inclusion(leaves[i], i, leaves.size(), changed, root));
    }
    EXPECT_FALSE(verify_inclusion(leaves[i], i, leaves.size(), std::span(proof).first(proof.size() - 1), root));
    auto longer = proof;
    longer.push_back(other);
    EXPECT_FALSE(verify_inclusion(leaves[i], i, leaves.size(), longer, root));
  }
  for (std::size_t old = 1; old < leaves.size(); ++old) {
    const Digest old_root = naive_root(std::span(leaves).first(old));
    const auto proof = consistency_proof(old, leaves.size(), read);
    EXPECT_FALSE(verify_consistency(old, other, leaves.size(), root, proof));
    EXPECT_FALSE(verify_consistency(old, old_root, leaves.size(), other, proof));
    EXPECT_FALSE(verify_consistency(leaves.size(), root, old, old_root, proof));
    EXPECT_FALSE(verify_consistency(old, old_root, leaves.size(), root, std::span(proof).first(proof.size() - 1)));
    for (std::size_t at = 0; at < proof.size(); ++at) {
      auto changed = proof;
      changed[at] = other;
      EXPECT_FALSE(verify_consistency(old, old_root, leaves.size(), root, changed)) << old << " at " << at;
    }
    auto longer = proof;
    longer.push_back(other);
    EXPECT_FALSE(verify_consistency(old, old_root, leaves.size(), root, longer));
  }
  EXPECT_FALSE(verify_consistency(0, empty_root(), 21, root, std::vector{other}));
  EXPECT_FALSE(verify_consistency(21, other, 21, root, {}));
}

TEST(Tree, AFrontierGoesOnFromItsBytes) {
  Frontier frontier;
  Frontier other;
  for (const Digest& leaf : many_leaves(70)) {
    other = Frontier::from_bytes(other.size(), other.to_bytes());
    other.append(leaf);
    frontier.append(leaf);
    ASSERT_EQ(other.root(), frontier.root());
  }
  EXPECT_THROW(Frontier::from_bytes(3, Bytes(32)), Error);
  EXPECT_THROW(Frontier::from_bytes(1, Bytes(33)), Error);
}

TEST(Tree, AppendingTellsEachNodeOnce) {
  const auto leaves = many_leaves(40);
  Frontier frontier;
  std::map<std::pair<unsigned, std::uint64_t>, Digest> nodes;
  for (const Digest& leaf : leaves) {
    for (const Node& node : frontier.append(leaf)) {
      EXPECT_TRUE(nodes.emplace(std::pair(node.height, node.index), node.hash).second);
    }
  }
  EXPECT_EQ(nodes.size(), 40U + 20 + 10 + 5 + 2 + 1);
  for (const auto& [at, hash] : nodes) {
    EXPECT_EQ(hash, reader_of(leaves)(at.first, at.second)) << at.first << "/" << at.second;
  }
}

// ---- tiles ----

TEST(Tile, PathsAreThoseOfTheSpec) {
  EXPECT_EQ(tile_path({.level = 0, .index = 1234067}), "0/x001/x234/067");
  EXPECT_EQ(tile_path({.level = 3, .index = 7, .width = 17}), "3/007.p/17");
  EXPECT_EQ(tile_path({.level = {}, .index = 1000}), "entries/x001/000");
  for (const std::uint64_t index : {0ULL, 1ULL, 999ULL, 1000ULL, 999999ULL, 1000000ULL, 123456789012ULL}) {
    for (const std::uint64_t width : {1ULL, 255ULL, 256ULL}) {
      const TileId tile{.level = 2, .index = index, .width = width};
      EXPECT_EQ(parse_tile_path(tile_path(tile)), tile);
    }
  }
}

TEST(Tile, OtherPathsAreRefused) {
  for (const auto* path :
       {"",          "0",           "0/",         "0/1",
        "0/01",      "0/0001",      "0/x001",     "0/x000/001",
        "0/x001/1",  "00/001",      "8/001",      "-1/001",
        "0/001.p/0", "0/001.p/256", "0/001.p/01", "0/001.p/",
        "0/001.p",   "0/001/",      "0//001",     "0/001.p/1/",
        "entry/001", "0/X001/000",  "0/../001",   "entries/x999/x999/x999/x999/x999/x999/x999/x999/999",
        "0/0 1",     "0/+01"}) {
    EXPECT_FALSE(parse_tile_path(path)) << path;
  }
}

TEST(Tile, WidthsAreThoseOfTheSpecsExample) {
  EXPECT_EQ(tile_width(0, 272, 70000), 256U);
  EXPECT_EQ(tile_width(0, 273, 70000), 112U);
  EXPECT_EQ(tile_width(0, 274, 70000), 0U);
  EXPECT_EQ(tile_width(1, 0, 70000), 256U);
  EXPECT_EQ(tile_width(1, 1, 70000), 17U);
  EXPECT_EQ(tile_width(2, 0, 70000), 1U);
  EXPECT_EQ(tile_width(3, 0, 70000), 0U);
  EXPECT_EQ(tile_width(0, 0, 256), 256U);
  EXPECT_EQ(tile_width(0, 1, 256), 0U);
  EXPECT_EQ(tile_width(1, 0, 256), 1U);
  EXPECT_EQ(tile_width(0, 0, 0), 0U);
}

TEST(Tile, ProofsOutOfTilesVerifyAndReadLittle) {
  const auto leaves = many_leaves(1300);
  std::map<std::pair<unsigned, std::uint64_t>, Digest> rows;
  Frontier frontier;
  for (const Digest& leaf : leaves) {
    for (const Node& node : frontier.append(leaf)) {
      if (node.height % kTileHeight == 0) rows[{node.height / kTileHeight, node.index}] = node.hash;
    }
  }
  EXPECT_EQ(rows.size(), 1305U);
  std::uint64_t reads = 0;
  const RowReader read = [&](unsigned level, std::uint64_t first, std::uint64_t count) {
    ++reads;
    std::vector<Digest> out;
    for (std::uint64_t i = 0; i < count; ++i) out.push_back(rows.at({level, first + i}));
    return out;
  };
  for (const std::uint64_t size : {1ULL, 255ULL, 256ULL, 257ULL, 512ULL, 1023ULL, 1300ULL}) {
    const Digest root = naive_root(std::span(leaves).first(size));
    for (const std::uint64_t index : {std::uint64_t{0}, size / 2, size - 1}) {
      TiledNodes nodes(size, read);
      reads = 0;
      const auto proof = inclusion_proof(index, size, nodes.reader());
      EXPECT_LE(reads, 4U);
      EXPECT_TRUE(verify_inclusion(leaves[index], index, size, proof, root)) << index << " of " << size;
      TiledNodes more(size, read);
      const auto grown = consistency_proof(index, size, more.reader());
      EXPECT_TRUE(verify_consistency(index, naive_root(std::span(leaves).first(index)), size, root, grown));
    }
    TiledNodes nodes(size, read);
    EXPECT_EQ(root_at(size, nodes.reader()), root);
  }
  TiledNodes short_rows(300, [](unsigned, std::uint64_t, std::uint64_t) { return std::vector<Digest>(2); });
  EXPECT_THROW(root_at(300, short_rows.reader()), Error);
}

}  // namespace
}  // namespace tb::tlog
