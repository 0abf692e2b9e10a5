// spec: tbenc-v1 6
#include "asset/unpack.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "asset/tar_header.h"

namespace tb::asset {
namespace {

namespace fs = std::filesystem;

template <typename T>
std::string reason_of(const Result<T>& result) {
  return result ? "ok" : result.error().reason;
}

class Unpack : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "/tb-unpack-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    dir_ = name;
    add("a", "alpha");
    stream_ += *encode_tar_header({true, "d", 0, kExecutableMode});
    add("d/empty", "");
    add("d/x", std::string(1500, 'x'));
    stream_.append(kTarEndBytes, '\0');
  }
  void TearDown() override { fs::remove_all(dir_); }

  void add(const std::string& path, const std::string& bytes) {
    stream_ += *encode_tar_header({false, path, bytes.size(), kPlainMode});
    content_.files.push_back({path, stream_.size(), bytes.size(), kPlainMode, sha256(bytes)});
    stream_ += bytes;
    stream_.append(tar_padding(bytes.size()), '\0');
  }
  /// What unpacking `stream_` in steps says; nothing may be left in dir_ but the target.
  std::string unpack(const std::string& target = "out", bool replace = false, std::size_t step = 700) {
    const Result<> result = [&]() -> Result<> {
      Unpacker unpacker = TRY(Unpacker::create(content_, stream_.size(), (dir_ / target).string(), replace));
      for (std::size_t at = 0; at < stream_.size(); at += step) {
        TRY(unpacker.write(as_bytes(std::string_view(stream_).substr(at, step))));
      }
      return unpacker.finish();
    }();
    for (const auto& entry : fs::directory_iterator(dir_)) {
      EXPECT_FALSE(entry.path().filename().string().ends_with(".partial")) << entry.path();
    }
    return reason_of(result);
  }
  std::string read_file(const std::string& path) const {
    std::ifstream in(dir_ / path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::string check() const {
    auto walk = StreamCheck::make(content_, stream_.size());
    if (!walk) return walk.error().reason;
    const auto wrote = walk->write(as_bytes(stream_));
    return wrote ? reason_of(walk->finish()) : wrote.error().reason;
  }

  fs::path dir_;
  Content content_{.kind = Content::Kind::kTar};
  std::string stream_;
};

TEST_F(Unpack, WritesWhatTheIndexNames) {
  for (const std::size_t step : {1UL, 511UL, 512UL, 100'000UL}) {
    ASSERT_EQ(unpack("out" + std::to_string(step), false, step), "ok");
    EXPECT_EQ(read_file("out" + std::to_string(step) + "/a"), "alpha");
    EXPECT_EQ(read_file("out" + std::to_string(step) + "/d/x"), std::string(1500, 'x'));
    EXPECT_TRUE(fs::exists(dir_ / ("out" + std::to_string(step)) / "d/empty"));
  }
  EXPECT_EQ(check(), "ok");
}

TEST_F(Unpack, NoBrokenStreamLeavesAnything) {
  const std::string good = stream_;
  const std::vector<std::pair<std::string, std::string>> broken = {
      {"header", std::string(good).replace(0, 1, "b")},
      {"file bytes", std::string(good).replace(content_.files[2].offset, 1, "y")},
      {"padding", std::string(good).replace(content_.files[0].offset + 5, 1, "y")},
      {"end", std::string(good).replace(good.size() - 1, 1, "y")}};
  for (const auto& [what, bytes] : broken) {
    stream_ = bytes;
    const std::string expected = what == "file bytes" ? "plaintext_digest_mismatch" : "archive_malformed";
    EXPECT_EQ(check(), expected) << what;
    EXPECT_EQ(unpack(), expected) << what;
    EXPECT_TRUE(fs::is_empty(dir_)) << what;
  }
}

TEST_F(Unpack, ACutStreamIsNotFinished) {
  auto unpacker = Unpacker::create(content_, stream_.size(), (dir_ / "out").string());
  ASSERT_TRUE(unpacker);
  ASSERT_TRUE(unpacker->write(as_bytes(std::string_view(stream_).substr(0, stream_.size() - 1))));
  EXPECT_EQ(reason_of(unpacker->finish()), "archive_malformed");
  ASSERT_TRUE(unpacker->write(as_bytes(std::string_view(stream_).substr(stream_.size() - 1))));
  EXPECT_EQ(reason_of(unpacker->write(as_bytes("x"))), "archive_malformed");
}

TEST_F(Unpack, RefusesAnIndexThatEscapes) {
  for (const std::string path : {"../a", "/a", "a/../../b"}) {
    content_.files[0].path = path;
    EXPECT_EQ(unpack(), "content_malformed") << path;
    EXPECT_TRUE(fs::is_empty(dir_));
  }
}

TEST_F(Unpack, RefusesHeadersThatSayOtherwise) {
  content_.files[0].path = "b";
  EXPECT_EQ(unpack(), "archive_malformed");
  EXPECT_TRUE(fs::is_empty(dir_));
}

TEST_F(Unpack, ExistingTargets) {
  ASSERT_EQ(unpack(), "ok");
  EXPECT_EQ(unpack(), "output_exists");
  std::ofstream(dir_ / "out/a") << "older";
  EXPECT_EQ(unpack("out", true), "ok");
  EXPECT_EQ(read_file("out/a"), "alpha");
  std::ofstream(dir_ / "out/mine") << "not ours";
  EXPECT_EQ(unpack("out", true), "output_exists");
  EXPECT_EQ(read_file("out/mine"), "not ours");
  fs::create_directory(dir_ / "elsewhere");
  fs::create_directory_symlink(dir_ / "elsewhere", dir_ / "link");
  EXPECT_EQ(unpack("link", true), "output_exists");
  std::ofstream(dir_ / "file") << "x";
  EXPECT_EQ(unpack("file", true), "output_exists");
}

TEST_F(Unpack, ASingleFile) {
  content_ = {.name = "m.gguf", .plaintext_sha256 = sha256("weights")};
  stream_ = "weights";
  ASSERT_EQ(unpack("m.gguf"), "ok");
  EXPECT_EQ(read_file("m.gguf"), "weights");
  EXPECT_EQ(unpack("m.gguf"), "output_exists");
  EXPECT_EQ(unpack("m.gguf", true), "ok");
  stream_ = "weightz";
  EXPECT_EQ(unpack("other"), "plaintext_digest_mismatch");
  EXPECT_FALSE(fs::exists(dir_ / "other"));
}

}  // namespace
}  // namespace tb::asset
