// spec: wire 2.3 (ready signal)
#include "deliver/ready_signal.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/crypto.h"
#include "base/json.h"

namespace tb::deliver {
namespace {

namespace fs = std::filesystem;

class Signal : public testing::Test {
 protected:
  void SetUp() override { dir_ = testing::TempDir() + "/tb-ready-" + random_token(9); }
  void TearDown() override { fs::remove_all(dir_); }
  std::string path() const { return dir_ + "/weights/ready.signal"; }
  static ReadyFacts facts() { return {"0.1.0", "tmpfs", "/dev/shm/m/model.gguf", "g1", 42}; }
  std::string dir_;
};

TEST_F(Signal, IsThereOnlyBetweenPublishAndWithdraw) {
  ReadySignal signal(path());
  EXPECT_FALSE(fs::exists(path()));
  signal.publish(facts(), 1'000);
  struct stat st{};
  ASSERT_EQ(stat(path().c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0644U);
  auto json = value_or_throw(Json::parse(value_or_throw(read_small_file(path()))));
  EXPECT_TRUE(json.find("ready")->as_bool());
  EXPECT_EQ(json.find("timestamp")->as_string(), "1970-01-01T00:00:01Z");
  EXPECT_EQ(json.find("sentinel_version")->as_string(), "0.1.0");
  EXPECT_EQ(json.find("delivery")->as_string(), "tmpfs");
  EXPECT_EQ(json.find("path")->as_string(), "/dev/shm/m/model.gguf");
  EXPECT_EQ(json.find("generation")->as_string(), "g1");
  EXPECT_EQ(json.find("plaintext_bytes")->as_integer(), 42);
  signal.withdraw();
  EXPECT_FALSE(fs::exists(path()));
}

TEST_F(Signal, GoesWithItsObject) {
  {
    ReadySignal(path()).publish(facts(), 0);
  }
  EXPECT_FALSE(fs::exists(path()));
}

TEST_F(Signal, OneOfAnEarlierRunIsRemovedAtStart) {
  fs::create_directories(dir_ + "/weights");
  std::ofstream(path()) << "{\"ready\":true}";
  const ReadySignal signal(path());
  EXPECT_FALSE(fs::exists(path()));
}

TEST_F(Signal, WhatIsNoSignalOfOursRefusesTheStart) {
  fs::create_directories(path());
  EXPECT_THROW(ReadySignal{path()}, Error);
  fs::remove(path());
  fs::create_symlink("/etc/passwd", path());
  EXPECT_THROW(ReadySignal{path()}, Error);
  EXPECT_TRUE(fs::is_symlink(path()));
  EXPECT_THROW(ReadySignal{"ready.signal"}, Error);
}

}  // namespace
}  // namespace tb::deliver
