// Two nodes on one PostgreSQL under load, one killed and started again, in turn. Behind them are clients as sentinels
// are: each has a key, asks the other node when one does not answer, signs a new proof for each attempt and repeats a
// renewal with the token that it has. No lease may be lost, no seat sold twice, and nobody may be taken for a clone.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>

#include "api/asset.h"
#include "api/authorize.h"
#include "base/crypto.h"
#include "base/test_scale.h"
#include "control_plane_process.h"
#include "jose/proof.h"
#include "sql/postgres_server_test.h"

namespace tb {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kSeats = 6;
constexpr int kClients = 8;
constexpr const char* kPublicUrl = "https://cp.example";  // of both nodes: what proofs are made for
constexpr const char* kAuthorize = "/api/v1/license/authorize";
constexpr const char* kRelease = "/api/v1/license/release";

/// Where the nodes are now; a node that was started again has another port.
class Addresses {
 public:
  void set(std::size_t node, const std::string& base) {
    const std::lock_guard lock(mutex_);
    bases_[node] = base;
  }
  std::string of(std::size_t node) const {
    const std::lock_guard lock(mutex_);
    return bases_[node];
  }

 private:
  mutable std::mutex mutex_;
  std::array<std::string, 2> bases_;
};

/// What all clients have seen.
struct Tally {
  std::atomic<int> holding{0};
  std::atomic<int> done{0};  ///< requests that were granted
  std::atomic<int> retried{0};
  std::atomic<std::int64_t> longest_ms{0};  ///< from a request's first attempt to its answer
  std::mutex mutex;
  std::vector<std::string> faults;

  void fault(std::string words) {
    const std::lock_guard lock(mutex);
    faults.push_back(std::move(words));
  }
  void took(Clock::time_point since) {
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - since).count();
    for (auto seen = longest_ms.load(); seen < ms && !longest_ms.compare_exchange_weak(seen, ms);) {
    }
  }
};

class Client {
 public:
  Client(std::size_t number, const Addresses& addresses, std::string token, Tally& tally)
      : hw_id_(fmt::format("hw-{}", number)),
        node_(number % 2),
        addresses_(addresses),
        token_(std::move(token)),
        tally_(tally) {}

  void run(const std::atomic<bool>& end) {
    while (!end) {
      if (!take_seat()) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        continue;
      }
      if (++tally_.holding > kSeats) tally_.fault("more seats are held than were sold");
      for (int i = 0; i < 5; ++i) renew();
      --tally_.holding;
      release();
    }
  }

 private:
  struct Answer {
    http::ClientResponse response;
    bool repeated = false;  ///< an attempt before it may have been done
  };

  /// Until a node answers.
  Answer ask(const std::string& path, const std::string& body) {
    const auto begin = Clock::now();
    for (bool repeated = false;; repeated = true) {
      http::ClientRequest request;
      request.method = "POST";
      request.url = SecretUrl(addresses_.of(node_) + path);
      request.bearer = SecretString(token_);
      request.body = body;
      request.headers.set("DPoP", jose::sign_proof(key_, {.method = "POST",
                                                          .url = kPublicUrl + path,
                                                          .issued_at_seconds = unix_ms_now() / 1000,
                                                          .jti = random_token(16),
                                                          .token = token_}));
      try {
        http::ClientResponse response = client_.send(request);
        if (!http::is_retryable_status(response.status)) {
          tally_.took(begin);
          return {.response = std::move(response), .repeated = repeated};
        }
      } catch (const Error& error) {
        if (!error.retryable()) tally_.fault(error.story());
      }
      ++tally_.retried;
      node_ = 1 - node_;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      if (Clock::now() - begin > std::chrono::minutes(2)) throw Error("network_unreachable", "no node answered");
    }
  }

  api::AuthorizeRequest request() const {
    return {.contract_id = "c", .asset_id = "m", .hw_id = hw_id_, .client_version = "1"};
  }
  void take(const http::ClientResponse& response) {
    lease_id_ = ControlPlaneNode::text_of(response, "lease_id");
    renewal_token_ = ControlPlaneNode::text_of(response, "renewal_token");
    ++tally_.done;
  }

  bool take_seat() {
    auto asked = request();
    // A one-time key serves once: asked again after a lost answer, the same one would be refused, so a client that
    // starts anew makes another.
    asked.key_release_jwk = jose::PrivateKey::generate().public_key().to_jwk();
    const Answer answer = ask(kAuthorize, asked.to_json().dump());
    if (answer.response.status == 200) {
      take(answer.response);
      return true;
    }
    const std::string reason = ControlPlaneNode::text_of(answer.response, "reason");
    const std::string code = ControlPlaneNode::text_of(answer.response, "code");
    if (reason != "seat_limit" && !(answer.repeated && code == "jwk_refused")) {
      tally_.fault("authorize: " + answer.response.body);
    }
    return false;
  }

  void renew() {
    auto asked = request();
    asked.lease_id = lease_id_;
    asked.renewal_token = SecretString(renewal_token_);
    const Answer answer = ask(kAuthorize, asked.to_json().dump());
    if (answer.response.status != 200) return tally_.fault("a lease was lost: " + answer.response.body);
    take(answer.response);
  }

  void release() {
    const Answer answer =
        ask(kRelease, api::ReleaseRequest{.contract_id = "c", .lease_id = lease_id_}.to_json().dump());
    const bool gone = answer.repeated && answer.response.status == 404;
    if (answer.response.status != 200 && !gone) tally_.fault("release: " + answer.response.body);
  }

  const jose::PrivateKey key_ = jose::PrivateKey::generate();
  const std::string hw_id_;
  std::size_t node_;
  const Addresses& addresses_;
  const std::string token_;
  Tally& tally_;
  http::Client client_{http::ClientConfig()};
  std::string lease_id_, renewal_token_;
};

