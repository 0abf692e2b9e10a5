// spec: tbenc-v1 4, 5
#include "asset/manifest.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace tb::asset {
namespace {

FileKey key_of(std::uint8_t byte) {
  std::array<std::uint8_t, 32> bytes;
  bytes.fill(byte);
  return FileKey(bytes);
}

Ed25519PrivateKey signer_of(std::uint8_t byte) {
  return Ed25519PrivateKey(key_of(byte));
}

ManifestDraft draft() {
  return {.asset_id = "llama-1",
          .header = {.chunk_bytes = 1024, .nonce_prefix = {1, 2, 3, 4}},
          .plaintext_bytes = 3000,
          .sha256_ciphertext = Digest{0xab},
          .content = Content{.name = "m.gguf"}};
}

Manifest made() {
  return *draft().build(key_of(7));
}

/// A manifest of the first implementation.
constexpr std::string_view kOld = R"({"format":"tbenc/v1","algo":"aes-256-gcm-chunked","chunk_bytes":1024,
  "plaintext_bytes":3000,"sha256_ciphertext":"00112233445566778899AABBCCDDEEFF00112233445566778899aabbccddeeff",
  "asset_id":"old_1","weights_filename":"model.tbenc"})";

std::string edited(std::string_view text, std::string_view from, std::string_view to) {
  std::string out(text);
  const std::size_t at = out.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return out.replace(at, from.size(), to);
}

template <typename T>
std::string reason_of(const Result<T>& result) {
  return result ? "ok" : result.error().reason;
}

TEST(Manifest, BuildsWhatItReads) {
  const Manifest manifest = made();
  EXPECT_EQ(manifest.asset_id(), "llama-1");
  EXPECT_EQ(manifest.weights_filename(), "model.tbenc");
  EXPECT_EQ(manifest.chunk_bytes(), 1024U);
  EXPECT_EQ(manifest.plaintext_bytes(), 3000U);
  EXPECT_EQ(manifest.sha256_ciphertext().substr(0, 4), "ab00");
  EXPECT_EQ(manifest.nonce_prefix(), (tbenc::NoncePrefix{1, 2, 3, 4}));
  EXPECT_EQ(manifest.content()->name, "m.gguf");
  EXPECT_TRUE(manifest.has_mac());
  EXPECT_TRUE(manifest.stated_allow_finetune());
  EXPECT_EQ(manifest.layout().chunk_count(), 3U);
  EXPECT_EQ(reason_of(manifest.verify_mac(key_of(7))), "ok");
  EXPECT_EQ(reason_of(manifest.verify_mac(key_of(8))), "mac_mismatch");
  const auto again = Manifest::parse(manifest.text());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->sha256(), manifest.sha256());
}

TEST(Manifest, MacIsAsTheSpecSays) {
  // HKDF-SHA256 and HMAC written out from the definition, over a canonical form written by hand.
  const std::string canonical =
      R"({"algo":"aes-256-gcm-chunked","allow_finetune":true,"asset_id":"llama-1","chunk_bytes":1024,)"
      R"("content":{"kind":"file","name":"m.gguf"},"format":"tbenc/v1","nonce_prefix":"01020304",)"
      R"("plaintext_bytes":3000,"sha256_ciphertext":")" +
      to_hex(draft().sha256_ciphertext) + R"(","weights_filename":"model.tbenc"})";
  const FileKey key = key_of(7);
  const std::array<std::uint8_t, 32> no_salt{};
  const Digest prk = hmac_sha256(no_salt, key.reveal());
  const Digest mac_key = hmac_sha256(prk, as_bytes(std::string("trustbridge manifest v1\x01", 24)));
  const Digest mac = hmac_sha256(mac_key, as_bytes("trustbridge manifest v1\n" + canonical));
  EXPECT_EQ(made().document().find("mac")->find("value")->as_string(), to_base64url(mac));
  EXPECT_EQ(made().document().find("mac")->find("alg")->as_string(), "HS256");
}

TEST(Manifest, KeepsUnknownFieldsUnderTheMac) {
  const Manifest manifest = made();
  const std::string more = edited(manifest.text(), "{", R"({"later": [1, {"x": null}],)");
  const auto parsed = Manifest::parse(more);
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_NE(parsed->document().find("later"), nullptr);
  EXPECT_EQ(reason_of(parsed->verify_mac(key_of(7))), "mac_mismatch");
}

