#include "cli/key_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

namespace tb::cli {
namespace {

constexpr tbenc::NoncePrefix kPrefix = {0xde, 0xad, 0xbe, 0xef};

class KeyFileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "key-file-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    path_ = folder_ + "/key";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  static std::string reason_of(const std::function<void()>& action) {
    try {
      action();
    } catch (const Error& error) {
      return error.reason;
    }
    return "accepted";
  }
  void write(const std::string& text, mode_t mode = 0600) {
    std::ofstream(path_) << text;
    ASSERT_EQ(chmod(path_.c_str(), mode), 0);
  }
  std::string text() const {
    std::ifstream file(path_);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  std::string folder_, path_;
  const std::string digits_ = std::string(62, '0') + "2a";
};

TEST_F(KeyFileTest, NewKeyIsPrivateAndReadsBack) {
  make_key_file(path_);
  EXPECT_EQ(std::filesystem::status(path_).permissions(), std::filesystem::perms(0600));
  const FileKey key = read_key_file(path_);
  EXPECT_EQ(text(), to_hex(key.reveal()) + "\n");
  EXPECT_EQ(reason_of([&] { make_key_file(path_); }), "output_exists");
}

TEST_F(KeyFileTest, ClaimIsWrittenOnceAndReadersTakeTheFirstLine) {
  write(digits_);  // without its line end
  {
    EncryptionKey key = EncryptionKey::take(path_, "my-model", kPrefix);
  }
  EXPECT_EQ(text(), digits_ + "\n# asset my-model prefix deadbeef\n");
  EXPECT_EQ(reason_of([&] { EncryptionKey::take(path_, "my-model", kPrefix); }), "key_already_used");
  EXPECT_EQ(read_key_file(path_).reveal()[31], 0x2a);
}

TEST_F(KeyFileTest, AnyClaimCounts) {
  write(digits_ + "\n\n# made by hand\n# asset old prefix 01020304\n");
  EXPECT_EQ(reason_of([&] { EncryptionKey::take(path_, "new", kPrefix); }), "key_already_used");
}

TEST_F(KeyFileTest, NewKeyAppearsOnlyWhenCommitted) {
  {
    EncryptionKey key = EncryptionKey::take(path_, "a", kPrefix);
    EXPECT_TRUE(key.is_new());
    EXPECT_FALSE(std::filesystem::exists(path_));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
  EncryptionKey key = EncryptionKey::take(path_, "a", kPrefix);
  key.commit();
  EXPECT_TRUE(text().ends_with("\n# asset a prefix deadbeef\n"));
}

TEST_F(KeyFileTest, OfManyAtOnceOneGetsTheKey) {
  write(digits_ + "\n");
  std::atomic<int> taken = 0, refused = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back(
          [&] { reason_of([&] { EncryptionKey::take(path_, "a", kPrefix); }) == "accepted" ? ++taken : ++refused; });
    }
  }
  EXPECT_EQ(taken, 1);
  EXPECT_EQ(refused, 7);
}

TEST_F(KeyFileTest, RefusesWhatIsNoKey) {
  for (const std::string& bad :
       {std::string(), digits_.substr(1), digits_ + "0", "g" + digits_.substr(1), " " + digits_}) {
    write(bad + "\n");
    EXPECT_EQ(reason_of([&] { read_key_file(path_); }), "key_file_malformed") << bad.size();
    EXPECT_EQ(reason_of([&] { EncryptionKey::take(path_, "a", kPrefix); }), "key_file_malformed") << bad.size();
  }
  EXPECT_EQ(reason_of([&] { key_from_hex("zz"); }), "key_file_malformed");
  EXPECT_EQ(reason_of([&] { EncryptionKey::take("-", "a", kPrefix); }), "usage");
}

TEST_F(KeyFileTest, RefusesAFileThatOthersCanRead) {
  write(digits_ + "\n", 0640);
  EXPECT_EQ(reason_of([&] { read_key_file(path_); }), "file_mode_unsafe");
  EXPECT_EQ(reason_of([&] { EncryptionKey::take(path_, "a", kPrefix); }), "file_mode_unsafe");
  EXPECT_EQ(text(), digits_ + "\n");
}

TEST_F(KeyFileTest, SigningPairSignsAndVerifies) {
  const Ed25519PublicKey made = make_signing_pair(path_);
  EXPECT_EQ(read_public_key(path_ + ".pub"), made);
  const Ed25519PrivateKey key = read_signing_key(path_);
  const Ed25519Signature signature = key.sign(as_bytes("text"));
  EXPECT_TRUE(ed25519_verify(made, as_bytes("text"), signature));
  EXPECT_FALSE(ed25519_verify(made, as_bytes("Text"), signature));
  EXPECT_EQ(reason_of([&] { make_signing_pair(path_); }), "output_exists");
  EXPECT_EQ(reason_of([&] { read_public_key(path_ + ".gone"); }), "file_not_found");
  write("short\n");
  EXPECT_EQ(reason_of([&] { read_signing_key(path_); }), "signing_key_malformed");
  EXPECT_EQ(reason_of([&] { read_public_key(path_); }), "public_key_malformed");
}

}  // namespace
}  // namespace tb::cli
