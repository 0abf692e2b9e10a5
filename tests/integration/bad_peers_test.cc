// The real control plane among peers that do not behave: who sends slowly, half, without end or not at all, and a disk
// that is full. Others are served meanwhile, nothing is half done, and what is refused says why.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "api/asset.h"
#include "api/authorize.h"
#include "base/crypto.h"
#include "control_plane_process.h"
#include "http/test_peer.h"
#include "jose/proof.h"

namespace tb {
namespace {

using http::test::RawClient;
using testing::HasSubstr;

constexpr const char* kAuthorize = "/api/v1/license/authorize";

class BadPeers : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(dir_ + "/data"); }
  void TearDown() override {
    node_.reset();
    if (mounted_) EXPECT_EQ(umount2((dir_ + "/data").c_str(), MNT_DETACH), 0);
    std::filesystem::remove_all(dir_);
  }

  void start(const Arguments& settings = {}) {
    node_ = std::make_unique<ControlPlaneNode>(dir_, settings);
    provider_ = node_->output_of({"token", "create", "--role", "provider", "--tenant", "acme"});
    node_->start();
    api::RegisterRequest registration;
    registration.asset_id = "m";
    registration.blob_urls = {.ciphertext = "https://models.example/c", .manifest = "https://models.example/m"};
    registration.metadata = {.chunk_bytes = 1024, .plaintext_bytes = 0, .sha256_ciphertext = std::string(64, 'a')};
    registration.decryption_key = random_key();
    ASSERT_EQ(node_->send("POST", "/api/v1/assets/register", provider_, registration.to_json().dump()).status, 201);
    const auto contract = create_contract("c");
    ASSERT_EQ(contract.status, 201) << contract.body;
    activation_ = ControlPlaneNode::text_of(contract, "activation_token");
  }
  http::ClientResponse create_contract(const std::string& id, const std::string& consumer = "x") {
    return node_->send("POST", "/api/v1/contracts", provider_,
                       fmt::format(R"({{"contract_id":"{}","consumer":"{}","asset_ids":["m"],)"
                                   R"("not_after":"2099-01-01T00:00:00Z","max_seats":1000}})",
                                   id, consumer));
  }
  http::ClientResponse authorize() {
    const auto sentinel = jose::PrivateKey::generate();
    api::AuthorizeRequest asked{.contract_id = "c", .asset_id = "m", .hw_id = "hw", .client_version = "1"};
    asked.key_release_jwk = jose::PrivateKey::generate().public_key().to_jwk();
    return node_->send("POST", kAuthorize, activation_, asked.to_json().dump(),
                       {{"DPoP", jose::sign_proof(sentinel, {.method = "POST",
                                                             .url = node_->base_url() + kAuthorize,
                                                             .issued_at_seconds = unix_ms_now() / 1000,
                                                             .jti = random_token(16),
                                                             .token = activation_})}});
  }
  std::string events() { return node_->send("GET", "/api/v1/events", provider_).body; }
  /// The head of an authorize request with a body of that many bytes to come.
  std::string head(const std::string& length_field) const {
    return fmt::format("POST {} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {}\r\n{}\r\n\r\n", kAuthorize, activation_,
                       length_field);
  }

  bool mounted_ = false;
  const std::string dir_ = testing::TempDir() + "tb-bad-peers-" + random_token(8);
  std::unique_ptr<ControlPlaneNode> node_;
  std::string provider_, activation_;
};

