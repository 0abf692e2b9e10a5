// spec: tbenc-v1 6
#include "deliver/mount_tree.h"

#include <gtest/gtest.h>

namespace tb::deliver {
namespace {

using Shape = MountTree::Shape;

constexpr std::uint64_t kBlock = 512;

/// A tar's index of files of 1000 bytes each: a header block before each, two blocks of bytes.
asset::Content tar_of(std::vector<std::string> paths) {
  std::ranges::sort(paths);
  asset::Content content;
  content.kind = asset::Content::Kind::kTar;
  std::uint64_t offset = kBlock;
  for (auto& path : paths) {
    content.files.push_back({.path = std::move(path), .offset = offset, .bytes = 1000});
    offset += 3 * kBlock;
  }
  return content;
}

std::uint64_t bytes_of(const asset::Content& content) {
  return content.files.size() * 3 * kBlock + 2 * kBlock;
}

MountTree tree_of(const asset::Content& content, Shape shape = Shape::kBare) {
  return value_or_throw(MountTree::create(content, bytes_of(content), "model", shape));
}

std::vector<std::string> names_of(const MountTree& tree, Inode directory) {
  std::vector<std::string> names;
  for (const Inode child : tree.node(directory)->children) names.push_back(tree.node(child)->name);
  return names;
}

TEST(MountTree, OneRawFileStandsUnderItsNameInEitherShape) {
  for (const Shape shape : {Shape::kBare, Shape::kWrapped}) {
    const MountTree tree = value_or_throw(MountTree::create(std::nullopt, 12345, "gpt.gguf", shape));
    EXPECT_EQ(names_of(tree, kRootInode), std::vector<std::string>{"gpt.gguf"});
    const MountNode* file = tree.node(tree.find(kRootInode, "gpt.gguf"));
    ASSERT_NE(file, nullptr);
    EXPECT_FALSE(file->directory);
    EXPECT_EQ(file->offset, 0U);
    EXPECT_EQ(file->bytes, 12345U);
    EXPECT_EQ(tree.file_bytes(), 12345U);
  }
}

TEST(MountTree, DirectoriesFollowFromThePaths) {
  const MountTree tree = tree_of(tar_of({"a/b/c", "a/b/d", "a.b", "a/e", "z", "b/b/c"}));
  EXPECT_EQ(names_of(tree, kRootInode), (std::vector<std::string>{"a", "a.b", "b", "z"}));
  const Inode a = tree.find(kRootInode, "a");
  EXPECT_EQ(names_of(tree, a), (std::vector<std::string>{"b", "e"}));
  EXPECT_EQ(names_of(tree, tree.find(a, "b")), (std::vector<std::string>{"c", "d"}));
  EXPECT_EQ(tree.node(kRootInode)->subdirectories, 2U);
  EXPECT_EQ(tree.node(tree.find(a, "b"))->parent, a);
  EXPECT_EQ(tree.file_count(), 6U);
  EXPECT_EQ(tree.size(), 1U + 6U + 4U) << "root, files, a, a/b, b, b/b";
}

TEST(MountTree, WrappedHasOneEntry) {
  const MountTree tree = tree_of(tar_of({"config.json", "sub/x"}), Shape::kWrapped);
  EXPECT_EQ(names_of(tree, kRootInode), std::vector<std::string>{"model"});
  const Inode top = tree.find(kRootInode, "model");
  EXPECT_EQ(names_of(tree, top), (std::vector<std::string>{"config.json", "sub"}));
  EXPECT_EQ(tree.find(kRootInode, "config.json"), kNoInode);
}

TEST(MountTree, WhatIsNotThereIsNotFound) {
  const MountTree tree = tree_of(tar_of({"a/b", "c"}));
  EXPECT_EQ(tree.find(kRootInode, "x"), kNoInode);
  EXPECT_EQ(tree.find(kRootInode, ""), kNoInode);
  EXPECT_EQ(tree.find(kRootInode, "a/b"), kNoInode);
  EXPECT_EQ(tree.find(tree.find(kRootInode, "c"), "b"), kNoInode) << "a file has no entries";
  EXPECT_EQ(tree.find(77, "a"), kNoInode);
  EXPECT_EQ(tree.node(kNoInode), nullptr);
  EXPECT_EQ(tree.node(tree.size() + 1), nullptr);
}

TEST(MountTree, PartsOfAPieceOfTheStream) {
  const MountTree tree = tree_of(tar_of({"a", "b", "c"}));
  const Inode a = tree.find(kRootInode, "a"), b = tree.find(kRootInode, "b"), c = tree.find(kRootInode, "c");
  EXPECT_TRUE(tree.parts_in(0, kBlock).empty()) << "a header only";
  EXPECT_TRUE(tree.parts_in(kBlock + 1000, 24).empty()) << "padding only";
  const auto one = tree.parts_in(kBlock + 10, 20);
  ASSERT_EQ(one.size(), 1U);
  EXPECT_EQ(one[0].inode, a);
  EXPECT_EQ(one[0].file_offset, 10U);
  EXPECT_EQ(one[0].bytes, 20U);
  const auto all = tree.parts_in(kBlock + 900, 2 * 3 * kBlock);
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0].bytes, 100U);
  EXPECT_EQ(all[1].inode, b);
  EXPECT_EQ(all[1].file_offset, 0U);
  EXPECT_EQ(all[1].stream_offset, 4 * kBlock);
  EXPECT_EQ(all[1].bytes, 1000U);
  EXPECT_EQ(all[2].inode, c);
  EXPECT_EQ(all[2].bytes, 900U);
  EXPECT_TRUE(tree.parts_in(bytes_of(tar_of({"a", "b", "c"})) - 1, 1).empty());
}

