// spec: tbenc-v1 6
#include "asset/pack.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "asset/unpack.h"

namespace tb::asset {
namespace {

namespace fs = std::filesystem;

template <typename T>
std::string reason_of(const Result<T>& result) {
  return result ? "ok" : result.error().reason;
}

class Pack : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "/tb-pack-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    dir_ = name;
    fs::create_directory(dir_ / "m");
  }
  void TearDown() override { fs::remove_all(dir_); }

  fs::path model() const { return dir_ / "m"; }
  fs::path write(const std::string& path, std::string_view bytes) const {
    fs::create_directories((model() / path).parent_path());
    std::ofstream(model() / path, std::ios::binary) << bytes;
    return model() / path;
  }
  static std::string read_file(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static Result<std::string> read_all(PackSource& source, std::size_t step = 1000) {
    std::string all;
    Bytes buffer(step);
    while (true) {
      const std::size_t n = TRY(source.read(buffer));
      all.append(as_text(buffer).substr(0, n));
      if (n < step) return all;
    }
  }
  fs::path dir_;
};

TEST_F(Pack, ADirectoryIsOneDeterministicStream) {
  write("config.json", "{}");
  chmod(write("run.sh", "#!/bin/sh\n").c_str(), 0755);
  write("sub/deep/model-00001.safetensors", std::string(5000, 'w'));
  write("sub/empty", "");
  write("sub-a", "x");
  fs::create_directory(model() / "nothing");
  auto source = PackSource::scan(model());
  ASSERT_TRUE(source) << source.error().message;
  const auto stream = read_all(*source);
  ASSERT_TRUE(stream) << stream.error().message;
  EXPECT_EQ(stream->size(), source->plaintext_bytes());
  std::vector<std::string> paths;
  for (const ContentFile& file : source->content().files) {
    paths.push_back(file.path);
    EXPECT_EQ(stream->substr(file.offset, file.bytes), read_file(model() / file.path));
    EXPECT_EQ(file.mode, file.path == "run.sh" ? kExecutableMode : kPlainMode);
  }
  EXPECT_EQ(paths, (std::vector<std::string>{"config.json", "run.sh", "sub-a", "sub/deep/model-00001.safetensors",
                                             "sub/empty"}));
  EXPECT_EQ(stream->substr(stream->size() - 1024), std::string(1024, '\0'));

  // Other times, other order of creation: the same bytes, for reads of any size.
  fs::rename(model(), dir_ / "old");
  fs::create_directory(model());
  for (auto it = paths.rbegin(); it != paths.rend(); ++it) write(*it, read_file(dir_ / "old" / *it));
  chmod((model() / "run.sh").c_str(), 0700);
  auto again = PackSource::scan(model().string() + "/");
  ASSERT_TRUE(again);
  EXPECT_EQ(*read_all(*again, 7), *stream);
}

TEST_F(Pack, OrdinaryTarUnpacksIt) {
  const std::string name = "sub/mod\xc3\xa8le";
  write(name, "bytes");
  write("sub/" + std::string(200, 'n') + "/x", std::string(1000, 'y'));
  auto source = PackSource::scan(model());
  ASSERT_TRUE(source);
  std::ofstream(dir_ / "a.tar", std::ios::binary) << *read_all(*source);
  fs::create_directory(dir_ / "out");
  ASSERT_EQ(std::system(("tar -C " + (dir_ / "out").string() + " -xf " + (dir_ / "a.tar").string()).c_str()), 0);
  EXPECT_EQ(read_file(dir_ / "out" / name), "bytes");
  EXPECT_EQ(read_file(dir_ / "out/sub" / std::string(200, 'n') / "x"), std::string(1000, 'y'));
}

TEST_F(Pack, ThereAndBack) {
  write("a", std::string(3000, 'a'));
  write("d/b", "");
  chmod(write("d/c", "c").c_str(), 0755);
  auto source = PackSource::scan(model(), true);
  ASSERT_TRUE(source);
  const std::string stream = *read_all(*source);
  ASSERT_TRUE(source->content().files[0].sha256);
  EXPECT_EQ(*source->content().files[0].sha256, sha256(std::string(3000, 'a')));
  auto unpacker = Unpacker::create(source->content(), source->plaintext_bytes(), dir_ / "out");
  ASSERT_TRUE(unpacker) << unpacker.error().message;
  for (std::size_t at = 0; at < stream.size(); at += 100) {
    const auto wrote = unpacker->write(as_bytes(std::string_view(stream).substr(at, 100)));
    ASSERT_TRUE(wrote) << wrote.error().message;
  }
  EXPECT_FALSE(fs::exists(dir_ / "out"));
  ASSERT_EQ(reason_of(unpacker->finish()), "ok");
  EXPECT_EQ(read_file(dir_ / "out/a"), std::string(3000, 'a'));
  EXPECT_EQ(fs::file_size(dir_ / "out/d/b"), 0U);
  EXPECT_EQ(fs::status(dir_ / "out/d/c").permissions() & fs::perms::owner_exec, fs::perms::owner_exec);
}

TEST_F(Pack, ASingleFile) {
  const fs::path path = write("model.gguf", std::string(2500, 'g'));
  auto source = PackSource::scan(path, true);
  ASSERT_TRUE(source);
  EXPECT_FALSE(source->content().is_tar());
  EXPECT_EQ(source->content().name, "model.gguf");
  EXPECT_EQ(source->plaintext_bytes(), 2500U);
  EXPECT_EQ(*read_all(*source), std::string(2500, 'g'));
  EXPECT_EQ(source->content().plaintext_sha256, sha256(std::string(2500, 'g')));
}

TEST_F(Pack, LinksInsideAreFollowed) {
  write("blobs/abc", "weights");
  fs::create_directory(model() / "snapshots");
  fs::create_symlink("../blobs/abc", model() / "snapshots/model.safetensors");
  fs::create_symlink(model() / "snapshots", model() / "current");
  auto source = PackSource::scan(model());
  ASSERT_TRUE(source) << source.error().message;
  ASSERT_NE(source->content().find("current/model.safetensors"), nullptr);
  const std::string stream = *read_all(*source);
  EXPECT_EQ(stream.substr(source->content().find("snapshots/model.safetensors")->offset, 7), "weights");
}

TEST_F(Pack, RefusesWhatCannotBeCarried) {
  EXPECT_EQ(reason_of(PackSource::scan(model())), "source_empty");
  fs::create_directories(model() / "a/b");
  EXPECT_EQ(reason_of(PackSource::scan(model())), "source_empty");
  EXPECT_EQ(reason_of(PackSource::scan(dir_ / "none")), "file_not_found");
  EXPECT_EQ(reason_of(PackSource::scan("/dev/null")), "source_kind_unsupported");

  const auto refuse = [&](const fs::path& path, std::string_view reason) {
    const auto source = PackSource::scan(model());
    ASSERT_FALSE(source) << path;
    EXPECT_EQ(source.error().reason, reason) << source.error().message;
    EXPECT_NE(source.error().message.find(path.filename()), std::string::npos) << source.error().message;
    fs::remove(path);
  };
  write("ok", "ok");
  std::ofstream(dir_ / "outside") << "x";
  fs::create_symlink(dir_ / "outside", model() / "leaving");
  refuse(model() / "leaving", "link_outside");
  fs::create_symlink("../m-sibling", model() / "sibling");
  fs::create_directory(dir_ / "m-sibling");
  refuse(model() / "sibling", "link_outside");
  fs::create_symlink("nowhere", model() / "dangling");
  refuse(model() / "dangling", "file_not_found");
  fs::create_symlink("..", model() / "a/up");
  refuse(model() / "a/up", "link_loop");
  ASSERT_EQ(mkfifo((model() / "pipe").c_str(), 0600), 0);
  refuse(model() / "pipe", "source_kind_unsupported");
  write("line\nbreak", "x");
  EXPECT_EQ(reason_of(PackSource::scan(model())), "path_unsupported");
  fs::remove(model() / "line\nbreak");
  write("latin\xe8", "x");
  EXPECT_EQ(reason_of(PackSource::scan(model())), "path_unsupported");
  fs::remove(model() / "latin\xe8");
  EXPECT_EQ(reason_of(PackSource::scan(model())), "ok");
}

TEST_F(Pack, RefusesMoreFilesThanAManifestHolds) {
  for (int i = 0; i < 40; ++i) write("file-" + std::to_string(i), "x");
  EXPECT_EQ(reason_of(PackSource::scan(model(), false, 10'000)), "too_many_files");
  // The bound is on the safe side of what is written in the end.
  auto source = PackSource::scan(model(), true, 12'000);
  ASSERT_TRUE(source);
  ASSERT_TRUE(read_all(*source));
  Json manifest = Json::object();
  manifest.set("content", source->content().to_json());
  EXPECT_LT(manifest.pretty().size(), 12'000U);
}

TEST_F(Pack, RefusesAnUnreadableFile) {
  chmod(write("secret", "x").c_str(), 0000);
  chmod(dir_.c_str(), 0755);
  const bool root = geteuid() == 0;  // who reads everything: look as somebody else
  if (root) {
    ASSERT_EQ(seteuid(65534), 0);
  }
  const std::string reason = reason_of(PackSource::scan(model()));
  if (root) {
    ASSERT_EQ(seteuid(0), 0);
  }
  EXPECT_EQ(reason, "permission_denied");
}

TEST_F(Pack, AFileThatChangesIsNamed) {
  const std::vector<std::pair<std::string, void (*)(const fs::path&)>> changes = {
      {"grows", [](const fs::path& p) { std::ofstream(p, std::ios::app) << "more"; }},
      {"shrinks", [](const fs::path& p) { fs::resize_file(p, 10); }},
      {"is replaced",
       [](const fs::path& p) {
         fs::remove(p);
         std::ofstream(p) << std::string(5000, 'y');
       }},
      {"is rewritten", [](const fs::path& p) {
         std::ofstream(p, std::ios::in | std::ios::out) << "y";
         const timeval times[2] = {{1, 1}, {1, 1}};
         utimes(p.c_str(), times);
       }}};
  for (const auto& [what, change] : changes) {
    const fs::path path = write("weights", std::string(5000, 'x'));
    // Before it is opened, and in the middle of it.
    for (const std::size_t read_first : {0UL, 2000UL}) {
      write("weights", std::string(5000, 'x'));
      auto source = PackSource::scan(model());
      ASSERT_TRUE(source);
      Bytes some(read_first);
      ASSERT_TRUE(source->read(some));
      change(path);
      if (what == "is replaced" && read_first > 0) continue;  // the open file is still the one that was seen
      const auto rest = read_all(*source);
      ASSERT_FALSE(rest) << what << " after " << read_first;
      EXPECT_EQ(rest.error().reason, "source_changed");
      EXPECT_NE(rest.error().message.find("weights"), std::string::npos);
    }
  }
}

TEST_F(Pack, Pickles) {
  for (const std::string path : {"a.bin", "b/x.PT", "c.pkl", "d.pth", "e.ckpt"}) {
    EXPECT_TRUE(is_pickle_path(path)) << path;
    write(path, "x");
  }
  for (const std::string path : {"a.safetensors", "bin", "x.gguf", "pt.json"})
    EXPECT_FALSE(is_pickle_path(path)) << path;
  write("ok.json", "{}");
  const auto source = PackSource::scan(model());
  EXPECT_EQ(source->pickle_files(), (std::vector<std::string>{"a.bin", "b/x.PT", "c.pkl", "d.pth", "e.ckpt"}));
  EXPECT_EQ(PackSource::scan(model() / "a.bin")->pickle_files(), (std::vector<std::string>{"a.bin"}));
}

}  // namespace
}  // namespace tb::asset
