// Two real control planes on one real PostgreSQL: what one node writes the other one knows, seats are not sold twice,
// and a server that goes away is told as such and comes back without a restart.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "api/asset.h"
#include "api/authorize.h"
#include "base/crypto.h"
#include "base/fs.h"
#include "control_plane_process.h"
#include "jose/sealed_key.h"
#include "sql/postgres_server_test.h"

namespace tb {
namespace {

constexpr int kSeats = 5;

class ControlPlaneOnPostgres : public testing::Test {
 protected:
  static void TearDownTestSuite() { server_.reset(); }
  void SetUp() override {
    if (sql::PostgresServer::programs().empty()) GTEST_SKIP() << sql::PostgresServer::kMissing;
    if (!server_) server_ = std::make_unique<sql::PostgresServer>();
    const std::string url = server_->url(server_->make_database()).reveal();
    std::filesystem::create_directories(dir_);
    // Both nodes have the KEK, the store of objects and the database in common.
    std::ofstream(dir_ + "/config.toml") << "database = \"" << url << "\"\nkek = \"file:" << dir_
                                         << "/kek\"\nstore = \"filesystem:" << dir_ << "/blobs\"\n";
    for (const auto* name : {"one", "two"}) {
      nodes_.push_back(
          std::make_unique<ControlPlaneNode>(dir_ + "/" + name, Arguments{"--config", dir_ + "/config.toml"}));
    }
  }
  void TearDown() override {
    nodes_.clear();
    std::filesystem::remove_all(dir_);
  }

  void register_asset_and_contract() {
    provider_ = nodes_[0]->output_of({"token", "create", "--role", "provider", "--tenant", "acme"});
    for (auto& node : nodes_) node->start();
    const std::string object(32, 'h');
    const std::string assets = "/api/v1/assets/m/blobs/";
    ASSERT_EQ(nodes_[0]->send("PUT", assets + "ciphertext", provider_, object).status, 201);
    ASSERT_EQ(nodes_[0]->send("PUT", assets + "manifest", provider_, "{}").status, 201);
    api::RegisterRequest registration;
    registration.asset_id = "m";
    registration.blob_urls = {.ciphertext = "store:m/model.tbenc", .manifest = "store:m/model.manifest.json"};
    registration.metadata = {.chunk_bytes = 1024, .plaintext_bytes = 0, .sha256_ciphertext = sha256_hex(object)};
    registration.decryption_key = random_key();
    ASSERT_EQ(nodes_[1]->send("POST", "/api/v1/assets/register", provider_, registration.to_json().dump()).status, 201);
    const auto contract = nodes_[0]->send(
        "POST", "/api/v1/contracts", provider_,
        R"({"contract_id":"c","consumer":"x","asset_ids":["m"],"not_after":"2099-01-01T00:00:00Z","max_seats":)" +
            std::to_string(kSeats) + "}");
    ASSERT_EQ(contract.status, 201) << contract.body;
    activation_ = ControlPlaneNode::text_of(contract, "activation_token");
  }
  http::ClientResponse authorize(ControlPlaneNode& node, const std::string& hw_id) const {
    const auto one_time = jose::PrivateKey::generate();
    api::AuthorizeRequest asked{.contract_id = "c", .asset_id = "m", .hw_id = hw_id, .client_version = "1"};
    asked.key_release_jwk = one_time.public_key().to_jwk();
    return node.prove(jose::PrivateKey::generate(), "/api/v1/license/authorize", activation_, asked.to_json().dump());
  }

  const std::string dir_ = testing::TempDir() + "tb-nodes-" + random_token(8);
  static inline std::unique_ptr<sql::PostgresServer> server_;
  std::vector<std::unique_ptr<ControlPlaneNode>> nodes_;
  std::string provider_, activation_;
};

TEST_F(ControlPlaneOnPostgres, TwoNodesSellNoSeatTwice) {
  register_asset_and_contract();
  EXPECT_EQ(nodes_[0]->output_of({"identity"}), nodes_[1]->output_of({"identity"}));
  std::atomic<int> granted{0};
  std::atomic<int> full{0};
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 5; ++i) {
        const auto answer =
            authorize(*nodes_[static_cast<std::size_t>(t % 2)], "hw-" + std::to_string(t) + "-" + std::to_string(i));
        if (answer.status == 200) ++granted;
        if (answer.status == 403 && ControlPlaneNode::text_of(answer, "reason") == "seat_limit") ++full;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(granted.load(), kSeats);
  EXPECT_EQ(full.load(), 20 - kSeats);
  EXPECT_EQ(nodes_[1]->send("POST", "/api/v1/contracts/c/suspend", provider_).status, 200);
  EXPECT_EQ(authorize(*nodes_[0], "hw-0-0").status, 403);
  EXPECT_THAT(nodes_[1]->output_of({"events", "verify"}), testing::HasSubstr("records, head"));
}

TEST_F(ControlPlaneOnPostgres, AServerThatGoesAwayIsToldAndComesBackWithoutARestart) {
  register_asset_and_contract();
  ASSERT_EQ(authorize(*nodes_[0], "hw").status, 200);
  server_->stop();
  for (auto& node : nodes_) {
    const auto answer = authorize(*node, "hw");
    EXPECT_EQ(answer.status, 503) << answer.body;
    EXPECT_THAT(answer.body, testing::HasSubstr("database_unavailable"));
    EXPECT_EQ(node->send("GET", "/readyz", "").status, 503);
    EXPECT_EQ(node->send("GET", "/healthz", "").status, 200);
    EXPECT_EQ(node->send("GET", "/api/v1/contracts", provider_).status, 503);
  }
  server_->start();
  for (auto& node : nodes_) {
    int status = 0;
    for (int i = 0; i < 1000 && status != 200; ++i) {
      status = node->send("GET", "/readyz", "").status;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    EXPECT_EQ(status, 200);
    EXPECT_EQ(authorize(*node, "hw-again").status, 200);
  }
}

TEST_F(ControlPlaneOnPostgres, APasswordIsNowhereToBeSeen) {
  std::filesystem::remove(dir_ + "/config.toml");
  std::ofstream(dir_ + "/config.toml") << "database = \"postgresql://tb:hunter2@/none?host=" << dir_ << "\"\n";
  ControlPlaneNode node(dir_ + "/three", {"--config", dir_ + "/config.toml"});
  EXPECT_THAT(node.output_of({"--print-config"}), testing::Not(testing::HasSubstr("hunter2")));
  EXPECT_THAT(node.read("out"), testing::Not(testing::HasSubstr("hunter2")));
  node.output_of({"token", "list"}, 6);
  EXPECT_THAT(node.read("err"), testing::AllOf(testing::HasSubstr("postgresql cannot be reached"),
                                               testing::Not(testing::HasSubstr("hunter2"))));
}

}  // namespace
}  // namespace tb
