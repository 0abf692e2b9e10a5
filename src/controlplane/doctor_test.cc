// spec: wire 1.4
#include "controlplane/doctor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "base/crypto.h"
#include "base/fs.h"
#include "controlplane/admin.h"
#include "controlplane/transit_server_test.h"

namespace tb::controlplane {
namespace {

using obs::Health;

class DoctorTest : public testing::Test {
 protected:
  void SetUp() override {
    config_.data_dir = dir_;
    config_.database_path = dir_ + "/control-plane.db";
    config_.kek = {.spec = "file:", .path = dir_ + "/keys/kek", .hex = {}, .transit = {}};
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  void first_start() {
    const auto store = open_store(config_);
    open_keyring(config_, *store);
  }
  obs::Finding find(const std::string& name) {
    for (auto& finding : examine(config_)) {
      if (finding.name == name) return finding;
    }
    return {"none", Health::kOk, "", ""};
  }

  const std::string dir_ = testing::TempDir() + "tb-doctor-" + random_token(8);
  Config config_;
};

TEST_F(DoctorTest, ItMakesNothing) {
  EXPECT_EQ(find("data_dir").health, Health::kWarning);
  EXPECT_EQ(find("database").name, "none");
  EXPECT_EQ(find("kek").health, Health::kWarning);
  EXPECT_FALSE(std::filesystem::exists(dir_));
}

TEST_F(DoctorTest, AnOrdinaryInstallationIsWarnedOfItsKekOnTheSameDisk) {
  first_start();
  for (const auto* name : {"data_dir", "db_file", "database", "kek", "keys"}) {
    EXPECT_EQ(find(name).health, Health::kOk) << name << ": " << find(name).value;
  }
  EXPECT_EQ(find("kek_place").health, Health::kWarning);
  EXPECT_THAT(find("kek_place").value, testing::HasSubstr("one file system"));
  config_.database_path = dir_ + "/keys/control-plane.db";
  EXPECT_THAT(find("kek_place").value, testing::HasSubstr("one directory"));
}

TEST_F(DoctorTest, OpenModesAreFaults) {
  first_start();
  ASSERT_EQ(chmod(dir_.c_str(), 0755), 0);
  ASSERT_EQ(chmod((dir_ + "/keys/kek").c_str(), 0640), 0);
  ASSERT_EQ(chmod(config_.database_path.c_str(), 0644), 0);
  for (const auto* name : {"data_dir", "kek", "db_file"}) {
    EXPECT_EQ(find(name).health, Health::kFault) << name;
    EXPECT_THAT(find(name).advice, testing::StartsWith("chmod")) << name;
  }
  EXPECT_EQ(find("keys").health, Health::kFault) << "the start would be refused";
}

TEST_F(DoctorTest, KeysWithoutTheirKekAndADatabaseThatIsNoneAreFaults) {
  first_start();
  std::filesystem::rename(dir_ + "/keys/kek", dir_ + "/away");
  EXPECT_EQ(find("keys").health, Health::kFault);
  EXPECT_THAT(find("keys").advice, testing::HasSubstr("put back the key file"));
  EXPECT_FALSE(std::filesystem::exists(dir_ + "/keys/kek"));
  config_.kek.path = dir_ + "/new";
  config_.kek_accepted.push_back({.spec = "file:" + dir_ + "/away", .path = dir_ + "/away", .hex = {}, .transit = {}});
  load_or_create_kek(config_.kek.path, true);
  EXPECT_THAT(find("keys").advice, testing::HasSubstr("rekey"));
  rekey_to(config_, "file:", *open_store(config_));
  EXPECT_THAT(find("keys").advice, testing::HasSubstr("not needed any more"));

  ASSERT_TRUE(write_file_atomically(config_.database_path, std::string(8192, 'x'), 0600, true));
  EXPECT_EQ(find("database").health, Health::kFault);
}

TEST_F(DoctorTest, AKmsIsTriedBothWaysAndForItsAssociatedData) {
  TransitServer kms("hvs.test");
  std::filesystem::create_directories(dir_);
  ASSERT_TRUE(write_file_atomically(dir_ + "/token", "hvs.test\n", 0600, false));
  config_.kek = {
      .spec = "transit:", .path = {}, .hex = {}, .transit = value_or_throw(parse_transit(kms.source().substr(8)))};
  config_.kek.transit->token_file = dir_ + "/token";
  EXPECT_EQ(find("kms").health, Health::kOk) << find("kms").value;
  kms.set(TransitServer::Mode::kIgnoresContext);
  EXPECT_EQ(find("kms").health, Health::kFault);
  EXPECT_THAT(find("kms").value, testing::HasSubstr("swapped"));
  kms.set(TransitServer::Mode::kOtherKey);
  EXPECT_THAT(find("kms").value, testing::HasSubstr("another key"));
  kms.set(TransitServer::Mode::kForbidden);
  EXPECT_THAT(find("kms").advice, testing::HasSubstr("TB_CP_KEK_TOKEN_FILE"));
  kms.set(TransitServer::Mode::kWorks);
  ASSERT_EQ(chmod((dir_ + "/token").c_str(), 0644), 0);
  EXPECT_EQ(find("kms_token").health, Health::kFault);
}

TEST_F(DoctorTest, AStoreIsAskedToSign) {
  std::filesystem::create_directories(dir_);
  config_.remote_store.emplace();
  config_.remote_store->any_tenant = value_or_throw(azure::parse_place("azure:acct/models/{tenant}", true));
  config_.remote_store->credential.file = dir_ + "/{account}.key";
  EXPECT_EQ(find("store").health, Health::kFault);
  ASSERT_TRUE(write_file_atomically(dir_ + "/acct.key", to_base64(Bytes(64, 7)), 0600, false));
  EXPECT_EQ(find("store").health, Health::kOk) << find("store").value;
}

}  // namespace
}  // namespace tb::controlplane
