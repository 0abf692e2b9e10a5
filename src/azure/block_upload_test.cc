// Uploads against a store that fails in every way we could think of. After each success the store's bytes are the
// file's.
#include "azure/block_upload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "azure/blob_store_test.h"
#include "azure/token_server_test.h"

namespace tb::azure {
namespace {

constexpr std::uint64_t kBlockBytes = 64 << 10;
constexpr const char* kBlob = "m/model.tbenc";
constexpr const char* kPath = "/acct1/models/m/model.tbenc";

using Lie = BlobStore::Lie;
using Asked = BlobStore::Asked;

class BlockUploadTest : public testing::Test {
 protected:
  BlockUploadTest() {
    for (std::size_t i = 0; i < content_.size(); ++i) content_[i] = static_cast<std::uint8_t>(i * 7 + (i >> 9) * 13);
    access_ = StoreAccess::choose({.account = "acct1", .endpoint = store_.endpoint()},
                                  [](const std::string& name) -> std::optional<std::string> {
                                    if (name != "AZURE_STORAGE_SAS_TOKEN") return std::nullopt;
                                    return "sv=2022-11-02&sp=rcw&sig=s3cret";
                                  });
  }

  std::unique_ptr<BlockService> service() {
    ServiceOptions options;
    options.backoff = {.first_ms = 1, .max_ms = 8, .attempts = 5, .max_retry_after_ms = 2000};
    options.stall_timeout_ms = stall_timeout_ms_;
    options.stop = stop_.get_token();
    return std::make_unique<BlockService>(*access_, "models", std::move(options));
  }
  std::string sha256_of_content() const { return to_hex(sha256(content_)); }

  UploadedBlob upload(bool overwrite = false, unsigned parallel = 3) {
    const auto to = service();
    return upload_file(*to, kBlob, tbenc::MemorySource(content_), sha256_of_content(),
                       {.send = {.parallel = parallel}, .block_bytes = kBlockBytes, .overwrite = overwrite});
  }
  /// The reason that it fails with; "" if it is there, whole.
  std::string outcome(bool overwrite = false) {
    try {
      last_ = upload(overwrite);
    } catch (const Error& error) {
      EXPECT_EQ(error.story().find("s3cret"), std::string::npos) << error.story();
      return error.reason;
    }
    expect_whole();
    return "";
  }
  void expect_whole() const {
    const auto blob = store_.blob(kPath);
    ASSERT_TRUE(blob);
    EXPECT_TRUE(blob->content == as_text(content_));
    EXPECT_EQ(blob->fields.at("x-ms-meta-sha256"), sha256_of_content());
  }

