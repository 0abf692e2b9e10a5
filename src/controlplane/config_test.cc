// spec: wire 1.6
#include "controlplane/config.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/crypto.h"
#include "base/fs.h"

namespace tb::controlplane {
namespace {

using Texts = std::map<std::string, std::string>;

Environment env(Texts texts) {
  return [texts = std::move(texts)](const std::string& name) -> std::optional<std::string> {
    const auto found = texts.find(name);
    if (found == texts.end()) return std::nullopt;
    return found->second;
  };
}

std::string faults(const Texts& flags, const Texts& variables = {}, const std::string& file = "") {
  try {
    load_config(flags, env(variables), file);
  } catch (const Error& error) {
    EXPECT_EQ(error.reason, "config_invalid");
    EXPECT_EQ(error.exit_status(), 2);
    return error.message;
  }
  return "";
}

class ConfigFile : public testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(path_); }
  void write(const std::string& text) { std::ofstream(path_) << text; }
  const std::string path_ = testing::TempDir() + "tb-cp-" + random_token(8) + ".toml";
};

TEST(Config, DefaultsAreThoseOfTheSpec) {
  const Config config = load_config({}, env({}), "");
  EXPECT_EQ(config.address.to_text(), "127.0.0.1:8080");
  EXPECT_EQ(config.data_dir, "/var/lib/trustbridge");
  EXPECT_EQ(config.database_path, "/var/lib/trustbridge/control-plane.db");
  EXPECT_EQ(config.blob_dir, "/var/lib/trustbridge/blobs");
  EXPECT_EQ(config.kek.path, "/var/lib/trustbridge/keys/kek");
  EXPECT_EQ(config.url_seconds, 3600);
  EXPECT_FALSE(config.allow_unauthenticated_sentinels);
  EXPECT_FALSE(config.tls.has_value());
}

TEST_F(ConfigFile, ACredentialIsUsedWhereNothingElseIsGiven) {
  std::string pattern = testing::TempDir() + "/credentials-XXXXXX";
  const std::string dir = mkdtemp(pattern.data());
  for (const char* name : {"kek", "tls-cert", "tls-key", "addr"}) std::ofstream(dir + "/" + name) << "x";
  const Texts variables = {{"CREDENTIALS_DIRECTORY", dir}};
  const Config config = load_config({}, env(variables), "");
  EXPECT_EQ(config.kek.path, dir + "/kek");
  ASSERT_TRUE(config.tls);
  EXPECT_EQ(config.tls->key_path, dir + "/tls-key");
  EXPECT_EQ(config.address.to_text(), "127.0.0.1:8080") << "only what is on the list";
  write("kek = \"file:/elsewhere/kek\"\n");
  EXPECT_EQ(load_config({}, env(variables), path_).kek.path, "/elsewhere/kek");
  EXPECT_EQ(load_config({}, env({{"CREDENTIALS_DIRECTORY", "credentials"}}), "").kek.path,
            "/var/lib/trustbridge/keys/kek");
  std::filesystem::remove_all(dir);
}

TEST_F(ConfigFile, FlagBeforeEnvironmentBeforeFileBeforeDefault) {
  write("addr = \"127.0.0.1:3\"\nurl_seconds = 30\nallow_unauthenticated_sentinels = true\n");
  const Texts variables = {{"TB_CP_ADDR", "127.0.0.1:2"}};
  EXPECT_EQ(load_config({{"addr", "127.0.0.1:1"}}, env(variables), path_).address.port, 1);
  EXPECT_EQ(load_config({}, env(variables), path_).address.port, 2);
  EXPECT_EQ(load_config({}, env({}), path_).address.port, 3);
  EXPECT_EQ(load_config({}, env({}), path_).url_seconds, 30);
  EXPECT_TRUE(load_config({}, env({}), path_).allow_unauthenticated_sentinels);
}