TEST(Manifest, ReadsTheFirstImplementation) {
  const auto manifest = Manifest::parse(kOld);
  ASSERT_TRUE(manifest) << manifest.error().message;
  EXPECT_EQ(manifest->sha256_ciphertext(), "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff");
  EXPECT_FALSE(manifest->has_mac());
  EXPECT_FALSE(manifest->content());
  EXPECT_FALSE(manifest->nonce_prefix());
  EXPECT_EQ(reason_of(manifest->verify_mac(key_of(7))), "mac_missing");
}

TEST(Manifest, RefusesEveryFieldThatBreaksItsRule) {
  const std::vector<std::pair<std::string_view, std::string_view>> edits = {
      {R"("format":"tbenc/v1",)", ""},
      {"tbenc/v1", "tbenc/v2"},
      {R"("tbenc/v1")", "1"},
      {R"("algo":"aes-256-gcm-chunked",)", ""},
      {"aes-256-gcm-chunked", "aes-256-gcm"},
      {R"("chunk_bytes":1024)", R"("chunk_bytes":0)"},
      {R"("chunk_bytes":1024)", R"("chunk_bytes":67108865)"},
      {R"("chunk_bytes":1024)", R"("chunk_bytes":1024.0)"},
      {R"("chunk_bytes":1024)", R"("chunk_bytes":1e3)"},
      {R"("chunk_bytes":1024)", R"("chunk_bytes":01024)"},
      {R"("chunk_bytes":1024)", R"("chunk_bytes":"1024")"},
      {R"("plaintext_bytes":3000,)", ""},
      {R"("plaintext_bytes":3000)", R"("plaintext_bytes":-1)"},
      {R"("plaintext_bytes":3000)", R"("plaintext_bytes":9007199254740992)"},
      {R"("plaintext_bytes":3000)", R"("plaintext_bytes":null)"},
      {"00112233", "0011223"},
      {"00112233", "g0112233"},
      {"old_1", ""},
      {"old_1", "old/1"},
      {"old_1", "old.1"},
      {"model.tbenc", ""},
      {"model.tbenc", "../model"},
      {"model.tbenc", "a/model"},
      {"model.tbenc", "a\\\\model"},
      {"model.tbenc", "a..b"},
      {"model.tbenc", ".hidden"},
      {"model.tbenc", "a\\u0000b"},
      {R"("asset_id")", R"("nonce_prefix":"0102030","asset_id")"},
      {R"("asset_id")", R"("nonce_prefix":"ABCDEF01","asset_id")"},
      {R"("asset_id")", R"("allow_finetune":"yes","asset_id")"},
      {R"("asset_id")", R"("allow_finetune":null,"asset_id")"},
      {R"("asset_id")", R"("version":"1","asset_id")"},
      {R"("asset_id")", R"("version":-1,"asset_id")"},
      {R"("asset_id")", R"("asset_id":"old_1","asset_id")"},
      {R"("asset_id")", R"("x":{"y":1,"y":1},"asset_id")"},
      {R"("asset_id")", R"("x":1.5,"asset_id")"},
      {R"("asset_id")", R"("x":-0,"asset_id")"},
      {R"("asset_id")", R"("x":"\ud800","asset_id")"},
      {R"("asset_id")", "\"x\":\"\xff\",\"asset_id\""},
      {R"("asset_id")", "\"\xc3\xa8\":1,\"asset_id\""},
      {R"("asset_id")", R"("a\u0000":1,"asset_id")"},
      {R"("asset_id")", R"("mac":{"alg":"HS256","value":""},"asset_id")"},
      {R"("asset_id")", R"("mac":null,"asset_id")"},
      {R"("asset_id")", R"("signatures":{},"asset_id")"},
      {R"("asset_id")", R"("signatures":[{}],"asset_id")"},
  };
  for (const auto& [from, to] : edits) {
    const auto manifest = Manifest::parse(edited(kOld, from, to));
    ASSERT_FALSE(manifest) << from << " -> " << to;
    EXPECT_EQ(manifest.error().reason, "manifest_malformed") << from << " -> " << to;
  }
  EXPECT_EQ(reason_of(Manifest::parse("\xef\xbb\xbf" + std::string(kOld))), "manifest_malformed");
  EXPECT_EQ(reason_of(Manifest::parse(std::string(kOld) + "x")), "manifest_malformed");
  EXPECT_EQ(reason_of(Manifest::parse("[]")), "manifest_malformed");
  EXPECT_EQ(reason_of(Manifest::parse("")), "manifest_malformed");
  EXPECT_EQ(reason_of(Manifest::parse(std::string(1 << 20, '['))), "manifest_malformed");
  EXPECT_EQ(reason_of(Manifest::parse(std::string(kMaxManifestBytes + 1, ' '))), "manifest_too_large");
}

