// The happy path against a real range server: many connections, real ETags, real If-Match.
#include <gtest/gtest.h>

#include <filesystem>
#include <mutex>

#include "blob/http_source.h"
#include "blob/nginx.h"
#include "blob/sealed_sample.h"
#include "hydrate/hydration.h"

namespace tb::hydrate {
namespace {

namespace fs = std::filesystem;

struct Plain final : asset::ChunkSink {
  Result<> begin(const asset::Manifest&, const tbenc::Layout& of) override {
    layout = of;
    bytes.resize(static_cast<std::size_t>(of.plaintext_bytes()));
    return {};
  }
  Result<> chunk(std::uint64_t index, ByteView plain) override {
    std::ranges::copy(plain, bytes.begin() + static_cast<std::ptrdiff_t>(layout->plain_offset(index)));
    return {};
  }
  Result<> finish() override { return {}; }
  void abort(const Error&) override { aborted = true; }
  std::optional<tbenc::Layout> layout;
  Bytes bytes;
  bool aborted = false;
};

class NginxTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(blob::Nginx::installed()) << "nginx is missing: run scripts/deps.sh";
    dir_ = testing::TempDir() + "/tb-nginx-" + random_token(9);
    nginx_ = std::make_unique<blob::Nginx>(dir_);
  }
  void TearDown() override {
    nginx_.reset();
    if (!dir_.empty()) fs::remove_all(dir_);
  }
  void put(ByteView bytes) const {
    value_or_throw(write_file_atomically(nginx_->root() + "/model.tbenc", as_text(bytes), 0644, true));
  }
  std::string dir_;
  std::unique_ptr<blob::Nginx> nginx_;
};

TEST_F(NginxTest, ParallelRangesBringTheModel) {
  const auto sample = blob::SealedSample::make(blob::sample_pattern(24'000'001), 1U << 20);
  put(sample.ciphertext);
  http::Client client({.use_proxy_environment = false});
  for (const Mode mode : {Mode::kOverlap, Mode::kStrict}) {
    blob::HttpSource source(client, std::make_shared<blob::UrlProvider>(SecretUrl(nginx_->url("model.tbenc"))));
    Hydration hydration({.connections = 6, .request_bytes = 2U << 20, .mode = mode, .cache_directory = dir_ + "/cache"},
                        {sample.manifest, {.mac = true}}, sample.key.clone(), source);
    Plain sink;
    hydration.run(sink, {});
    EXPECT_EQ(sink.bytes, sample.plain);
    EXPECT_FALSE(source.stat().etag.empty());
  }
}

TEST_F(NginxTest, FileThatIsReplacedIsNotMixed) {
  const auto sample = blob::SealedSample::make(blob::sample_pattern(3'000'000), 65536);
  put(sample.ciphertext);
  http::Client client({.use_proxy_environment = false});
  blob::HttpSource source(client, std::make_shared<blob::UrlProvider>(SecretUrl(nginx_->url("model.tbenc"))));
  EXPECT_EQ(source.stat().bytes, sample.ciphertext.size());
  Bytes longer = sample.ciphertext;
  longer.push_back(0);
  put(longer);
  Hydration hydration({.cache_directory = dir_ + "/cache"}, {sample.manifest, {.mac = true}}, sample.key.clone(),
                      source);
  Plain sink;
  try {
    hydration.run(sink, {});
    FAIL() << "the blob changed and nobody saw it";
  } catch (const Error& error) {
    EXPECT_EQ(error.reason, "blob_changed");
  }
}

}  // namespace
}  // namespace tb::hydrate
