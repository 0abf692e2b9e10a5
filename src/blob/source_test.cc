// The contract of source.h over every implementation.
#include "blob/source.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "base/crypto.h"
#include "base/fs.h"
#include "blob/file_source.h"
#include "blob/lying_fixture.h"

namespace tb::blob {
namespace {

/// A store that holds one blob and can replace it.
class Store {
 public:
  virtual ~Store() = default;
  virtual std::unique_ptr<BlobSource> open() = 0;
  virtual void replace() = 0;
};

class FileStore final : public Store {
 public:
  explicit FileStore(const Bytes& blob) : path_(testing::TempDir() + "/tb-store-" + random_token(9)) {
    value_or_throw(write_file_atomically(path_, as_text(blob), 0600, true));
  }
  ~FileStore() override { std::filesystem::remove(path_); }
  std::unique_ptr<BlobSource> open() override { return std::make_unique<FileSource>(path_); }
  void replace() override { std::filesystem::resize_file(path_, 5001); }

 private:
  std::string path_;
};

class HttpStore final : public Store {
 public:
  explicit HttpStore(const Bytes& blob)
      : server_(blob,
                [this](const LyingServer::Asked&, LyingServer::Reply& reply) {
                  if (replaced_) reply.headers["ETag"] = "\"two\"";
                }),
        client_(quick()) {}
  std::unique_ptr<BlobSource> open() override {
    return std::make_unique<HttpSource>(client_, std::make_shared<UrlProvider>(SecretUrl(server_.url())));
  }
  void replace() override { replaced_ = true; }

 private:
  std::atomic<bool> replaced_ = false;
  LyingServer server_;
  http::Client client_;
};

template <typename Of>
class BlobContract : public testing::Test {
 protected:
  std::string refusal(std::uint64_t offset, std::uint64_t bytes, const std::stop_token& stop = {}) {
    Bytes got;
    try {
      source_->fetch(offset, bytes, [&](ByteView piece) { got.insert(got.end(), piece.begin(), piece.end()); }, stop);
    } catch (const Error& error) {
      EXPECT_LE(got.size(), bytes);
      EXPECT_TRUE(std::equal(got.begin(), got.end(), blob_.begin() + static_cast<std::ptrdiff_t>(offset)));
      return error.reason;
    }
    return "";
  }
  Bytes read(std::uint64_t offset, std::uint64_t bytes) {
    Bytes got;
    source_->fetch(offset, bytes, [&](ByteView piece) { got.insert(got.end(), piece.begin(), piece.end()); });
    return got;
  }
  Bytes part(std::uint64_t offset, std::uint64_t bytes) const {
    const auto from = blob_.begin() + static_cast<std::ptrdiff_t>(offset);
    return {from, from + static_cast<std::ptrdiff_t>(bytes)};
  }

  Bytes blob_ = pattern(5000);
  Of store_{blob_};
  std::unique_ptr<BlobSource> source_ = store_.open();
};

using Stores = testing::Types<FileStore, HttpStore>;
TYPED_TEST_SUITE(BlobContract, Stores);

TYPED_TEST(BlobContract, GivesExactlyWhatIsAskedFor) {
  EXPECT_EQ(this->source_->stat().bytes, 5000U);
  EXPECT_EQ(this->read(0, 5000), this->blob_);
  EXPECT_EQ(this->read(0, 1), this->part(0, 1));
  EXPECT_EQ(this->read(4999, 1), this->part(4999, 1));
}

TYPED_TEST(BlobContract, RefusesWhatIsOutside) {
  EXPECT_EQ(this->refusal(4990, 11), "range_outside_blob");
  EXPECT_EQ(this->refusal(5000, 1), "range_outside_blob");
  EXPECT_EQ(this->refusal(0, ~std::uint64_t{0}), "range_outside_blob");
  EXPECT_EQ(this->refusal(10, ~std::uint64_t{0}), "range_outside_blob");
}

TYPED_TEST(BlobContract, RefusesABlobThatIsReplaced) {
  this->read(0, 10);
  this->store_.replace();
  EXPECT_EQ(this->refusal(10, 10), "blob_changed");
}

TYPED_TEST(BlobContract, HearsAStop) {
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(this->refusal(0, 5000, stop.get_token()), "cancelled");
}

TYPED_TEST(BlobContract, PassesOnWhatTheSinkThrows) {
  try {
    this->source_->fetch(0, 10, [](ByteView) { throw Error("memory_short", "full"); });
    FAIL() << "the sink's refusal was lost";
  } catch (const Error& error) {
    EXPECT_EQ(error.reason, "memory_short");
  }
}

TYPED_TEST(BlobContract, ServesSeveralThreads) {
  std::vector<std::jthread> threads;
  for (std::uint64_t i = 0; i < 8; ++i) {
    threads.emplace_back([this, i] {
      for (std::uint64_t n = 0; n < 20; ++n) EXPECT_EQ(this->read(i * 100 + n, 500), this->part(i * 100 + n, 500));
    });
  }
}

}  // namespace
}  // namespace tb::blob