  Bytes content_ = Bytes(10 * kBlockBytes + 17);
  BlobStore store_;
  std::unique_ptr<StoreAccess> access_;
  std::int64_t stall_timeout_ms_ = 1000;
  std::stop_source stop_;
  UploadedBlob last_;
};

TEST_F(BlockUploadTest, BlocksArriveAndTheirListMakesTheBlob) {
  EXPECT_EQ(outcome(), "");
  EXPECT_EQ(last_.blocks_sent, 11U);
  EXPECT_EQ(last_.sent_bytes, content_.size());
  EXPECT_EQ(store_.count("block"), 11);
  EXPECT_EQ(outcome(), "");
  EXPECT_TRUE(last_.already_there);
  EXPECT_EQ(store_.count("block"), 11);
}

TEST_F(BlockUploadTest, AStoreThatIsBusyIsLeftAloneAndAskedAgain) {
  store_.on_request([](const Asked& asked) -> std::optional<Lie> {
    if (asked.kind() != "block" || asked.number >= 9) return std::nullopt;
    return Lie{.status = asked.number % 2 == 0 ? 503 : 429, .code = "ServerBusy"};
  });
  EXPECT_EQ(outcome(), "");
  EXPECT_EQ(store_.count("block"), 11 + 9);
}

TEST_F(BlockUploadTest, RetryAfterHoldsEveryConnectionBack) {
  std::atomic<std::int64_t> asked_to_wait = 0, next = 0;
  store_.on_request([&](const Asked& asked) -> std::optional<Lie> {
    if (asked.kind() != "block") return std::nullopt;
    if (asked.number == 0) {
      asked_to_wait = boot_ms_now();
      return Lie{.status = 503, .code = "ServerBusy", .headers = {{"Retry-After", "1"}}};
    }
    // Those that were on their way already are no matter.
    if (boot_ms_now() - asked_to_wait > 500 && next == 0) next = boot_ms_now();
    return std::nullopt;
  });
  EXPECT_EQ(outcome(), "");
  EXPECT_GE(next - asked_to_wait, 990);
}

TEST_F(BlockUploadTest, AStoreThatStaysBusyIsAnErrorAndTheNextRunGoesOn) {
  store_.on_request([](const Asked& asked) -> std::optional<Lie> {
    return asked.kind() == "block" && asked.number >= 4 ? std::optional(Lie{.status = 503, .code = "ServerBusy"})
                                                        : std::nullopt;
  });
  EXPECT_EQ(outcome(), "server_busy");
  EXPECT_FALSE(store_.blob(kPath));
  const std::size_t held = store_.uncommitted(kPath);
  EXPECT_EQ(held, 4U);
  store_.on_request(nullptr);
  EXPECT_EQ(outcome(), "");
  EXPECT_EQ(last_.blocks_skipped, held);
  EXPECT_EQ(last_.blocks_sent, 11 - held);
}

TEST_F(BlockUploadTest, BlocksOfOtherContentAreNeverTaken) {
  store_.on_request([](const Asked& asked) -> std::optional<Lie> {
    return asked.kind() == "commit" ? std::optional(Lie{.status = 403, .code = "AuthorizationFailure"}) : std::nullopt;
  });
  EXPECT_EQ(outcome(), "blob_refused");
  EXPECT_EQ(store_.uncommitted(kPath), 11U);
  store_.on_request(nullptr);
  content_[5 * kBlockBytes + 3] ^= 1;  // all before it is the same
  EXPECT_EQ(outcome(), "");
  EXPECT_EQ(last_.blocks_skipped, 5U);
}

TEST_F(BlockUploadTest, AConnectionThatBreaksInABlockIsMade) {
  store_.on_request([](const Asked& asked) -> std::optional<Lie> {
    if (asked.kind() != "block" || asked.number % 3 != 1) return std::nullopt;
    return Lie{.reset_after_body_bytes = kBlockBytes / 2};
  });
  EXPECT_EQ(outcome(), "");
}

TEST_F(BlockUploadTest, AnAnswerThatIsLostIsLookedForBeforeAnythingIsRepeated) {
  store_.on_request([](const Asked& asked) -> std::optional<Lie> {
    if (asked.number > 0 || asked.method != "PUT") return std::nullopt;
    return Lie{.reset_after_effect = true};  // of the first block, and of the list
  });
  EXPECT_EQ(outcome(), "");
  // libcurl itself repeats what a kept connection did not answer: the condition makes that harmless.
  EXPECT_LE(store_.count("commit"), 2);
}

TEST_F(BlockUploadTest, AListThatWasNotWrittenIsWrittenAgain) {
  store_.on_request([](const Asked& asked) -> std::optional<Lie> {
    if (asked.kind() != "commit" || asked.number > 2) return std::nullopt;
    return Lie{.status = 500, .code = "OperationTimedOut"};
  });
  EXPECT_EQ(outcome(), "");
}

TEST_F(BlockUploadTest, WhatIsDamagedOnItsWayIsSentAgain) {
  store_.on_request([](const Asked& asked) -> std::optional<Lie> {
    return asked.kind() == "block" && asked.number % 4 == 0 ? std::optional(Lie{.flip_a_bit = true}) : std::nullopt;
  });
  EXPECT_EQ(outcome(), "");
  store_.on_request([](const Asked& asked) -> std::optional<Lie> {
    return asked.kind() == "block" ? std::optional(Lie{.flip_a_bit = true}) : std::nullopt;
  });
  content_[0] ^= 1;
  EXPECT_EQ(outcome(true), "block_damaged");
}

TEST_F(BlockUploadTest, BlocksThatTheStoreLosesAreSentAnew) {
  store_.on_request([&](const Asked& asked) -> std::optional<Lie> {
    return asked.kind() == "commit" && asked.number < 2 ? std::optional(Lie{.status = 400, .code = "InvalidBlockList"})
                                                        : std::nullopt;
  });
  EXPECT_EQ(outcome(), "");
  store_.on_request([](const Asked& asked) -> std::optional<Lie> {
    return asked.kind() == "commit" ? std::optional(Lie{.status = 400, .code = "InvalidBlockList"}) : std::nullopt;
  });
  content_[0] ^= 1;
  EXPECT_EQ(outcome(true), "upload_blocks_lost");
}

TEST_F(BlockUploadTest, NothingIsReplacedUnseen) {
  store_.put(kPath, "theirs");
  EXPECT_EQ(outcome(), "blob_conflict");
  EXPECT_EQ(store_.blob(kPath)->content, "theirs");
  EXPECT_EQ(store_.count("block"), 0);
  EXPECT_EQ(outcome(true), "");
  // Somebody comes in between, after the look and before the list: the one who replaces knows just what.
  for (const bool overwrite : {true, false}) {
    content_[0] ^= 1;
    std::once_flag once;
    store_.on_request([&](const Asked& asked) -> std::optional<Lie> {
      if (asked.kind() == "block") std::call_once(once, [&] { store_.put(kPath, "in between"); });
      return std::nullopt;
    });
    if (!overwrite) store_.remove(kPath);
    EXPECT_EQ(outcome(overwrite), "blob_conflict");
    EXPECT_EQ(store_.blob(kPath)->content, "in between");
  }
}

TEST_F(BlockUploadTest, EqualBytesWithoutOurNoteAreReadAndRecognised) {
  store_.put(kPath, std::string(as_text(content_)));
  EXPECT_TRUE(upload().already_there);
  std::string other(as_text(content_));
  other.back() ^= 1;
  store_.put(kPath, other);
  EXPECT_EQ(outcome(), "blob_conflict");
}

TEST_F(BlockUploadTest, AnErrorWithoutAnEndIsBounded) {
  store_.on_request([](const Asked& asked) -> std::optional<Lie> {
    return asked.kind() == "block" ? std::optional(Lie{.status = 400, .endless_body = true}) : std::nullopt;
  });
  EXPECT_EQ(outcome(), "answer_too_large");
}

TEST_F(BlockUploadTest, APeerThatSaysNothingIsGivenUp) {
  store_.on_request([](const Asked& asked) -> std::optional<Lie> {
    return asked.kind() == "list" && asked.number == 0 ? std::optional(Lie{.stall = true}) : std::nullopt;
  });
  EXPECT_EQ(outcome(), "");
}

TEST_F(BlockUploadTest, AStopEndsItSoon) {
  store_.on_request([&](const Asked& asked) -> std::optional<Lie> {
    if (asked.kind() != "block") return std::nullopt;
    stop_.request_stop();
    return Lie{.stall = true};
  });
  EXPECT_EQ(outcome(), "cancelled");
}

TEST_F(BlockUploadTest, AFileThatChangesMeanwhileIsNamed) {
  // Sent bytes are held against those that were hashed: by the store first, then by us.
  struct Changing final : tbenc::RandomSource {
    explicit Changing(const Bytes& of) : bytes(of) {}
    std::uint64_t size() const override { return bytes.size(); }
    Result<> read_at(std::uint64_t offset, MutableBytes out) const override {
      std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset), out.size(), out.begin());
      if (offset <= kBlockBytes && reads++ > 0) out[0] ^= 1;
      return {};
    }
    std::string name() const override { return "weights"; }
    const Bytes& bytes;
    mutable std::atomic<int> reads = 0;
  };
  const auto to = service();
  try {
    upload_file(*to, kBlob, Changing(content_), sha256_of_content(), {.block_bytes = kBlockBytes});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.reason, "source_changed");
  }
  EXPECT_FALSE(store_.blob(kPath));
  try {
    upload_file(*to, kBlob, tbenc::MemorySource(content_), sha256_hex("other"), {.block_bytes = kBlockBytes});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.reason, "ciphertext_digest_mismatch");
  }
  EXPECT_FALSE(store_.blob(kPath));
}

