// spec: tbenc-v1 5, wire 1.1
#include "hydrate/manifest_check.h"

#include <gtest/gtest.h>

#include "blob/lying_server.h"
#include "blob/sealed_sample.h"

namespace tb::hydrate {
namespace {

using blob::SealedSample;

struct Case {
  SealedSample sample = SealedSample::make(blob::sample_pattern(3000), 1024);
  asset::Expectation expected{.key = &sample.key, .asset_id = "sample"};

  std::string outcome(const asset::Manifest& manifest) const {
    auto checked = authenticate_manifest(manifest.text(), expected);
    return checked ? checked->proofs() : checked.error().reason;
  }
};

TEST(ManifestCheck, MacAloneIsEnough) {
  Case c;
  EXPECT_EQ(c.outcome(c.sample.manifest), "mac");
}

TEST(ManifestCheck, EveryProofThatIsThereMustHold) {
  Case c;
  const Ed25519PrivateKey provider = Ed25519PrivateKey::generate();
  asset::Manifest manifest = c.sample.manifest;
  manifest.sign(provider);
  c.expected.provider_key = provider.public_key();
  c.expected.manifest_sha256 = manifest.sha256();
  c.expected.metadata = manifest.metadata();
  EXPECT_EQ(c.outcome(manifest), "mac+signature+manifest_sha256+metadata");

  c.expected.manifest_sha256 = std::string(64, '0');
  EXPECT_EQ(c.outcome(manifest), "manifest_digest_mismatch");
  c.expected.manifest_sha256.reset();
  c.expected.metadata->plaintext_bytes += 1;
  EXPECT_EQ(c.outcome(manifest), "metadata_mismatch");
  c.expected.metadata.reset();
  c.expected.provider_key = Ed25519PrivateKey::generate().public_key();
  EXPECT_EQ(c.outcome(manifest), "signature_missing");
}

TEST(ManifestCheck, AnotherKeyOrAnotherAssetIsTampering) {
  Case c;
  const FileKey other = random_key();
  c.expected.key = &other;
  EXPECT_EQ(c.outcome(c.sample.manifest), "mac_mismatch");
  c.expected.key = &c.sample.key;
  c.expected.asset_id = "another";
  EXPECT_EQ(c.outcome(c.sample.manifest), "asset_mismatch");
}

TEST(ManifestCheck, WithoutMacSomethingElseMustSpeakForIt) {
  Case c;
  const auto old = c.sample.without_mac();
  EXPECT_EQ(c.outcome(old), "manifest_unauthenticated");
  c.expected.allow_unauthenticated = true;
  EXPECT_EQ(c.outcome(old), "none");
  c.expected.allow_unauthenticated = false;
  c.expected.metadata = old.metadata();
  EXPECT_EQ(c.outcome(old), "metadata");
  c.expected.metadata.reset();
  c.expected.manifest_sha256 = old.sha256();
  EXPECT_EQ(c.outcome(old), "manifest_sha256");
  EXPECT_TRUE(authenticate_manifest(old.text(), c.expected)->how.needs_ciphertext_sha256());
}

TEST(ManifestCheck, GarbageIsMalformed) {
  Case c;
  EXPECT_EQ(authenticate_manifest("<html>", c.expected).error().code(), Code::kMalformed);
  c.expected.key = nullptr;
  EXPECT_EQ(authenticate_manifest(c.sample.manifest.text(), c.expected).error().reason, "internal");
}

TEST(ManifestFetch, TriesAgainAndGivesUp) {
  const Bytes text = blob::sample_pattern(500);
  blob::LyingServer server(text, [](const auto& asked, auto& reply) {
    if (asked.target == "/never" || asked.number == 0) reply.status = 503;
  });
  http::Client client({.use_proxy_environment = false});
  const async::BackoffPolicy quick{.first_ms = 1, .max_ms = 2, .attempts = 3};
  blob::UrlProvider good(SecretUrl(server.url("/m")));
  EXPECT_EQ(fetch_manifest(client, good, quick, {}), as_text(text));
  EXPECT_EQ(server.requests(), 2);
  blob::UrlProvider never(SecretUrl(server.url("/never")));
  EXPECT_THROW(fetch_manifest(client, never, quick, {}), Error);
  EXPECT_EQ(server.requests(), 5);
}

}  // namespace
}  // namespace tb::hydrate