TEST_F(BadPeers, AFloodOfSlowOnesKeepsNobodyOut) {
  constexpr std::size_t kConnections = 64;
  start({"--max-connections", std::to_string(kConnections)});
  std::vector<RawClient> slow;
  for (std::size_t i = 0; i < 3 * kConnections; ++i) {
    slow.emplace_back(node_->port());
    if (i % 3 == 1) slow.back().write("POST /api/v1/license/authorize HTTP/1.1\r\nHo");
    if (i % 3 == 2) slow.back().write(head("Content-Length: 4000") + "{\"contract_id\":");
  }
  // And some that go on, a byte at a time.
  std::atomic<bool> end{false};
  std::jthread drip([&] {
    while (!end) {
      for (auto& client : slow) client.write(" ");
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  });
  for (int i = 0; i < 100 && !HasFailure(); ++i) {
    EXPECT_EQ(node_->send("GET", "/readyz", "").status, 200) << i;
    if (i % 10 == 0) EXPECT_EQ(authorize().status, 200) << i;
  }
  end = true;
}

TEST_F(BadPeers, HalfRequestsChangeNothing) {
  start();
  const std::string before = events();
  const std::string body = R"({"contract_id":"c","asset_id":"m","hw_id":"hw","client_version":"1"})";
  {
    RawClient half_closed(node_->port());
    half_closed.write(head("Content-Length: 4000") + body);
    half_closed.shut_down_writing();
    EXPECT_EQ(half_closed.read_to_end(), "");
    RawClient gone(node_->port());
    gone.write(head("Content-Length: 4000") + body);
    RawClient half_a_chunk(node_->port());
    half_a_chunk.write(head("Transfer-Encoding: chunked") + "ff\r\n" + body);
    half_a_chunk.shut_down_writing();
    EXPECT_EQ(half_a_chunk.read_to_end(), "");
  }
  EXPECT_EQ(events(), before);
  // Half closed after the whole request is a client that listens.
  RawClient whole(node_->port());
  whole.write("GET /readyz HTTP/1.1\r\nHost: h\r\n\r\n");
  whole.shut_down_writing();
  EXPECT_THAT(whole.read_answer(), HasSubstr("200 OK"));
}

TEST_F(BadPeers, ABodyWithoutEndIsCutOffAtTheRoutesBound) {
  start();
  const std::string before = events();
  const std::string piece(4096, ' ');
  for (const bool chunked : {false, true}) {
    RawClient client(node_->port());
    client.write(head(chunked ? "Transfer-Encoding: chunked" : "Content-Length: 1000000000"));
    std::size_t sent = 0;
    // Until it closes: it reads on for a moment, so that its answer is not lost.
    while (sent < (std::size_t{64} << 20) && client.write(chunked ? "1000\r\n" + piece + "\r\n" : piece)) {
      sent += piece.size();
    }
    EXPECT_LT(sent, std::size_t{64} << 20);
  }
  RawClient told(node_->port());
  told.write(head("Content-Length: 1000000000"));
  EXPECT_THAT(told.read_answer(), testing::AllOf(HasSubstr("413 "), HasSubstr("body_too_large")));
  EXPECT_EQ(events(), before);
}

TEST_F(BadPeers, OnAFullDiskReadsGoOnAndChangesAreRefusedClearly) {
  if (getuid() != 0 || mount("tmpfs", (dir_ + "/data").c_str(), "tmpfs", 0, "size=4m") != 0) {
    GTEST_SKIP() << "NOT TESTED: no disk of its own without root";
  }
  mounted_ = true;
  start();
  ASSERT_EQ(authorize().status, 200);
  const std::string filler = dir_ + "/data/filler";
  {
    std::ofstream file(filler, std::ios::binary);
    const std::string block(65536, 'x');
    while (file.write(block.data(), static_cast<std::streamsize>(block.size())).flush()) {
    }
  }
  // Small changes may find room in the log's old pages for a while.
  int created = 0;
  const auto refusal_of = [](const std::function<http::ClientResponse()>& change) {
    http::ClientResponse answer;
    for (int i = 0; i < 2000 && answer.status < 400; ++i) answer = change();
    return answer;
  };
  const auto refused = refusal_of([&] {
    auto answer = create_contract(fmt::format("full-{}", created), std::string(60, 'x'));
    if (answer.status == 201) ++created;
    return answer;
  });
  const auto no_seat = refusal_of([&] { return authorize(); });
  for (const auto* answer : {&refused, &no_seat}) {
    EXPECT_EQ(answer->status, 507) << answer->body;
    EXPECT_EQ(ControlPlaneNode::text_of(*answer, "code"), "disk_full");
  }
  const auto no_blob = node_->send("PUT", "/api/v1/assets/m/blobs/ciphertext", provider_, std::string(300'000, 'x'));
  EXPECT_EQ(no_blob.status, 507) << no_blob.body;
  for (const auto* path : {"/api/v1/contracts/c", "/api/v1/assets", "/api/v1/contracts/c/leases", "/api/v1/events"}) {
    EXPECT_EQ(node_->send("GET", path, provider_).status, 200) << path;
  }
  EXPECT_EQ(node_->send("GET", fmt::format("/api/v1/contracts/full-{}", created), provider_).status, 404);
  std::filesystem::remove(filler);
  EXPECT_EQ(authorize().status, 200);
  EXPECT_EQ(create_contract(fmt::format("full-{}", created)).status, 201);
  EXPECT_THAT(node_->output_of({"events", "verify"}), HasSubstr("records, head"));
}

}  // namespace
}  // namespace tb