TEST_F(BlockUploadTest, WhatIsMadeOnTheWayIsKeptUntilTheStoreHasIt) {
  store_.on_request([](const Asked& asked) -> std::optional<Lie> {
    if (asked.kind() == "block" && asked.number % 3 == 0) return Lie{.reset_after_body_bytes = 1000};
    if (asked.kind() == "block" && asked.number % 7 == 0) return Lie{.status = 503, .code = "ServerBusy"};
    if (asked.kind() == "commit" && asked.number == 0) return Lie{.reset_after_effect = true};
    return std::nullopt;
  });
  const auto to = service();
  BlockStream stream(*to, kBlob, content_.size(), {.block_bytes = kBlockBytes});
  for (std::size_t at = 0; at < content_.size();) {
    const std::size_t piece = std::min<std::size_t>(content_.size() - at, 1 + at % 50'000);
    ASSERT_TRUE(stream.write(ByteView(content_).subspan(at, piece)));
    at += piece;
  }
  stream.finish();
  EXPECT_FALSE(store_.blob(kPath)) << "it appeared before it was committed";
  stream.commit(sha256_of_content(), {});
  expect_whole();
  BlockStream again(*to, kBlob, 1, {.block_bytes = kBlockBytes});
  EXPECT_FALSE(again.write(as_bytes("ab"))) << "more than was said";
  EXPECT_EQ(BlockStream::most_parallel(8 << 20), 19U);
  EXPECT_EQ(BlockStream::most_parallel(64 << 20), 1U);
}

TEST_F(BlockUploadTest, AStreamEndsWithTheFaultOfItsBlocks) {
  store_.on_request([](const Asked& asked) -> std::optional<Lie> {
    return asked.kind() == "block" ? std::optional(Lie{.status = 403, .code = "AuthorizationFailure"}) : std::nullopt;
  });
  const auto to = service();
  BlockStream stream(*to, kBlob, content_.size(), {.block_bytes = kBlockBytes});
  Result<> done;
  for (std::size_t at = 0; done && at < content_.size(); at += 1000) {
    done = stream.write(ByteView(content_).subspan(at, std::min<std::size_t>(1000, content_.size() - at)));
  }
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().reason, "blob_refused");
}

