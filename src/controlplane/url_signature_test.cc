// spec: wire 1.5
#include "controlplane/url_signature.h"

#include <gtest/gtest.h>

#include "base/crypto.h"

namespace tb::controlplane {
namespace {

BlobClaim claim() {
  return {.tenant = "acme",
          .asset_id = "m-1",
          .name = "model.tbenc",
          .object_digest = std::string(64, 'a'),
          .lease_id = "lease-1",
          .expires_at_seconds = 1800000000};
}

Secret<32> key() {
  std::array<std::uint8_t, 32> bytes{};
  bytes.fill(7);
  return Secret<32>(bytes);
}

std::string query_of(const BlobClaim& c) {
  const std::string path = signed_path(key(), "kid1", c);
  return path.substr(path.find('?') + 1);
}

bool fits(const BlobClaim& c, std::string_view raw) {
  const auto query = parse_signed_query(raw);
  return query && signature_fits(key(), "kid1", c, *query);
}

// The string to sign of docs/spec/wire.md 1.5, written out.
TEST(UrlSignature, IsTheHmacThatTheSpecSays) {
  const std::string text =
      "tb-blob-v1\nkid1\nacme\nm-1\nmodel.tbenc\n" + std::string(64, 'a') + "\nlease-1\n1800000000\n";
  EXPECT_EQ(signed_path(key(), "kid1", claim()),
            "/blobs/acme/m-1/model.tbenc?kid=kid1&lease=lease-1&exp=1800000000&sig=" +
                to_base64url(hmac_sha256(key().reveal(), as_bytes(text))));
  EXPECT_TRUE(fits(claim(), query_of(claim())));
}

TEST(UrlSignature, EveryPartIsCovered) {
  const std::string raw = query_of(claim());
  const auto changed = [&](auto&& change) {
    BlobClaim c = claim();
    change(c);
    return fits(c, raw);
  };
  EXPECT_FALSE(changed([](BlobClaim& c) { c.tenant = "other"; }));
  EXPECT_FALSE(changed([](BlobClaim& c) { c.asset_id = "m-2"; }));
  EXPECT_FALSE(changed([](BlobClaim& c) { c.name = "model.manifest.json"; }));
  EXPECT_FALSE(changed([](BlobClaim& c) { c.object_digest = std::string(64, 'b'); }));
  EXPECT_FALSE(changed([](BlobClaim& c) { c.lease_id = "lease-2"; }));
  EXPECT_FALSE(changed([](BlobClaim& c) { c.expires_at_seconds += 1; }));
  const auto query = parse_signed_query(raw);
  EXPECT_FALSE(signature_fits(key(), "kid2", claim(), *query));
  EXPECT_FALSE(signature_fits(Secret<32>(), "kid1", claim(), *query));
}

TEST(UrlSignature, ThereIsOneSpellingOnly) {
  const std::string raw = query_of(claim());
  const std::string sig = raw.substr(raw.find("&sig="));
  EXPECT_TRUE(parse_signed_query(raw).has_value());
  for (const std::string& other : std::vector<std::string>{
           "", raw + "&x=1", "x=1&" + raw, raw + "&sig=" + std::string(43, 'A'), raw + "=", raw + "&",
           "lease=lease-1&kid=kid1&exp=1800000000" + sig, "kid=kid1&lease=lease-1&exp=01800000000" + sig,
           "kid=kid1&lease=lease-1&exp=-1800000000" + sig, "kid=kid1&lease=lease-1&exp=" + sig,
           "kid=kid1&lease=lease-1&exp=99999999999999999999" + sig, "kid=kid1&lease=lease%2D1&exp=1800000000" + sig,
           "kid=&lease=lease-1&exp=1800000000" + sig, "KID=kid1&lease=lease-1&exp=1800000000" + sig,
           "kid=kid1&lease=lease-1&exp=1800000000&sig=short", "kid=kid1&lease=lease-1&exp=1800000000",
           std::string(600, 'a')}) {
    EXPECT_FALSE(parse_signed_query(other).has_value()) << other;
  }
}

}  // namespace
}  // namespace tb::controlplane
