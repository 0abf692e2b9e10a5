// Downloads from Azure's own emulator of its blob store: real SAS, real expiry, real ETags (spec: wire 1.1, 2.2).
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <mutex>

#include "async/rate_limit.h"
#include "azurite.h"
#include "blob/http_source.h"
#include "blob/sealed_sample.h"
#include "hydrate/hydration.h"

namespace tb {
namespace {

using blob::DatedUrl;
using blob::SealedSample;
using blob::UrlProvider;

/// How much longer than in the ordinary test run: TB_TEST_SCALE.
std::uint64_t scale() {
  const char* text = std::getenv("TB_TEST_SCALE");
  return std::max<std::uint64_t>(text != nullptr ? std::strtoull(text, nullptr, 10) : 1, 1);
}

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
  Result<> finish() override {
    finished = true;
    return {};
  }
  void abort(const Error&) override { aborted = true; }
  std::optional<tbenc::Layout> layout;
  Bytes bytes;
  bool finished = false, aborted = false;
};

/// A source whose every piece a test sees, and may delay.
class Watched final : public blob::BlobSource {
 public:
  Watched(blob::BlobSource& inner, std::function<void(std::size_t piece_bytes)> on_piece)
      : inner_(inner), on_piece_(std::move(on_piece)) {}
  blob::BlobStat stat() override { return inner_.stat(); }
  void fetch(std::uint64_t offset, std::uint64_t bytes, const blob::ByteSink& sink, std::stop_token stop) override {
    inner_.fetch(
        offset, bytes,
        [&](ByteView piece) {
          on_piece_(piece.size());
          sink(piece);
        },
        stop);
  }
  std::string printable() const override { return inner_.printable(); }

 private:
  blob::BlobSource& inner_;
  std::function<void(std::size_t)> on_piece_;
};

class AzuriteTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    ASSERT_TRUE(Azurite::installed()) << "azurite is missing: run scripts/engine.sh and scripts/test-tools.sh";
    log_ = testing::TempDir() + "/azurite-" + random_token(9) + ".log";
    azurite_ = std::make_unique<Azurite>(log_);
    azurite_->create_container("models");
  }
  static void TearDownTestSuite() {
    azurite_.reset();
    std::filesystem::remove(log_);
  }
  void SetUp() override { ASSERT_TRUE(azurite_); }

  static SealedSample stored(const std::string& path, std::size_t bytes) {
    SealedSample sample = SealedSample::make(blob::sample_pattern(bytes), 1U << 16);
    azurite_->put_blob(path, sample.ciphertext);
    return sample;
  }

  /// The reason that the download fails with, or "" and the plaintext is the one that was sealed.
  static std::string download(
      const SealedSample& sample, std::shared_ptr<UrlProvider> urls, Plain& sink,
      const std::function<void(std::size_t)>& on_piece = [](std::size_t) {}) {
    http::Client client({.use_proxy_environment = false});
    blob::HttpSource store(client, std::move(urls));
    Watched source(store, on_piece);
    hydrate::Hydration hydration({.connections = 2,
                                  .request_bytes = 1U << 16,
                                  .cache = hydrate::CacheKind::kMemory,
                                  .backoff = {.first_ms = 10, .max_ms = 1000}},
                                 {sample.manifest, {.mac = true}}, sample.key.clone(), source);
    try {
      hydration.run(sink, {});
    } catch (const Error& error) {
      EXPECT_EQ(error.story().find("sig="), std::string::npos) << error.story();
      return error.reason;
    }
    EXPECT_TRUE(sink.finished);
    EXPECT_EQ(sink.bytes, sample.plain);
    return "";
  }
  static std::shared_ptr<UrlProvider> fixed(DatedUrl url) { return std::make_shared<UrlProvider>(std::move(url)); }

  static std::string log_;
  static std::unique_ptr<Azurite> azurite_;
};
std::string AzuriteTest::log_;
std::unique_ptr<Azurite> AzuriteTest::azurite_;

TEST_F(AzuriteTest, BlockBlobComesByServiceSas) {
  const SealedSample sample = stored("/models/whole/model.tbenc", 9'000'001);
  Plain sink;
  EXPECT_EQ(download(sample, fixed(azurite_->signed_url("/models/whole/model.tbenc", 3'600'000)), sink), "");
}

/// A download that takes several times the life of a SAS, its bandwidth being limited.
struct LongDownload {
  std::string failure;
  int renewals = 0;  ///< every one, and those while the URL before was still good
  int in_time = 0;
};

LongDownload long_download(const Azurite& azurite, const std::string& path, bool end_is_known,
                           const std::function<std::string(std::shared_ptr<UrlProvider>)>& run) {
  LongDownload out;
  std::int64_t good_until = 0;
  const auto issue = [&] {
    DatedUrl url = azurite.signed_url(path, 5000);
    good_until = *url.expires_boot_ms;
    if (!end_is_known) url.expires_boot_ms.reset();
    return url;
  };
  const auto renew = [&] {
    ++out.renewals;
    out.in_time += boot_ms_now() < good_until ? 1 : 0;
    return issue();
  };
  out.failure = run(std::make_shared<UrlProvider>(issue(), renew));
  return out;
}