class NodeLoss : public testing::Test {
 protected:
  void SetUp() override {
    if (sql::PostgresServer::programs().empty()) GTEST_SKIP() << sql::PostgresServer::kMissing;
    server_ = std::make_unique<sql::PostgresServer>();
    std::filesystem::create_directories(dir_);
    std::ofstream(dir_ + "/config.toml") << "database = \"" << server_->url(server_->make_database()).reveal()
                                         << "\"\nkek = \"file:" << dir_ << "/kek\"\npublic_url = \"" << kPublicUrl
                                         << "\"\nrate_limit = 0\n";
    for (const auto* name : {"one", "two"}) {
      nodes_.push_back(
          std::make_unique<ControlPlaneNode>(dir_ + "/" + name, Arguments{"--config", dir_ + "/config.toml"}));
    }
    provider_ = nodes_[0]->output_of({"token", "create", "--role", "provider", "--tenant", "acme"});
    for (std::size_t i = 0; i < nodes_.size(); ++i) start(i);
    api::RegisterRequest registration;
    registration.asset_id = "m";
    registration.blob_urls = {.ciphertext = "https://models.example/c", .manifest = "https://models.example/m"};
    registration.metadata = {.chunk_bytes = 1024, .plaintext_bytes = 0, .sha256_ciphertext = std::string(64, 'a')};
    registration.decryption_key = random_key();
    ASSERT_EQ(nodes_[0]->send("POST", "/api/v1/assets/register", provider_, registration.to_json().dump()).status, 201);
    const auto contract = nodes_[1]->send(
        "POST", "/api/v1/contracts", provider_,
        R"({"contract_id":"c","consumer":"x","asset_ids":["m"],"not_after":"2099-01-01T00:00:00Z","max_seats":)" +
            std::to_string(kSeats) + "}");
    ASSERT_EQ(contract.status, 201) << contract.body;
    activation_ = ControlPlaneNode::text_of(contract, "activation_token");
  }
  void TearDown() override {
    nodes_.clear();
    std::filesystem::remove_all(dir_);
  }
  void start(std::size_t node) {
    nodes_[node]->start();
    addresses_.set(node, nodes_[node]->base_url());
  }

  const std::string dir_ = testing::TempDir() + "tb-node-loss-" + random_token(8);
  std::unique_ptr<sql::PostgresServer> server_;
  std::vector<std::unique_ptr<ControlPlaneNode>> nodes_;
  Addresses addresses_;
  std::string provider_, activation_;
};

TEST_F(NodeLoss, KilledInTurnUnderLoadTheyLoseNoLeaseAndSellNoSeatTwice) {
  Tally tally;
  std::atomic<bool> end{false};
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < kClients; ++i) {
    threads.emplace_back([&, i] {
      try {
        Client(i, addresses_, activation_, tally).run(end);
      } catch (const Error& error) {
        tally.fault(error.story());
      }
    });
  }
  const auto wait_for_more = [&](int count) {
    const int from = tally.done;
    const auto give_up = Clock::now() + std::chrono::minutes(2);
    while (tally.done < from + count && Clock::now() < give_up) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_GE(tally.done, from + count) << "the clients do not get on";
  };
  const int kills = test::scaled(20);
  for (int i = 0; i < kills && !HasFailure(); ++i) {
    const auto node = static_cast<std::size_t>(i % 2);
    // Not always at the same place of a client's round.
    wait_for_more(50 + 7 * i % 40);
    nodes_[node]->kill();
    wait_for_more(50);
    start(node);
  }
  wait_for_more(50);
  end = true;
  threads.clear();
  EXPECT_THAT(tally.faults, testing::IsEmpty());
  EXPECT_EQ(tally.holding, 0);
  EXPECT_GT(tally.retried, 0) << "no kill hit anybody: nothing was tested";
  std::cout << fmt::format("{} kills, {} requests granted, {} attempts repeated, longest {} ms\n", kills,
                           tally.done.load(), tally.retried.load(), tally.longest_ms.load());
  // What the clients believe and what stands in the database are the same: nobody holds a seat.
  const auto leases = nodes_[0]->send("GET", "/api/v1/contracts/c/leases", provider_);
  EXPECT_EQ(leases.status, 200);
  EXPECT_THAT(leases.body, testing::Not(testing::HasSubstr("\"active\"")));
  EXPECT_THAT(nodes_[1]->output_of({"events", "verify"}), testing::HasSubstr("records, head"));
}

}  // namespace
}  // namespace tb