TEST_F(ConfigFile, AllFaultsAreReportedTogether) {
  write("adress = \"x\"\naddr = [1]\n");
  const std::string all = faults({{"url_seconds", "0"}, {"log_level", "loud"}, {"data_dir", "relative"}},
                                 {{"TB_CP_ALLOW_UNAUTHENTICATED_SENTINELS", "yes"}}, path_);
  for (const auto* part : {"adress", "addr of", "TB_CP_URL_SECONDS", "TB_CP_LOG_LEVEL", "TB_CP_DATA_DIR",
                           "TB_CP_ALLOW_UNAUTHENTICATED_SENTINELS"}) {
    EXPECT_THAT(all, testing::HasSubstr(part));
  }
  write("addr = \n");
  EXPECT_THAT(faults({}, {}, path_), testing::HasSubstr("not TOML"));
  EXPECT_NE(faults({}, {}, path_ + ".none"), "");
}

TEST(Config, WorkersAndConnectionsHaveBounds) {
  const Config config = load_config({{"workers", "8"}, {"max_connections", "100000"}}, env({}), "");
  EXPECT_EQ(config.workers, 8U);
  EXPECT_EQ(config.max_connections, 100'000U);
  for (const auto* bad : {"0", "257", "many"}) {
    EXPECT_THAT(faults({{"workers", bad}}), testing::HasSubstr("TB_CP_WORKERS must be a number from 1 to 256"));
  }
  EXPECT_THAT(faults({{"max_connections", "15"}}), testing::HasSubstr("TB_CP_MAX_CONNECTIONS"));
}

TEST(Config, ADatabaseUrlIsKeptSecret) {
  const std::string url = "postgresql://me:hunter2@db.example:5433/tb?sslmode=verify-full&password=hunter3";
  const Config config = load_config({}, env({{"TB_CP_DATABASE", url}}), "");
  ASSERT_TRUE(config.database_url.has_value());
  EXPECT_EQ(config.database_url->reveal(), url);
  EXPECT_EQ(config.database_path, "");
  const std::string printed = printable_config({}, env({{"TB_CP_DATABASE", url}}), "").dump();
  EXPECT_THAT(printed, testing::HasSubstr("postgresql://me@db.example:5433/tb"));
  EXPECT_THAT(printed, testing::Not(testing::HasSubstr("hunter")));
  EXPECT_EQ(load_config({{"database", "sqlite:/x/y.db"}}, env({}), "").database_path, "/x/y.db");
}

TEST(Config, ADatabaseUrlIsRefusedWithoutQuotingIt) {
  const std::string in_argv = faults({{"database", "postgres://me:hunter2@db.example/tb"}});
  EXPECT_THAT(in_argv, testing::HasSubstr("TB_CP_DATABASE"));
  EXPECT_THAT(in_argv, testing::Not(testing::HasSubstr("hunter")));
  EXPECT_EQ(faults({{"database", "postgres://me@db.example/tb?passfile=/etc/tb/pgpass"}}), "");
  for (const auto* url : {"postgres://me:hunter2@[db/tb", "mysql://me:hunter2@db/tb", "hunter2"}) {
    const std::string all = faults({}, {{"TB_CP_DATABASE", url}});
    EXPECT_THAT(all, testing::HasSubstr("TB_CP_DATABASE"));
    EXPECT_THAT(all, testing::Not(testing::HasSubstr("hunter"))) << url;
    EXPECT_THAT(printable_config({}, env({{"TB_CP_DATABASE", "postgres://me:hunter2@[db/tb"}}), "").dump(),
                testing::Not(testing::HasSubstr("hunter")));
  }
}

TEST(Config, PlainHttpStaysOnLoopback) {
  EXPECT_NE(faults({{"addr", "0.0.0.0:8080"}}), "");
  EXPECT_NE(faults({{"addr", "nonsense"}}), "");
  EXPECT_EQ(faults({{"addr", "0.0.0.0:8080"}, {"tls_cert_path", "c"}, {"tls_key_path", "k"}}), "");
  EXPECT_EQ(faults({{"addr", "[::1]:8080"}}), "");
}

TEST(Config, CombinationsAreChecked) {
  EXPECT_THAT(faults({{"tls_cert_path", "c"}}), testing::HasSubstr("TB_CP_TLS_KEY_PATH"));
  EXPECT_THAT(faults({{"client_ca_path", "c"}}), testing::HasSubstr("TB_CP_CLIENT_CA_PATH"));
  EXPECT_THAT(faults({{"tls_cert_path", "c"}, {"tls_key_path", "k"}, {"tls_require_client_cert", "true"}}),
              testing::HasSubstr("TB_CP_TLS_REQUIRE_CLIENT_CERT"));
  EXPECT_THAT(faults({{"public_url", "ftp://x"}}), testing::HasSubstr("TB_CP_PUBLIC_URL"));
  EXPECT_THAT(faults({{"public_url", "http://cp.example"}}), testing::HasSubstr("TB_CP_PUBLIC_URL"));
  EXPECT_THAT(faults({{"public_url", "http://127.0.0.1.example"}}), testing::HasSubstr("TB_CP_PUBLIC_URL"));
  EXPECT_EQ(faults({{"public_url", "http://127.0.0.1:80"}}), "");
  EXPECT_EQ(faults({{"public_url", "http://[::1]:80/base"}}), "");
  EXPECT_THAT(faults({{"public_url", "https://x/?a"}}), testing::HasSubstr("TB_CP_PUBLIC_URL"));
  EXPECT_THAT(faults({{"database", "mysql://x"}}), testing::HasSubstr("TB_CP_DATABASE"));
  EXPECT_THAT(faults({{"store", "s3:x"}}), testing::HasSubstr("TB_CP_STORE"));
  EXPECT_THAT(faults({{"kek", "transit:x"}}), testing::HasSubstr("TB_CP_KEK"));
  EXPECT_THAT(faults({{"kek", "file:relative"}}), testing::HasSubstr("TB_CP_KEK"));
  EXPECT_THAT(faults({{"kek", "env:NONE"}}), testing::HasSubstr("TB_CP_KEK"));
  EXPECT_EQ(load_config({{"public_url", "https://x/base/"}}, env({}), "").public_url, "https://x/base");
}

TEST_F(ConfigFile, TenantsMayHavePlacesInAStoreElsewhere) {
  const Texts store = {{"store", "azure:acct/models/{tenant}"}, {"store_credential", "key-file:/k"}};
  const Config all = load_config(store, env({}), "");
  EXPECT_EQ(all.remote_store->any_tenant->prefix, "{tenant}");
  EXPECT_EQ(all.blob_dir, "/var/lib/trustbridge/blobs");
  EXPECT_FALSE(load_config({}, env({}), "").remote_store.has_value());
  EXPECT_THAT(faults({{"store", "azure:acct/models"}, {"store_credential", "key-file:/k"}}),
              testing::HasSubstr("{tenant}"));
  EXPECT_THAT(faults({{"store", "azure:acct/models/{tenant}"}}), testing::HasSubstr("TB_CP_STORE_CREDENTIAL"));
  EXPECT_THAT(faults({{"store", "azure:acct/m/{tenant}"}, {"store_credential", "key-file:/k"}}),
              testing::HasSubstr("TB_CP_STORE"));

  write(
      "store_credential = \"managed-identity\"\n[stores]\nacme = \"azure:acct/models\"\nbeta = \"azure:acct/beta\"\n");
  const Config some = load_config({}, env({}), path_);
  EXPECT_FALSE(some.remote_store->any_tenant.has_value());
  EXPECT_EQ(some.remote_store->of_tenant.at("beta").container, "beta");
  EXPECT_THAT(printable_config({}, env({}), path_).dump(), testing::HasSubstr("azure:acct/beta"));
  EXPECT_THAT(faults({{"store_endpoint", "http://x.example"}}, {}, path_), testing::HasSubstr("endpoint"));
  write(
      "store_credential = \"managed-identity\"\n[stores]\nacme = \"azure:acct/models\"\nbeta = "
      "\"azure:acct/models\"\n");
  EXPECT_THAT(faults({}, {}, path_), testing::HasSubstr("acme and beta"));
  for (const auto* bad : {"stores = 1\n", "[stores]\n\"a b\" = \"azure:acct/models\"\n", "[stores]\na = 1\n",
                          "[stores]\na = \"azure:acct/models/{tenant}\"\n"}) {
    write(std::string("store_credential = \"managed-identity\"\n") + bad);
    EXPECT_THAT(faults({}, {}, path_), testing::HasSubstr("stores")) << bad;
  }
}

TEST(Config, AMarketplaceNeedsAnIdentityAndATenant) {
  EXPECT_FALSE(load_config({}, env({}), "").marketplace.has_value());
  const Texts flags = {{"marketplace_credential", "managed-identity"}, {"marketplace_tenant", "acme"}};
  const auto taken = load_config(flags, env({}), "").marketplace;
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken->tenant, "acme");
  EXPECT_EQ(taken->endpoint, "https://marketplaceapi.microsoft.com");
  const auto with = [&](const std::string& name, const std::string& value) {
    Texts changed = flags;
    changed[name] = value;
    return faults(changed);
  };
  EXPECT_EQ(with("marketplace_endpoint", "http://127.0.0.1:5000/"), "");
  EXPECT_THAT(with("marketplace_endpoint", "http://market.example"), testing::HasSubstr("TB_CP_MARKETPLACE_ENDPOINT"));
  EXPECT_THAT(with("marketplace_endpoint", "market.example"), testing::HasSubstr("TB_CP_MARKETPLACE_ENDPOINT"));
  EXPECT_THAT(with("marketplace_credential", "key-file:/k"), testing::HasSubstr("must be an identity"));
  EXPECT_THAT(with("marketplace_credential", "client-secret-file:/k"), testing::HasSubstr("AZURE_TENANT_ID"));
  EXPECT_THAT(with("marketplace_tenant", ""), testing::HasSubstr("TB_CP_MARKETPLACE_TENANT"));
  EXPECT_THAT(with("marketplace_credential", ""), testing::HasSubstr("needs TB_CP_MARKETPLACE_CREDENTIAL"));
}

