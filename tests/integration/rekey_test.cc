// rekey as it is used: the real service goes on serving authorize while the real command is killed (SIGKILL) again and
// again, at every row, from a file to a KMS and back to another file. Not one authorize may fail or give another key.
// The KMS is the stand-in of src/controlplane/transit_server_test.h: it decides at which row the command dies. spec:
// wire 1.4
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "api/asset.h"
#include "base/crypto.h"
#include "control_plane_process.h"
#include "controlplane/transit_server_test.h"

namespace tb {
namespace {

constexpr int kAssets = 37;

class RekeyProcess : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(dir_);
    ASSERT_TRUE(write_file_atomically(dir_ + "/kms-token", "hvs.test\n", 0600, false));
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  /// One and the same installation, under other settings.
  ControlPlaneNode node(Arguments settings = {}) const {
    settings.insert(settings.end(), {"--kek-token-file", dir_ + "/kms-token", "--allow-unauthenticated-sentinels",
                                     "true", "--rate-limit", "0"});
    return {dir_, settings};
  }
  std::string next_kek() const { return "file:" + dir_ + "/keys/next"; }

  void register_all(ControlPlaneNode& service, const std::string& provider) {
    std::string ids;
    for (int i = 0; i < kAssets; ++i) {
      const std::string id = "m" + std::to_string(i);
      keys_.push_back(random_key());
      api::RegisterRequest request;
      request.asset_id = id;
      request.blob_urls = {.ciphertext = "https://blobs.example/c", .manifest = "https://blobs.example/m"};
      request.metadata = {.chunk_bytes = 1024, .plaintext_bytes = 10, .sha256_ciphertext = sha256_hex(id)};
      request.decryption_key = keys_.back().clone();
      ASSERT_EQ(service.send("POST", "/api/v1/assets/register", provider, request.to_json().dump()).status, 201);
      ids += (ids.empty() ? "\"" : ",\"") + id + "\"";
    }
    const auto contract = service.send("POST", "/api/v1/contracts", provider,
                                       R"({"contract_id":"c","consumer":"x","asset_ids":[)" + ids +
                                           R"(],"not_after":"2099-01-01T00:00:00Z","key_release":"plain",)" +
                                           R"("authentication":"none","max_seats":)" + std::to_string(kAssets) + "}");
    ASSERT_EQ(contract.status, 201) << contract.body;
  }
  /// "" if authorize gives the key that was registered.
  std::string wrong(ControlPlaneNode& service, int i) const {
    const std::string id = "m" + std::to_string(i);
    const auto answer =
        service.send("POST", "/api/v1/license/authorize", "",
                     R"({"contract_id":"c","asset_id":")" + id + R"(","hw_id":"h","client_version":"1"})");
    if (answer.status != 200) return id + ": " + std::to_string(answer.status) + " " + answer.body;
    const std::string key = to_hex(keys_[static_cast<std::size_t>(i)].reveal());
    return ControlPlaneNode::text_of(answer, "decryption_key_hex") == key ? "" : id + ": another key";
  }

  const std::string dir_ = testing::TempDir() + "tb-rekey-" + random_token(8);
  controlplane::TransitServer kms_{"hvs.test"};
  std::vector<FileKey> keys_;
};

TEST_F(RekeyProcess, KilledAtEveryRowNoKeyIsLostAndTheServiceGoesOn) {
  ControlPlaneNode service = node({"--kek-accepted", kms_.source() + "," + next_kek()});
  const std::string provider = service.output_of({"token", "create", "--role", "provider", "--tenant", "acme"});
  service.start();
  register_all(service, provider);

  std::atomic<bool> over = false;
  std::atomic<int> served = 0;
  std::string failure;
  std::thread sentinels([&] {
    for (int i = 0; !over && failure.empty(); i = (i + 1) % kAssets, ++served) failure = wrong(service, i);
  });

  int kills = 0;
  const auto until_done = [&](const std::string& to, int step) {
    // The command dies at another row each time; a batch that it does not end is begun anew.
    for (int row = 1;; row += step) {
      Process process(service.command({"rekey", "--to", to}), dir_ + "/out", dir_ + "/err");
      std::atomic<int> seen = 0;
      kms_.on_request([&] {
        // The service's own requests count as well: all the better mixed.
        if (++seen == row) process.kill_now();
      });
      const int status = process.wait();
      kms_.on_request(nullptr);
      if (status == 0) return;
      EXPECT_EQ(status, 128 + SIGKILL) << service.read("err");
      ++kills;
    }
  };
  until_done(kms_.source(), 3);
  EXPECT_THAT(service.read("out"), testing::HasSubstr("under the KEK transit:transit/tb"));
  until_done(next_kek(), 7);
  over = true;
  sentinels.join();
  EXPECT_EQ(failure, "");
  EXPECT_GT(served.load(), 0);
  EXPECT_GT(kills, 10);

  // The old KEK is not needed any more; without the new one nothing starts.
  ASSERT_EQ(service.stop(), 0);
  std::filesystem::remove(dir_ + "/data/keys/kek");
  ControlPlaneNode after = node({"--kek", next_kek()});
  after.start();
  for (int i = 0; i < kAssets; ++i) EXPECT_EQ(wrong(after, i), "");
  ASSERT_EQ(after.stop(), 0);
  service.output_of({"identity"}, 5);
  EXPECT_THAT(after.output_of({"events", "verify"}), testing::HasSubstr("records"));
  struct stat info{};
  ASSERT_EQ(stat((dir_ + "/keys/next").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
}

TEST_F(RekeyProcess, AKekThatTheServicesDoNotAcceptIsRefused) {
  const ControlPlaneNode console = node();
  console.output_of({"identity"});
  console.output_of({"rekey", "--to", next_kek()}, 2);
  EXPECT_THAT(console.read("err"), testing::HasSubstr("TB_CP_KEK_ACCEPTED"));
  EXPECT_FALSE(std::filesystem::exists(dir_ + "/keys/next"));
}

TEST_F(RekeyProcess, AServiceStartsOnlyWhileItsKmsAnswersAndThenServesWithoutARestart) {
  using Mode = controlplane::TransitServer::Mode;
  ControlPlaneNode service = node({"--kek", kms_.source()});
  const std::string provider = service.output_of({"token", "create", "--role", "provider", "--tenant", "acme"});
  kms_.set(Mode::kSealed);
  service.output_of({"identity"}, 6);
  kms_.set(Mode::kWorks);
  service.start();
  register_all(service, provider);
  EXPECT_EQ(wrong(service, 0), "");
  kms_.set(Mode::kNoJson);
  EXPECT_THAT(wrong(service, 1), testing::HasSubstr("503"));
  kms_.set(Mode::kWorks);
  EXPECT_EQ(wrong(service, 1), "");
  const std::string log = service.read("service.err");
  for (const auto& key : keys_) {
    EXPECT_EQ(log.find(to_base64(key.reveal())), std::string::npos);
    EXPECT_EQ(log.find(to_hex(key.reveal())), std::string::npos);
  }
  EXPECT_EQ(log.find("hvs.test"), std::string::npos);
  EXPECT_THAT(log, testing::HasSubstr("the KMS"));
}

}  // namespace
}  // namespace tb
