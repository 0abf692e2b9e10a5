// spec: wire 2.3, tbenc-v1 6
#include "deliver/tmpfs.h"

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "base/crypto.h"
#include "blob/sealed_sample.h"
#include "deliver/mount_namespace.h"

namespace tb::deliver {
namespace {

namespace fs = std::filesystem;
using blob::SealedSample;

std::string text_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class Tmpfs : public testing::Test {
 protected:
  void SetUp() override { dir_ = "/dev/shm/tb-tmpfs-" + random_token(9); }
  void TearDown() override { fs::remove_all(dir_); }

  std::string model_dir() const { return dir_ + "/model"; }
  std::unique_ptr<Delivery> make() const { return make_tmpfs({model_dir(), geteuid(), true}); }
  /// Gives every chunk from four threads in a shuffled order.
  static Result<> feed(Delivery& delivery, const SealedSample& sample) {
    const tbenc::Layout layout = sample.manifest.layout();
    TRY(delivery.begin(sample.manifest, layout));
    std::vector<std::uint64_t> order(layout.chunk_count());
    for (std::uint64_t i = 0; i < order.size(); ++i) order[i] = i;
    std::shuffle(order.begin(), order.end(), std::mt19937(7));
    std::vector<std::jthread> threads;
    for (std::size_t t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (std::size_t i = t; i < order.size(); i += 4) {
          const std::uint64_t at = layout.plain_offset(order[i]);
          const ByteView plain = ByteView(sample.plain).subspan(at, layout.chunk_plain_bytes(order[i]));
          EXPECT_TRUE(delivery.chunk(order[i], plain));
        }
      });
    }
    threads.clear();
    return delivery.finish();
  }
  /// Everything in the model directory, hidden names too.
  std::vector<std::string> entries() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(model_dir())) names.push_back(entry.path().filename());
    return names;
  }
  void make_model() const {
    fs::create_directories(dir_ + "/in/sub/deep");
    std::ofstream(dir_ + "/in/config.json") << "{}";
    std::ofstream(dir_ + "/in/empty");
    std::ofstream(dir_ + "/in/run.sh") << "#!/bin/sh\n";
    chmod((dir_ + "/in/run.sh").c_str(), 0755);
    std::ofstream(dir_ + "/in/sub/deep/model.safetensors") << as_text(blob::sample_pattern(20'000));
  }
  std::string dir_;
};

TEST_F(Tmpfs, FileAppearsWholeAndReadOnly) {
  const auto sample = SealedSample::make(blob::sample_pattern(100'500), 4096);
  auto delivery = make();
  ASSERT_TRUE(feed(*delivery, sample));
  EXPECT_TRUE(delivery->usable());
  EXPECT_EQ(delivery->path(), model_dir() + "/model.bin");
  EXPECT_EQ(text_of(delivery->path()), as_text(sample.plain));
  struct stat st{};
  ASSERT_EQ(stat(delivery->path().c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0400U);
  ASSERT_TRUE(delivery->revoke());
  EXPECT_FALSE(delivery->usable());
  EXPECT_TRUE(entries().empty());
}

TEST_F(Tmpfs, DirectoryIsWhatTheIndexSays) {
  make_model();
  for (const std::uint32_t chunk_bytes : {1024U, 4096U, 1U << 20}) {
    const auto sample = SealedSample::of_directory(dir_ + "/in", chunk_bytes);
    auto delivery = make();
    auto fed = feed(*delivery, sample);
    ASSERT_TRUE(fed) << fed.error().story();
    EXPECT_EQ(delivery->path(), model_dir() + "/model");
    for (const char* path : {"config.json", "empty", "run.sh", "sub/deep/model.safetensors"}) {
      EXPECT_EQ(text_of(fs::path(delivery->path()) / path), text_of(fs::path(dir_ + "/in") / path)) << path;
    }
    EXPECT_EQ(fs::status(delivery->path() + "/run.sh").permissions(), fs::perms(0500));
    EXPECT_EQ(fs::status(delivery->path() + "/config.json").permissions(), fs::perms(0400));
    EXPECT_EQ(fs::status(delivery->path() + "/sub/deep").permissions(), fs::perms(0500));
    EXPECT_EQ(fs::status(delivery->path()).permissions(), fs::perms(0500));
    ASSERT_TRUE(delivery->revoke());
    EXPECT_TRUE(entries().empty());
  }
}

TEST_F(Tmpfs, EmptyAssetIsAnEmptyFile) {
  const auto sample = SealedSample::make({}, 4096);
  auto delivery = make();
  ASSERT_TRUE(feed(*delivery, sample));
  EXPECT_EQ(fs::file_size(delivery->path()), 0U);
}

TEST_F(Tmpfs, NothingIsVisibleBeforeTheEndAndNothingStaysAfterAbort) {
  const auto sample = SealedSample::make(blob::sample_pattern(10'000), 4096);
  auto delivery = make();
  ASSERT_TRUE(delivery->begin(sample.manifest, sample.manifest.layout()));
  ASSERT_TRUE(delivery->chunk(0, ByteView(sample.plain).first(4096)));
  EXPECT_FALSE(delivery->usable());
  EXPECT_FALSE(fs::exists(delivery->path()));
  delivery->abort(Error("tag_mismatch", "no"));
  EXPECT_TRUE(entries().empty());
}

TEST_F(Tmpfs, HeadersThatDisagreeWithTheIndexAreRefused) {
  make_model();
  auto sample = SealedSample::of_directory(dir_ + "/in", 1024);
  // The first entry's name in the stream: what `tar x` would make of it is not what the index says.
  const auto at = as_text(sample.plain).find("config.json");
  ASSERT_NE(at, std::string_view::npos);
  sample.plain[at] = 'k';
  auto delivery = make();
  auto fed = feed(*delivery, sample);
  ASSERT_FALSE(fed);
  EXPECT_EQ(fed.error().reason, "archive_malformed");
  delivery->abort(fed.error());
  EXPECT_FALSE(delivery->usable());
  EXPECT_TRUE(entries().empty());
}

TEST_F(Tmpfs, LeftoversOfAnEarlierRunAreRemovedAndNothingElse) {
  const auto sample = SealedSample::make(blob::sample_pattern(10'000), 4096);
  {
    auto crashed = make();
    ASSERT_TRUE(feed(*crashed, sample));
    // A crash: nothing of the object's end runs on the files. They are put back after it.
    fs::copy(model_dir(), dir_ + "/kept", fs::copy_options::recursive);
  }
  fs::remove_all(model_dir());
  fs::rename(dir_ + "/kept", model_dir());
  std::ofstream(model_dir() + "/.hydrating-old") << "partial";
  std::ofstream(model_dir() + "/bystander") << "of the operator";
  chmod(model_dir().c_str(), 0711);
  ASSERT_EQ(entries().size(), 4U) << "model, marker, partial, bystander";
  auto delivery = make();
  EXPECT_EQ(entries(), std::vector<std::string>{"bystander"});
}

TEST_F(Tmpfs, ForeignObjectsRefuseTheStart) {
  fs::create_directories(model_dir());
  chmod(model_dir().c_str(), 0711);
  fs::create_symlink("/etc", model_dir() + "/.hydrating-evil");
  EXPECT_THROW(make(), Error);
  EXPECT_TRUE(fs::is_symlink(model_dir() + "/.hydrating-evil"));
  fs::remove(model_dir() + "/.hydrating-evil");
  fs::create_symlink("/etc/passwd", model_dir() + "/.trustbridge-delivered");
  EXPECT_THROW(make(), Error);
}

TEST_F(Tmpfs, NameThatIsTakenIsNotReplaced) {
  const auto sample = SealedSample::make(blob::sample_pattern(10'000), 4096);
  auto delivery = make();
  std::ofstream(model_dir() + "/model.bin") << "of the operator";
  auto fed = feed(*delivery, sample);
  ASSERT_FALSE(fed);
  EXPECT_EQ(fed.error().reason, "path_unsafe");
  delivery->abort(fed.error());
  EXPECT_EQ(text_of(model_dir() + "/model.bin"), "of the operator");
}

TEST_F(Tmpfs, DiskIsRefused) {
  const std::string on_disk = std::string(TB_SOURCE_DIR) + "/build/tb-tmpfs-" + random_token(9);
  try {
    make_tmpfs({on_disk, geteuid(), true});
    FAIL() << "plaintext would stand on a disk";
  } catch (const Error& error) {
    EXPECT_EQ(error.reason, "plaintext_on_disk");
  }
  EXPECT_FALSE(fs::exists(on_disk));
}

TEST_F(Tmpfs, WhatDoesNotFitIsSaidBeforeAnythingIsWritten) {
  Json document = SealedSample::make({}, 4096).manifest.document();
  document.set("plaintext_bytes", std::int64_t{1} << 50);
  document.erase("content");
  document.erase("mac");
  const auto huge = value_or_throw(asset::Manifest::from_json(document));
  auto delivery = make();
  auto begun = delivery->begin(huge, huge.layout());
  ASSERT_FALSE(begun);
  EXPECT_EQ(begun.error().reason, "memory_short");
  EXPECT_TRUE(entries().empty());
}

TEST_F(Tmpfs, IndexThatCannotBeLeavesNothing) {
  make_model();
  const auto sample = SealedSample::of_directory(dir_ + "/in", 1024);
  Json document = sample.manifest.document();
  Json content = *document.find("content");
  // A file that starts where its own header should stand.
  for (auto& [name, value] : content.as_object()) {
    if (name == "files") value.as_array().front().set("offset", std::int64_t{0});
  }
  document.set("content", content);
  document.erase("mac");
  const auto lying = value_or_throw(asset::Manifest::from_json(document));
  auto delivery = make();
  auto begun = delivery->begin(lying, lying.layout());
  ASSERT_FALSE(begun);
  EXPECT_EQ(begun.error().reason, "archive_malformed");
  EXPECT_TRUE(entries().empty());
}

TEST_F(Tmpfs, FilesBelongToTheRuntime) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  make_model();
  const auto sample = SealedSample::of_directory(dir_ + "/in", 4096);
  auto delivery = make_tmpfs({model_dir(), 12345, true});
  ASSERT_TRUE(feed(*delivery, sample));
  struct stat st{};
  for (const char* path : {"", "/config.json", "/sub", "/sub/deep/model.safetensors"}) {
    ASSERT_EQ(stat((delivery->path() + path).c_str(), &st), 0);
    EXPECT_EQ(st.st_uid, 12345U) << path;
  }
  // The runtime owns its tree and may put anything there: it goes too, and no link is followed.
  fs::permissions(delivery->path(), fs::perms(0700));
  fs::create_directory_symlink("/etc", delivery->path() + "/link");
  ASSERT_TRUE(delivery->revoke());
  EXPECT_TRUE(entries().empty());
  EXPECT_TRUE(fs::exists("/etc/passwd"));
}

TEST_F(Tmpfs, WipingAnEarlyEndTakesNoMemoryForWhatWasNeverWritten) {
  // More than the file system under it can hold: zeros over all of it would not fit.
  if (!enter_mount_namespace()) GTEST_SKIP() << "needs CAP_SYS_ADMIN";
  fs::create_directories(model_dir());
  ASSERT_EQ(mount("tmpfs", model_dir().c_str(), "tmpfs", 0, "size=8m,mode=0711"), 0);
  {
    const auto sample = SealedSample::make(blob::sample_pattern(6 << 20), 1 << 20);
    auto delivery = make();
    ASSERT_TRUE(delivery->begin(sample.manifest, sample.manifest.layout()));
    ASSERT_TRUE(delivery->chunk(3, ByteView(sample.plain).subspan(3 << 20, 1 << 20)));
    Bytes rest(6 << 20);
    std::ofstream(model_dir() + "/of-others").write(reinterpret_cast<const char*>(rest.data()), 6 << 20);
    ASSERT_TRUE(delivery->chunk(4, ByteView(sample.plain).subspan(4 << 20, 1 << 20)));
    auto full = delivery->chunk(5, ByteView(sample.plain).subspan(5 << 20, 1 << 20));
    ASSERT_FALSE(full);
    EXPECT_EQ(full.error().reason, "memory_short");
    EXPECT_TRUE(delivery->revoke());
    EXPECT_EQ(entries(), std::vector<std::string>{"of-others"});
  }
  ASSERT_EQ(umount2(model_dir().c_str(), MNT_DETACH), 0);
}

TEST_F(Tmpfs, CanBeFilledAgainAfterRevoke) {
  const auto sample = SealedSample::make(blob::sample_pattern(10'000), 4096);
  auto delivery = make();
  ASSERT_TRUE(feed(*delivery, sample));
  ASSERT_TRUE(delivery->revoke());
  ASSERT_TRUE(feed(*delivery, sample));
  EXPECT_EQ(text_of(delivery->path()), as_text(sample.plain));
}

}  // namespace
}  // namespace tb::deliver