TEST(Manifest, RefusesMembersThatNoProofCovers) {
  const Manifest manifest = made();
  EXPECT_EQ(reason_of(Manifest::parse(edited(manifest.text(), R"("alg")", R"("extra": "x", "alg")"))),
            "manifest_malformed");
  EXPECT_EQ(reason_of(Manifest::parse(edited(manifest.text(), "HS256", "HS512"))), "manifest_malformed");
  // A mac needs the prefix beside it.
  Json without = manifest.document();
  without.erase("nonce_prefix");
  EXPECT_EQ(reason_of(Manifest::from_json(without)), "manifest_malformed");
}

TEST(Manifest, NoEditOfAnyValueIsAccepted) {
  Manifest manifest = made();
  manifest.sign(signer_of(3));
  const FileKey key = key_of(7);
  const Expectation expected{.key = &key, .provider_key = signer_of(3).public_key()};
  ASSERT_EQ(reason_of(authenticate(manifest, expected)), "ok");
  // Every single byte of the compact text replaced: what parses must prove false, unless it says the very same.
  const std::string text = manifest.document().dump();
  const std::string canonical = *manifest.document().canonical();
  for (std::size_t i = 0; i < text.size(); ++i) {
    for (const char c : {'0', 'a', '"', '{', '\x01', 'Z'}) {
      std::string changed = text;
      if (changed[i] == c) continue;
      changed[i] = c;
      const auto parsed = Manifest::parse(changed);
      if (!parsed || *parsed->document().canonical() == canonical) continue;
      EXPECT_FALSE(authenticate(*parsed, expected)) << changed;
    }
  }
}

TEST(Manifest, NoFieldMayBeLeftOut) {
  Manifest manifest = made();
  manifest.sign(signer_of(3));
  const FileKey key = key_of(7);
  const Expectation expected{.key = &key, .provider_key = signer_of(3).public_key()};
  for (const auto& [name, value] : manifest.document().as_object()) {
    Json without = manifest.document();
    without.erase(name);
    const auto parsed = Manifest::from_json(without);
    // Without the mac it is the signature that proves it: both cover the same bytes.
    if (name == "mac") {
      ASSERT_TRUE(parsed);
      EXPECT_TRUE(authenticate(*parsed, expected)->needs_ciphertext_sha256());
    } else if (parsed) {
      EXPECT_FALSE(authenticate(*parsed, expected)) << name;
    }
  }
}

TEST(Manifest, Signatures) {
  Manifest manifest = made();
  const Ed25519PrivateKey one = signer_of(1), two = signer_of(2);
  EXPECT_EQ(reason_of(manifest.verify_signature(one.public_key())), "signature_missing");
  manifest.sign(one);
  manifest.sign(two);
  manifest.sign(one);
  EXPECT_EQ(manifest.signatures().size(), 2U);
  const auto again = Manifest::parse(manifest.text());
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(reason_of(again->verify_signature(one.public_key())), "ok");
  EXPECT_EQ(reason_of(again->verify_signature(two.public_key())), "ok");
  EXPECT_EQ(reason_of(again->verify_mac(key_of(7))), "ok");
  EXPECT_EQ(again->signatures()[0].keyid, keyid_of(two.public_key()));

  const std::string first = again->document().find("signatures")->as_array()[0].find("value")->as_string();
  const std::string second = again->document().find("signatures")->as_array()[1].find("value")->as_string();
  const auto swapped = Manifest::parse(edited(manifest.text(), first, second));
  ASSERT_TRUE(swapped);
  EXPECT_EQ(reason_of(swapped->verify_signature(two.public_key())), "signature_mismatch");
  EXPECT_EQ(reason_of(Manifest::parse(edited(manifest.text(), keyid_of(two.public_key()), keyid_of(one.public_key())))),
            "manifest_malformed");
}

TEST(Manifest, BuildRefusesWhatNoReaderTakes) {
  for (const auto& spoil : std::vector<void (*)(ManifestDraft&)>{
           [](ManifestDraft& d) { d.asset_id = "a b"; }, [](ManifestDraft& d) { d.weights_filename = "../x"; },
           [](ManifestDraft& d) { d.plaintext_bytes = 1ULL << 53; }, [](ManifestDraft& d) { d.version = -1; },
           [](ManifestDraft& d) { d.header.chunk_bytes = 0; }}) {
    ManifestDraft bad = draft();
    spoil(bad);
    EXPECT_EQ(reason_of(bad.build(key_of(7))), "manifest_malformed");
  }
  ManifestDraft bad = draft();
  bad.content = Content{.kind = Content::Kind::kTar, .files = {{"../x", 0, 0}}};
  EXPECT_EQ(reason_of(bad.build(key_of(7))), "content_malformed");
}

