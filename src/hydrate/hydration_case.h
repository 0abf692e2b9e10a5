// For tests only: an asset of 50 chunks behind a server that may lie, and a Hydration of it.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "base/crypto.h"
#include "blob/http_source.h"
#include "blob/lying_server.h"
#include "blob/sealed_sample.h"
#include "hydrate/hydration.h"

namespace tb::hydrate {

using blob::LyingServer;
using blob::SealedSample;
using Asked = LyingServer::Asked;
using Reply = LyingServer::Reply;

/// Collects plaintext and holds the order of calls to the contract of ChunkSink. Has a place for every second chunk.
class Collector final : public asset::ChunkSink {
 public:
  Collector() = default;
  ~Collector() override { EXPECT_TRUE(places_.empty()) << "a place was neither filled nor left"; }
  Result<> begin(const asset::Manifest&, const tbenc::Layout& layout) override {
    const std::lock_guard lock(mutex_);
    EXPECT_FALSE(layout_);
    layout_ = layout;
    plain.assign(static_cast<std::size_t>(layout.plaintext_bytes()), 0);
    return {};
  }
  MutableBytes place(std::uint64_t index) override {
    const std::lock_guard lock(mutex_);
    if (index % 2 == 0) return {};
    Bytes& given = places_[index];
    EXPECT_TRUE(given.empty()) << "a place for chunk " << index << " was asked for twice";
    given.assign(static_cast<std::size_t>(layout_->chunk_plain_bytes(index)), 0);
    return given;
  }
  void leave(std::uint64_t index) override {
    const std::lock_guard lock(mutex_);
    const auto given = places_.extract(index);
    ASSERT_TRUE(given);
    EXPECT_TRUE(std::ranges::all_of(given.mapped(), [](std::uint8_t byte) { return byte == 0; }))
        << "unverified plaintext of chunk " << index << " was left";
  }
  Result<> chunk(std::uint64_t index, ByteView bytes) override {
    const std::lock_guard lock(mutex_);
    const auto given = places_.extract(index);
    EXPECT_TRUE(!given || given.mapped().data() == bytes.data()) << "its place was not used";
    EXPECT_TRUE(layout_ && !finished && !aborted);
    EXPECT_TRUE(seen.insert(index).second) << "chunk " << index << " came twice";
    EXPECT_EQ(bytes.size(), layout_->chunk_plain_bytes(index));
    std::ranges::copy(bytes, plain.begin() + static_cast<std::ptrdiff_t>(layout_->plain_offset(index)));
    if (refuse_at == index) return fail("memory_short", "the sink is full");
    return {};
  }
  Result<> finish() override {
    finished = true;
    return {};
  }
  void abort(const Error&) override {
    EXPECT_FALSE(finished);
    aborted = true;
  }

  Bytes plain;
  std::set<std::uint64_t> seen;
  std::optional<std::uint64_t> refuse_at;
  bool finished = false, aborted = false;

 private:
  std::mutex mutex_;
  std::optional<tbenc::Layout> layout_;
  std::map<std::uint64_t, Bytes> places_;
};

struct Settings {
  Mode mode = Mode::kOverlap;
  CacheKind cache = CacheKind::kMemory;
  unsigned connections = 4;
  std::uint64_t request_bytes = 16384;
};

/// An asset of 50 chunks behind a server; a lie may be told and the ciphertext damaged.
struct Case {
  explicit Case(LyingServer::OnRequest lie = nullptr, Settings settings = {}, std::size_t bytes = 49 * 4096 + 17)
      : Case(SealedSample::make(blob::sample_pattern(bytes), 4096), std::move(lie), settings) {}
  Case(SealedSample of, LyingServer::OnRequest lie, Settings settings)
      : sample(std::move(of)),
        asset{sample.manifest, {.mac = true}},
        server(sample.ciphertext, std::move(lie)),
        client({.stall_timeout_ms = 1000, .use_proxy_environment = false}),
        urls(std::make_shared<blob::UrlProvider>(SecretUrl(server.url()), [this] { return SecretUrl(renewed); })),
        source(client, urls),
        renewed(server.url("/model.tbenc?sig=second")),
        directory(testing::TempDir() + "/tb-hydration-" + random_token(9)),
        options{.connections = settings.connections,
                .request_bytes = settings.request_bytes,
                .mode = settings.mode,
                .cache = settings.cache,
                .cache_directory = directory,
                .backoff = {.first_ms = 1, .max_ms = 5, .attempts = 30}} {}
  ~Case() { std::filesystem::remove_all(directory); }

  /// As a process that has just started: what is kept is on the disk only.
  Hydration& start() {
    hydration.reset();
    hydration = std::make_unique<Hydration>(options, asset, sample.key.clone(), source);
    return *hydration;
  }
  /// The reason of the failure, or "" and the plaintext is the one that was sealed.
  std::string outcome(Collector& sink) {
    try {
      start().run(sink, stop.get_token());
    } catch (const Error& error) {
      EXPECT_TRUE(!sink.finished);
      return error.reason;
    }
    EXPECT_TRUE(sink.finished);
    EXPECT_EQ(sink.plain, sample.plain);
    EXPECT_EQ(hydration->progress().bytes, hydration->progress().total);
    return "";
  }
  /// Everything verified into the cache, then every chunk asked for.
  std::string outcome_on_demand() {
    try {
      start().prepare(true, stop.get_token());
      hydration->verify(nullptr, stop.get_token());
    } catch (const Error& error) {
      return error.reason;
    }
    return read_all();
  }
  std::string read_all() {
    const tbenc::Layout& layout = hydration->layout();
    for (std::uint64_t i = 0; i < layout.chunk_count(); ++i) {
      Bytes plain(layout.chunk_plain_bytes(i), 0xee);
      if (auto opened = hydration->open_chunk(i, plain, stop.get_token()); !opened) {
        EXPECT_EQ(plain, Bytes(plain.size())) << "a failed chunk leaves nothing";
        return opened.error().reason;
      }
      EXPECT_TRUE(std::equal(plain.begin(), plain.end(),
                             sample.plain.begin() + static_cast<std::ptrdiff_t>(layout.plain_offset(i))));
    }
    return "";
  }
  std::string outcome() {
    Collector sink;
    return outcome(sink);
  }

  SealedSample sample;
  AuthenticatedManifest asset;
  LyingServer server;
  http::Client client;
  std::shared_ptr<blob::UrlProvider> urls;
  blob::HttpSource source;
  std::string renewed;
  std::string directory;
  Options options;
  std::stop_source stop;
  std::unique_ptr<Hydration> hydration;
};

}  // namespace tb::hydrate