TEST(Config, AKekMayLieInAKms) {
  const Texts flags = {{"kek", "transit:https://kms.example:8200/team/transit/tb"},
                       {"kek_token_file", "/run/kms-token"},
                       {"kek_namespace", "prod"},
                       {"kek_accepted", "file:/a,file:/b"}};
  const Config config = load_config(flags, env({}), "");
  EXPECT_EQ(config.kek.transit->origin, "https://kms.example:8200");
  EXPECT_EQ(config.kek.transit->mount, "team/transit");
  EXPECT_EQ(config.kek.transit->key, "tb");
  EXPECT_EQ(config.kek.transit->token_file, "/run/kms-token");
  EXPECT_EQ(transit_kek_id(*config.kek.transit), "transit:prod/team/transit/tb");
  ASSERT_EQ(config.kek_accepted.size(), 2U);
  EXPECT_EQ(config.kek_accepted[1].path, "/b");
  EXPECT_THAT(faults({{"kek", "transit:https://kms.example/transit/tb"}}), testing::HasSubstr("TB_CP_KEK_TOKEN_FILE"));
  EXPECT_THAT(faults({{"kek_accepted", "file:/a,"}, {"kek", "file:/b"}}), "");
  EXPECT_THAT(faults({{"kek_accepted", ",file:/a"}}), testing::HasSubstr("TB_CP_KEK_ACCEPTED"));
}

TEST(Config, ThePageIsWhatTheProgramPrints) {
  auto page = read_small_file(std::string(TB_SOURCE_DIR) + "/docs/control-plane-config.md");
  EXPECT_EQ(value_or_throw(std::move(page)), config_document())
      << "print it anew: trustbridge-control-plane --print-config-doc";
}

TEST(Config, SecretsAreNeverPrinted) {
  const std::string hex(64, '7');
  const Environment variables = env({{"MY_KEK", hex}});
  const Texts flags = {{"kek", "env:MY_KEK"}};
  EXPECT_EQ(load_config(flags, variables, "").kek.hex->reveal(), hex);
  const std::string printed = printable_config(flags, variables, "").dump();
  EXPECT_EQ(printed.find(hex), std::string::npos);
  EXPECT_THAT(printed, testing::HasSubstr("(set)"));
}

}  // namespace
}  // namespace tb::controlplane
