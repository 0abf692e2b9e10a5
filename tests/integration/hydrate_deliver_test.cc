// From a real nginx to what a runtime opens: files in memory and a FIFO, and nothing left of either after a fault.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "blob/http_source.h"
#include "blob/nginx.h"
#include "blob/sealed_sample.h"
#include "deliver/fifo.h"
#include "deliver/tmpfs.h"
#include "hydrate/hydration.h"

namespace tb {
namespace {

namespace fs = std::filesystem;
using blob::SealedSample;

std::string text_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class HydrateDeliver : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(blob::Nginx::installed()) << "nginx is missing: run scripts/deps.sh";
    const std::string unique = random_token(9);
    disk_ = testing::TempDir() + "/tb-chain-" + unique;
    memory_ = "/dev/shm/tb-chain-" + unique;
    nginx_ = std::make_unique<blob::Nginx>(disk_);
    fs::create_directory(memory_);
    chmod(memory_.c_str(), 0711);
    make_model(disk_ + "/in");
  }
  void TearDown() override {
    nginx_.reset();
    if (!disk_.empty()) fs::remove_all(disk_);
    if (!memory_.empty()) fs::remove_all(memory_);
  }
  static void make_model(const std::string& dir) {
    fs::create_directories(dir + "/tokenizer");
    std::ofstream(dir + "/config.json") << R"({"model_type":"llama"})";
    std::ofstream(dir + "/tokenizer/tokenizer.json") << "{}";
    for (const char* shard : {"/model-00001-of-00002.safetensors", "/model-00002-of-00002.safetensors"}) {
      std::ofstream(dir + shard, std::ios::binary) << as_text(blob::sample_pattern(5'000'000));
    }
  }
  /// Puts the sample where nginx serves it, its ciphertext first changed by the test.
  void put(const SealedSample& sample) const {
    value_or_throw(write_file_atomically(nginx_->root() + "/m.tbenc", as_text(sample.ciphertext), 0644, true));
    value_or_throw(write_file_atomically(nginx_->root() + "/m.json", sample.manifest.text(), 0644, true));
  }
  /// Manifest, check, hydration, delivery: what a sentinel does once it is authorized. The reason it failed, or "".
  std::string bring(const FileKey& key, deliver::Delivery& delivery, hydrate::Mode mode = hydrate::Mode::kOverlap) {
    try {
      http::Client client({.use_proxy_environment = false});
      blob::UrlProvider manifest_url(SecretUrl(nginx_->url("m.json")));
      const std::string text = hydrate::fetch_manifest(client, manifest_url, {}, {});
      const auto asset = value_or_throw(hydrate::authenticate_manifest(text, {.key = &key, .asset_id = "sample"}));
      blob::HttpSource source(client, std::make_shared<blob::UrlProvider>(SecretUrl(nginx_->url("m.tbenc"))));
      auto hydration = std::make_shared<hydrate::Hydration>(
          hydrate::Options{.request_bytes = 1U << 20, .mode = mode, .cache_directory = disk_ + "/cache"}, asset,
          key.clone(), source);
      if (delivery.takes_chunks()) {
        hydration->run(delivery, {});
      } else {
        value_or_throw(delivery.begin(asset.manifest, hydration->layout()));
        hydration->prepare(true, {});
        hydration->verify(nullptr, {});
        delivery.serve(hydration);
      }
    } catch (const Error& error) {
      return error.reason;
    }
    return "";
  }
  std::string disk_, memory_;
  std::unique_ptr<blob::Nginx> nginx_;
};

TEST_F(HydrateDeliver, ModelDirectoryStandsInMemory) {
  const auto sample = SealedSample::of_directory(disk_ + "/in", 1U << 18);
  put(sample);
  for (const auto mode : {hydrate::Mode::kOverlap, hydrate::Mode::kStrict}) {
    auto delivery = deliver::make_tmpfs({memory_ + "/model", geteuid(), true});
    ASSERT_EQ(bring(sample.key, *delivery, mode), "");
    ASSERT_TRUE(delivery->usable());
    for (const auto& entry : fs::recursive_directory_iterator(disk_ + "/in")) {
      if (!entry.is_regular_file()) continue;
      const auto relative = fs::relative(entry.path(), disk_ + "/in");
      EXPECT_EQ(text_of(fs::path(delivery->path()) / relative), text_of(entry.path())) << relative;
    }
    ASSERT_TRUE(delivery->revoke());
    EXPECT_TRUE(fs::is_empty(memory_ + "/model"));
  }
}

TEST_F(HydrateDeliver, FifoStreamsATarThatTarUnpacks) {
  const auto sample = SealedSample::of_directory(disk_ + "/in", 1U << 18);
  put(sample);
  auto delivery = deliver::make_fifo({memory_ + "/pipe", geteuid(), true});
  ASSERT_EQ(bring(sample.key, *delivery), "");
  for (const char* out : {"/out1", "/out2"}) {
    fs::create_directory(memory_ + out);
    const std::string command = "tar -x -f " + memory_ + "/pipe -C " + memory_ + out;
    ASSERT_EQ(std::system(command.c_str()), 0);
    EXPECT_EQ(text_of(memory_ + out + "/config.json"), text_of(disk_ + "/in/config.json"));
    EXPECT_EQ(text_of(memory_ + out + "/model-00002-of-00002.safetensors"),
              text_of(disk_ + "/in/model-00002-of-00002.safetensors"));
  }
}

TEST_F(HydrateDeliver, OneFlippedByteLeavesNothing) {
  auto sample = SealedSample::of_directory(disk_ + "/in", 1U << 18);
  sample.ciphertext[sample.ciphertext.size() / 2] ^= 1;
  put(sample);
  for (const auto mode : {hydrate::Mode::kOverlap, hydrate::Mode::kStrict}) {
    auto tmpfs = deliver::make_tmpfs({memory_ + "/model", geteuid(), true});
    EXPECT_EQ(bring(sample.key, *tmpfs, mode), "tag_mismatch");
    EXPECT_FALSE(tmpfs->usable());
    EXPECT_TRUE(fs::is_empty(memory_ + "/model"));
  }
  auto fifo = deliver::make_fifo({memory_ + "/pipe", geteuid(), true});
  EXPECT_EQ(bring(sample.key, *fifo), "tag_mismatch");
  EXPECT_FALSE(fs::exists(memory_ + "/pipe"));
}

TEST_F(HydrateDeliver, WrongKeyDownloadsNothing) {
  const auto sample = SealedSample::of_directory(disk_ + "/in", 1U << 18);
  put(sample);
  auto delivery = deliver::make_tmpfs({memory_ + "/model", geteuid(), true});
  EXPECT_EQ(bring(random_key(), *delivery), "mac_mismatch");
  EXPECT_TRUE(fs::is_empty(memory_ + "/model"));
}

TEST_F(HydrateDeliver, BlobCutAtARecordLeavesNothing) {
  auto sample = SealedSample::of_directory(disk_ + "/in", 1U << 18);
  sample.ciphertext.resize(32 + 3 * ((1U << 18) + 20));
  put(sample);
  auto delivery = deliver::make_tmpfs({memory_ + "/model", geteuid(), true});
  EXPECT_EQ(bring(sample.key, *delivery), "ciphertext_truncated");
  EXPECT_TRUE(fs::is_empty(memory_ + "/model"));
}

}  // namespace
}  // namespace tb