TEST_F(BlockUploadTest, AFaultEndsTheWaitOfTheOthers) {
  store_.on_request([&](const Asked& asked) -> std::optional<Lie> {
    if (asked.kind() != "block") return std::nullopt;
    if (asked.number == 2) return Lie{.status = 403, .code = "AuthorizationFailure"};
    return asked.number < 2 ? std::optional(Lie{.stall = true}) : std::nullopt;  // for 60 s, were it not for the fault
  });
  stall_timeout_ms_ = 60'000;
  const std::int64_t start = boot_ms_now();
  EXPECT_EQ(outcome(), "blob_refused");
  EXPECT_LT(boot_ms_now() - start, 30'000);
}

TEST_F(BlockUploadTest, ATextIsWrittenWholeAndOnce) {
  store_.on_request([](const Asked& asked) -> std::optional<Lie> {
    return asked.kind() == "PUT" && asked.number == 0 ? std::optional(Lie{.reset_after_effect = true}) : std::nullopt;
  });
  const auto to = service();
  EXPECT_FALSE(upload_text(*to, "m/manifest", "{}", false).already_there);
  EXPECT_LE(store_.count("PUT"), 2);
  EXPECT_TRUE(upload_text(*to, "m/manifest", "{}", false).already_there);
  EXPECT_THROW(upload_text(*to, "m/manifest", "[]", false), Error);
  EXPECT_EQ(store_.blob("/acct1/models/m/manifest")->content, "{}");
  upload_text(*to, "m/manifest", "[]", true);
  EXPECT_EQ(store_.blob("/acct1/models/m/manifest")->content, "[]");
}

TEST_F(BlockUploadTest, ATokenThatIsRefusedIsRenewedOnce) {
  TokenServer tokens;
  access_ = StoreAccess::choose({.account = "acct1", .endpoint = store_.endpoint()},
                                [&](const std::string& name) -> std::optional<std::string> {
                                  if (name == "AZURE_TENANT_ID" || name == "AZURE_CLIENT_ID") return "id";
                                  if (name == "AZURE_CLIENT_SECRET") return "s3cret";
                                  if (name == "AZURE_AUTHORITY_HOST") return tokens.origin();
                                  return std::nullopt;
                                });
  store_.on_request([&](const Asked& asked) -> std::optional<Lie> {
    if (asked.headers.get("Authorization") == "Bearer token-2") return std::nullopt;
    tokens.answer(200, R"({"access_token":"token-2","expires_in":3599})");
    return Lie{.status = 401, .code = "InvalidAuthenticationInfo"};
  });
  EXPECT_EQ(outcome(), "");
  EXPECT_EQ(tokens.requests(), 2);
  store_.on_request([](const Asked&) -> std::optional<Lie> { return Lie{.status = 401}; });
  EXPECT_EQ(outcome(), "blob_refused");
  EXPECT_EQ(tokens.requests(), 3);
}

}  // namespace
}  // namespace tb::azure