TEST(MountTree, EmptyFilesHaveNoParts) {
  auto content = tar_of({"a", "b"});
  content.files[0].bytes = 0;
  const MountTree tree = tree_of(content);
  EXPECT_EQ(tree.parts_in(0, bytes_of(content)).size(), 1U);
  EXPECT_EQ(tree.node(tree.find(kRootInode, "a"))->bytes, 0U);
}

TEST(MountTree, AnIndexThatBreaksTheRulesIsRefused) {
  const auto refused = [](asset::Content content, std::uint64_t bytes, const std::string& name = "model") {
    const auto tree = MountTree::create(content, bytes, name, Shape::kWrapped);
    return tree ? std::string() : tree.error().reason;
  };
  auto content = tar_of({"a", "b"});
  EXPECT_EQ(refused(content, bytes_of(content)), "");
  EXPECT_EQ(refused(content, content.files[1].offset), "content_malformed") << "past the end";
  content.files[1].path = "../b";
  EXPECT_EQ(refused(content, bytes_of(content)), "content_malformed");
  content.files[1].path = "a/b";
  EXPECT_EQ(refused(content, bytes_of(content)), "content_malformed") << "a file is no directory";
  content = tar_of({"a"});
  for (const char* name : {"", ".", "..", "a/b", "a\nb"}) {
    EXPECT_EQ(refused(content, bytes_of(content), name), "path_unsafe") << name;
    EXPECT_FALSE(MountTree::create(std::nullopt, 1, name, Shape::kBare)) << name;
  }
}

TEST(MountTree, TooManyDirectoriesAreRefusedBeforeMemoryIsGone) {
  // Few files with long paths of short parts, no two of which share a directory.
  asset::Content content;
  content.kind = asset::Content::Kind::kTar;
  std::uint64_t offset = kBlock;
  for (int i = 0; i < 1100; ++i) {
    std::string path = std::to_string(10'000 + i);
    for (int depth = 0; depth < 1000; ++depth) path += "/d";
    content.files.push_back({.path = path + "/f", .offset = offset, .bytes = 0});
    offset += 8 * kBlock;
  }
  const auto tree = MountTree::create(content, offset, "model", Shape::kBare);
  ASSERT_FALSE(tree);
  EXPECT_EQ(tree.error().reason, "too_many_files");
}

}  // namespace
}  // namespace tb::deliver