TEST_F(AzuriteTest, SasOfFiveSecondsServesADownloadOfMany) {
  // 20 s at 256 KiB a second, a minute where TB_TEST_SCALE is 3 or more; both ways side by side.
  constexpr std::uint64_t kBytesPerSecond = 256U << 10;
  const std::uint64_t seconds = std::min<std::uint64_t>(20 * scale(), 60);
  const std::string path = "/models/long/model.tbenc";
  const SealedSample sample = stored(path, kBytesPerSecond * seconds);
  const auto throttled = [&](bool end_is_known) {
    return long_download(*azurite_, path, end_is_known, [&](std::shared_ptr<UrlProvider> urls) {
      async::RateLimit limit(kBytesPerSecond);
      Plain sink;
      return download(sample, std::move(urls), sink, [&](std::size_t bytes) { limit.take(bytes); });
    });
  };
  auto ahead = std::async(std::launch::async, throttled, true);
  const LongDownload refused = throttled(false);
  const LongDownload renewed = ahead.get();
  const int least = static_cast<int>(seconds) / 6;

  EXPECT_EQ(renewed.failure, "");
  EXPECT_GE(renewed.renewals, least);
  EXPECT_GE(renewed.in_time, 1) << "no renewal came before the end";
  EXPECT_EQ(refused.failure, "") << "403 AuthorizationFailure was not mended";
  EXPECT_GE(refused.renewals, least);
  EXPECT_EQ(refused.in_time, 0) << "renewed without a refusal and without knowing the end";
  RecordProperty("renewed_ahead", renewed.in_time);
  RecordProperty("renewed_after_403", refused.renewals);
}

TEST_F(AzuriteTest, BlobThatIsReplacedInTheMiddleIsNotMixed) {
  const std::string path = "/models/replaced/model.tbenc";
  const SealedSample sample = stored(path, 6'000'000);
  const SealedSample other = SealedSample::make(sample.plain, 1U << 16);
  ASSERT_EQ(other.ciphertext.size(), sample.ciphertext.size());
  std::atomic<std::size_t> bytes = 0;
  std::once_flag once;
  Plain sink;
  EXPECT_EQ(download(sample, fixed(azurite_->signed_url(path, 3'600'000)), sink,
                     [&](std::size_t piece) {
                       if ((bytes += piece) > 1'000'000) {
                         std::call_once(once, [&] { azurite_->put_blob(path, other.ciphertext); });
                       }
                     }),
            "blob_changed");
  EXPECT_TRUE(sink.aborted);
  EXPECT_FALSE(sink.finished);
}

TEST_F(AzuriteTest, BlobThatIsDeletedInTheMiddleEndsTheDownload) {
  const std::string path = "/models/deleted/model.tbenc";
  const SealedSample sample = stored(path, 6'000'000);
  std::atomic<std::size_t> bytes = 0;
  std::once_flag once;
  Plain sink;
  // If-Match: what is gone does not match any more (RFC 9110 section 13.1.1).
  EXPECT_EQ(download(sample, fixed(azurite_->signed_url(path, 3'600'000)), sink,
                     [&](std::size_t piece) {
                       if ((bytes += piece) > 1'000'000) std::call_once(once, [&] { azurite_->delete_blob(path); });
                     }),
            "blob_changed");
  EXPECT_TRUE(sink.aborted);
  Plain again;
  EXPECT_EQ(download(sample, fixed(azurite_->signed_url(path, 3'600'000)), again), "blob_not_found");
}

TEST_F(AzuriteTest, WrongPlacesAndSignaturesAreRefused) {
  const std::string path = "/models/placed/model.tbenc";
  const SealedSample sample = stored(path, 100'000);
  const auto outcome = [&](DatedUrl url) {
    Plain sink;
    return download(sample, fixed(std::move(url)), sink);
  };
  EXPECT_EQ(outcome(azurite_->signed_url("/nowhere/placed/model.tbenc", 60'000)), "blob_not_found");
  EXPECT_EQ(outcome(azurite_->signed_url("/models/placed/other.tbenc", 60'000)), "blob_not_found");
  EXPECT_EQ(outcome(azurite_->signed_url(path, 60'000, "/others/placed/model.tbenc")), "url_expired");
  EXPECT_EQ(outcome(azurite_->signed_url(path, -60'000)), "url_expired");
}

TEST_F(AzuriteTest, RefusalThatRenewalDoesNotMendEnds) {
  const std::string path = "/models/never/model.tbenc";
  const SealedSample sample = stored(path, 100'000);
  std::atomic<int> renewals = 0;
  const auto renew = [&] {
    ++renewals;
    return azurite_->signed_url(path, -60'000);
  };
  Plain sink;
  EXPECT_EQ(download(sample, std::make_shared<UrlProvider>(renew(), renew), sink), "url_expired");
  EXPECT_EQ(renewals, 1 + UrlProvider::kMostRenewalsInARow);
}

}  // namespace
}  // namespace tb
