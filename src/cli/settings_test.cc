#include "cli/settings.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

#include "base/error.h"

namespace tb::cli {
namespace {

class SettingsTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "settings-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    home_ = pattern;
    environment_["HOME"] = home_;
    std::filesystem::create_directory(home_ + "/.trustbridge");
  }
  void TearDown() override { std::filesystem::remove_all(home_); }

  void config(const std::string& text) { std::ofstream(home_ + "/.trustbridge/config.toml") << text; }
  Settings settle_with(const SettingFlags& flags) {
    return settle(flags, [this](const char* name) -> std::optional<std::string> {
      const auto found = environment_.find(name);
      return found == environment_.end() ? std::nullopt : std::optional(found->second);
    });
  }
  std::string refusal(const SettingFlags& flags) {
    try {
      settle_with(flags);
    } catch (const Error& error) {
      return error.reason + ": " + error.message;
    }
    return "accepted";
  }

  std::string home_;
  std::map<std::string, std::string> environment_;
};

TEST_F(SettingsTest, FlagThenEnvironmentThenProfile) {
  config("[profiles.default]\nedc_endpoint = 'https://profile'\ntoken_file = '/t'\ntenant = 'acme'\n");
  EXPECT_EQ(settle_with({}).edc_endpoint, "https://profile");
  environment_["TB_EDC_ENDPOINT"] = "https://environment";
  EXPECT_EQ(settle_with({}).edc_endpoint, "https://environment");
  EXPECT_EQ(settle_with({.edc_endpoint = "https://flag"}).edc_endpoint, "https://flag");
  EXPECT_EQ(settle_with({}).token_file, "/t");
  EXPECT_EQ(settle_with({}).tenant, "acme");
}

TEST_F(SettingsTest, ProfilesAreChosenByFlagEnvironmentAndDefault) {
  config("default_profile = 'a'\n[profiles.a]\nca_path = '/a'\n[profiles.b]\nca_path = '/b'\n[profiles.c]\n");
  EXPECT_EQ(settle_with({}).ca_path, "/a");
  environment_["TB_PROFILE"] = "b";
  EXPECT_EQ(settle_with({}).ca_path, "/b");
  EXPECT_EQ(settle_with({.profile = "c"}).ca_path, "");
}

TEST_F(SettingsTest, NoFileMeansNoProfile) {
  EXPECT_EQ(settle_with({}).edc_endpoint, "");
  EXPECT_TRUE(refusal({.profile = "prod"}).starts_with("config_invalid: profile prod"));
}

TEST_F(SettingsTest, FaultsAreNamed) {
  config("[profiles.default]\nedc_endpont = 'x'\n");
  EXPECT_TRUE(refusal({}).ends_with("unknown key edc_endpont"));
  config("[profiles.default]\nedc_endpoint = 7\n");
  EXPECT_TRUE(refusal({}).ends_with("edc_endpoint is not a string"));
  config("[profiles.default\n");
  EXPECT_NE(refusal({}).find("config.toml:1: "), std::string::npos);
  config("default_profile = 'gone'\n");
  EXPECT_TRUE(refusal({}).ends_with("has no profile gone"));
  config("token = 'x'\n");
  EXPECT_TRUE(refusal({}).ends_with("unknown key token"));
}

TEST_F(SettingsTest, InsecureHttpIsOffUnlessSaidExactly) {
  EXPECT_FALSE(settle_with({}).allow_insecure_http);
  environment_["TB_ALLOW_INSECURE_HTTP"] = "true";
  EXPECT_TRUE(settle_with({}).allow_insecure_http);
  environment_["TB_ALLOW_INSECURE_HTTP"] = "yes";
  EXPECT_TRUE(refusal({}).starts_with("usage: "));
}

}  // namespace
}  // namespace tb::cli