TEST(Metadata, ComparesAllFive) {
  const Metadata metadata = made().metadata();
  EXPECT_EQ(*Metadata::from_json(metadata.to_json()), metadata);
  for (const std::string_view field : {"format", "algo", "chunk_bytes", "plaintext_bytes", "sha256_ciphertext"}) {
    Json json = metadata.to_json();
    json.erase(field);
    EXPECT_EQ(reason_of(Metadata::from_json(json)), "manifest_malformed") << field;
  }
  Json upper = metadata.to_json();
  std::string digits = metadata.sha256_ciphertext;
  std::ranges::transform(digits, digits.begin(), [](char c) { return c >= 'a' ? static_cast<char>(c - 32) : c; });
  upper.set("sha256_ciphertext", digits);
  EXPECT_EQ(*Metadata::from_json(upper), metadata);
}

TEST(Authenticate, EveryGivenItemMustHold) {
  const Manifest manifest = made();
  const FileKey key = key_of(7), other = key_of(8);
  Metadata wrong = manifest.metadata();
  wrong.plaintext_bytes += 1;
  EXPECT_EQ(reason_of(authenticate(manifest, {.key = &key, .asset_id = "llama-1"})), "ok");
  EXPECT_EQ(reason_of(authenticate(manifest, {.key = &key, .asset_id = "llama-2"})), "asset_mismatch");
  EXPECT_EQ(reason_of(authenticate(manifest, {.key = &other, .allow_unauthenticated = true})), "mac_mismatch");
  EXPECT_EQ(reason_of(authenticate(manifest, {.key = &key, .manifest_sha256 = std::string(64, '0')})),
            "manifest_digest_mismatch");
  EXPECT_EQ(reason_of(authenticate(manifest, {.key = &key, .manifest_sha256 = manifest.sha256()})), "ok");
  EXPECT_EQ(reason_of(authenticate(manifest, {.key = &key, .metadata = wrong})), "metadata_mismatch");
  EXPECT_EQ(reason_of(authenticate(manifest, {.key = &key, .provider_key = signer_of(1).public_key()})),
            "signature_missing");
  EXPECT_EQ(reason_of(authenticate(manifest, {})), "manifest_unauthenticated");
}

TEST(Authenticate, AnOldManifestNeedsTheAnswerOrTheFlag) {
  Json json = *Json::parse(kOld);
  json.set("allow_finetune", true);
  const Manifest old = *Manifest::from_json(json);
  const FileKey key = key_of(7);
  EXPECT_EQ(reason_of(authenticate(old, {.key = &key})), "manifest_unauthenticated");

  const auto flagged = authenticate(old, {.key = &key, .allow_unauthenticated = true});
  ASSERT_TRUE(flagged);
  EXPECT_FALSE(flagged->authenticated());
  EXPECT_FALSE(flagged->allow_finetune(old));
  EXPECT_TRUE(flagged->needs_ciphertext_sha256());

  const auto by_metadata = authenticate(old, {.key = &key, .metadata = old.metadata()});
  ASSERT_TRUE(by_metadata);
  EXPECT_TRUE(by_metadata->authenticated());
  EXPECT_FALSE(by_metadata->allow_finetune(old));
  EXPECT_TRUE(by_metadata->needs_ciphertext_sha256());

  const auto by_digest = authenticate(old, {.key = &key, .manifest_sha256 = old.sha256()});
  ASSERT_TRUE(by_digest);
  EXPECT_TRUE(by_digest->allow_finetune(old));
}

TEST(CheckFile, HeaderAndSizeMustBeTheManifests) {
  const Manifest manifest = made();
  const tbenc::Header header = draft().header;
  const std::uint64_t size = manifest.layout().ciphertext_bytes();
  EXPECT_EQ(size, 32 + 3000 + 3 * 20U);
  EXPECT_EQ(reason_of(check_file(manifest, header, size)), "ok");
  EXPECT_EQ(reason_of(check_file(manifest, header, size - 1)), "ciphertext_truncated");
  EXPECT_EQ(reason_of(check_file(manifest, header, size + 1)), "trailing_bytes");
  EXPECT_EQ(reason_of(check_file(manifest, {2048, header.nonce_prefix}, size)), "header_mismatch");
  EXPECT_EQ(reason_of(check_file(manifest, {1024, {9, 9, 9, 9}}, size)), "nonce_prefix_mismatch");
}

}  // namespace
}  // namespace tb::asset
