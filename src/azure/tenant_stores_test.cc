// Whose blobs lie where, and what is signed. spec: wire 1.5
#include "azure/tenant_stores.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/crypto.h"
#include "base/fs.h"

namespace tb::azure {
namespace {

std::string fault(const std::string& spec, bool any) {
  const auto place = parse_place(spec, any);
  return place ? "" : place.error().message;
}

StoreSettings settings() {
  StoreSettings out;
  out.any_tenant = value_or_throw(parse_place("azure:acct/m-{tenant}/live", true));
  out.of_tenant["acme"] = value_or_throw(parse_place("azure:acme01/models", false));
  out.credential.file = "/nowhere/{account}";
  return out;
}

TEST(Places, HaveAnAccountAContainerAndAPrefix) {
  for (const auto* spec : {"azure:acct/models/{tenant}", "azure:acct/m-{tenant}", "azure:acct/models/a/{tenant}/b/"}) {
    EXPECT_EQ(fault(spec, true), "") << spec;
    EXPECT_NE(fault(spec, false), "") << spec;
  }
  for (const auto* spec : {"azure:acct/models", "azure:acct/models/", "azure:acct/models/a/b.c"}) {
    EXPECT_EQ(fault(spec, false), "") << spec;
    EXPECT_THAT(fault(spec, true), testing::HasSubstr("{tenant}")) << spec;
  }
  for (const auto* spec : {"",
                           "s3:acct/models",
                           "azure:",
                           "azure:acct",
                           "azure:acct/",
                           "azure:Acct/models",
                           "azure:ab/models",
                           "azure:acct/mo",
                           "azure:acct/-models",
                           "azure:acct/mo--dels",
                           "azure:acct/Models",
                           "azure:acct/models/../x",
                           "azure:acct/models/a//b",
                           "azure:acct/models/a b",
                           "azure:acct/models/a%2f",
                           "azure:acct/models/a.",
                           "azure:acct/models/a?b",
                           "azure:{tenant}/models/x",
                           "azure:acct.evil/models",
                           "azure:acct@x/models"}) {
    EXPECT_NE(fault(spec, false), "") << spec;
  }
  EXPECT_NE(fault("azure:acct/{tenant}/{tenant}", true), "");
  EXPECT_NE(fault("azure:acct/models/{tenant}/{tenant}", true), "");
}

TEST(TenantStores, ATenantHasItsOwnPlaceOrNone) {
  const TenantStores stores(settings());
  const auto url = [&](const std::string& tenant) {
    return stores.url({.tenant = tenant, .asset_id = "m", .name = "model.tbenc"});
  };
  EXPECT_EQ(url("acme"), "https://acme01.blob.core.windows.net/models/m/model.tbenc");
  EXPECT_EQ(url("beta"), "https://acct.blob.core.windows.net/m-beta/live/m/model.tbenc");
  EXPECT_EQ(url("Beta"), "") << "no container can have this name";
  EXPECT_EQ(url("b_b"), "");
  EXPECT_EQ(url("-"), "");
}

TEST(TenantStores, NoTenantHasThePlaceThatAnotherWasGiven) {
  StoreSettings of = settings();
  of.of_tenant["acme"] = value_or_throw(parse_place("azure:acct/m-beta/live", false));
  const TenantStores stores(of);
  EXPECT_EQ(stores.url({.tenant = "beta", .asset_id = "m", .name = "n"}), "");
  EXPECT_THROW(TenantStores(of).sign_read({.tenant = "beta", .asset_id = "m", .name = "n"}, 1), Error);
  EXPECT_TRUE(faults_of(of).empty());
  of.of_tenant["gamma"] = of.of_tenant["acme"];
  EXPECT_THAT(faults_of(of), testing::ElementsAre(testing::HasSubstr("acme and gamma")));
}

TEST(TenantStores, WhatLiesInAPlaceOfSomebodyIsKnown) {
  const TenantStores stores(settings());
  EXPECT_TRUE(stores.covers("https://acct.blob.core.windows.net/m-x/y"));
  EXPECT_TRUE(stores.covers("https://acme01.blob.core.windows.net/models/other/model.tbenc?sig=x"));
  EXPECT_FALSE(stores.covers("https://acme01.blob.core.windows.net/models2/x"));
  EXPECT_FALSE(stores.covers("https://acct.blob.core.windows.net/public/x"));
  EXPECT_FALSE(stores.covers("https://cdn.example/m-x/y"));
}

TEST(TenantStores, EndpointsAreHttpsButForAnEmulator) {
  StoreSettings of = settings();
  EXPECT_TRUE(faults_of(of).empty());
  for (const auto* good : {"http://127.0.0.1:10000/{account}", "http://localhost/{account}",
                           "https://{account}.blob.core.chinacloudapi.cn"}) {
    of.endpoint = good;
    EXPECT_TRUE(faults_of(of).empty()) << good;
  }
  for (const auto* bad :
       {"", "https://blob.example", "http://{account}.blob.core.windows.net", "http://127.0.0.1.example/{account}",
        "ftp://{account}", "https://{account}.x/", "https://u@{account}.x", "https://{account}.x?y"}) {
    of.endpoint = bad;
    EXPECT_FALSE(faults_of(of).empty()) << bad;
  }
}

TEST(TenantStores, ASignedUrlIsThePathOfTheObjectAndNothingElse) {
  const std::string dir = testing::TempDir() + "tb-stores-" + random_token(8);
  std::filesystem::create_directories(dir);
  ASSERT_TRUE(write_file_atomically(dir + "/acme01", to_base64(Bytes(64, 7)), 0600, false));
  StoreSettings of = settings();
  of.credential.file = dir + "/{account}";
  TenantStores stores(of);
  const auto url = stores.sign_read({.tenant = "acme", .asset_id = "m", .name = "model.tbenc"}, 1800000000'000);
  EXPECT_EQ(url.printable(), "https://acme01.blob.core.windows.net/models/m/model.tbenc");
  EXPECT_THAT(url.reveal(), testing::HasSubstr("?sv=2022-11-02&spr=https&se=2027-01-15T08%3A00%3A00Z&sr=b&sp=r&sig="));
  EXPECT_THROW(stores.sign_read({.tenant = "beta", .asset_id = "m", .name = "n"}, 1), Error)
      << "the account has no key here";
  std::filesystem::remove_all(dir);
}

}  // namespace
}  // namespace tb::azure
