// spec: RFC 7516, RFC 7518 4.6; wire 1.1
#include "jose/sealed_key.h"

#include <gtest/gtest.h>

#include "base/crypto.h"

namespace tb::jose {
namespace {

// Made by python3-cryptography from fixed seeds: another implementation's ECDH-ES+A256KW of the bytes 00 to 1f.
constexpr const char* kX = "972asm_NVoqDRFTpe-MkI1fV3HaeYo7PMPs3D2SgY40";
constexpr const char* kY = "xIcdpNx_U4tTZ8A_bU9YL241VSbSuLmUJxq4GgM-5-o";
constexpr const char* kD = "8vylvejHH1xXSAu8S6YhV7d29Vmj3IIhtojjF4Nsj0U";
constexpr const char* kVector =
    "eyJhbGciOiJFQ0RILUVTK0EyNTZLVyIsImVuYyI6IkEyNTZHQ00iLCJraWQiOiItR2ZUdV9TWXBER21lRUs1NWFYX3JkTklBMUFRLVZVLXV5SVNG"
    "UFlaTlVBIiwiZXBrIjp7Imt0eSI6IkVDIiwiY3J2IjoiUC0yNTYiLCJ4IjoiUkFSMXFPb2t3WWtSNHJkXzdORnlrcDdWVENPM0hldmtFRXBJVnJD"
    "Sk5ZMCIsInkiOiJZMEp1dFBPQnpyY3YyV2dtS1BZZVJPV2ZoREY2b2ZRNE5LMEkxMGI0R0ZvIn0sImNvbnRyYWN0X2lkIjoiYy0xIiwiYXNzZXRf"
    "aWQiOiJtLTEiLCJsZWFzZV9pZCI6ImwtMSIsInBvbGljeV92ZXJzaW9uIjozfQ.QHYb9j_A8XzGKltSpxmpEtPA9ccPD6_xHmGjTnJfHdL5Ekla"
    "9y9aQA.CrMGgjA1Zhu426Ic.zB0KTj0Xa3MHzvfijqKXYijAU1QxqU7qXTj6AraiwGA.my2HuU5h9lE15iyvXCPkeA";

const Json::Object kPurpose = {{"contract_id", "c-1"}, {"asset_id", "m-1"}, {"lease_id", "l-1"}, {"policy_version", 3}};

PrivateKey vector_key() {
  const Bytes d = value_or_throw(from_base64url(kD));
  return PrivateKey::from_scalar(
      PublicKey::from_point(value_or_throw(from_base64url(kX)), value_or_throw(from_base64url(kY))),
      Secret<32>(std::span<const std::uint8_t, 32>(d.data(), 32)));
}

std::string opened(const PrivateKey& key, std::string_view jwe, const Json::Object& expected) {
  try {
    return to_hex(open_key(key, jwe, expected).reveal());
  } catch (const Error& error) {
    EXPECT_EQ(error.reason, "jwe_refused");
    return error.message;
  }
}

/// `jwe` with another protected header: what a forger without the key would send.
std::string with_header(std::string_view jwe, const Json& header) {
  return to_base64url(as_bytes(header.dump())) + std::string(jwe.substr(jwe.find('.')));
}

constexpr const char* kPlainHex = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

TEST(SealedKey, OpensTheJweOfAnIndependentImplementation) {
  EXPECT_EQ(opened(vector_key(), kVector, kPurpose), kPlainHex);
}

TEST(SealedKey, WhatIsSealedOpensAndNamesItsPurpose) {
  const PrivateKey recipient = PrivateKey::generate();
  const FileKey key = random_key();
  const std::string jwe = seal_key(recipient.public_key(), kPurpose, key);
  EXPECT_EQ(opened(recipient, jwe, kPurpose), to_hex(key.reveal()));
  const Json header = peek_header(jwe);
  EXPECT_EQ(header.find("alg")->as_string(), "ECDH-ES+A256KW");
  EXPECT_EQ(header.find("enc")->as_string(), "A256GCM");
  EXPECT_EQ(header.find("kid")->as_string(), recipient.public_key().thumbprint());
  EXPECT_NE(jwe, seal_key(recipient.public_key(), kPurpose, key));
}

TEST(SealedKey, RefusesAnotherPurpose) {
  auto other = kPurpose;
  other[2].second = "l-2";
  EXPECT_THAT(opened(vector_key(), kVector, other), testing::HasSubstr("lease_id"));
  other = kPurpose;
  other[3].second = "3";
  EXPECT_THAT(opened(vector_key(), kVector, other), testing::HasSubstr("policy_version"));
  other = {{"tenant", "t"}};
  EXPECT_THAT(opened(vector_key(), kVector, other), testing::HasSubstr("lacks tenant"));
}

TEST(SealedKey, RefusesAnotherKey) {
  EXPECT_THAT(opened(PrivateKey::generate(), kVector, kPurpose), testing::HasSubstr("kid"));
}

TEST(SealedKey, RefusesHeadersThatSayAnythingElse) {
  const Json header = peek_header(kVector);
  const auto changed = [&](const char* name, Json value) {
    Json copy = header;
    copy.set(name, std::move(value));
    return opened(vector_key(), with_header(kVector, copy), kPurpose);
  };
  EXPECT_THAT(changed("alg", "RSA-OAEP"), testing::HasSubstr("alg"));
  EXPECT_THAT(changed("alg", "dir"), testing::HasSubstr("alg"));
  EXPECT_THAT(changed("alg", "ECDH-ES"), testing::HasSubstr("alg"));
  EXPECT_THAT(changed("enc", "A128GCM"), testing::HasSubstr("enc"));
  EXPECT_THAT(changed("enc", "A128CBC-HS256"), testing::HasSubstr("enc"));
  EXPECT_THAT(changed("zip", "DEF"), testing::HasSubstr("zip"));
  EXPECT_THAT(changed("crit", Json::array()), testing::HasSubstr("crit"));
  EXPECT_THAT(changed("kid", "other"), testing::HasSubstr("kid"));
  EXPECT_THAT(changed("epk", Json::object()), testing::HasSubstr("epk"));
  // A harmless member, but no longer the bytes that the tag covers.
  EXPECT_THAT(changed("cty", "x"), testing::HasSubstr("does not open"));
  Json bare = header;
  bare.erase("epk");
  EXPECT_THAT(opened(vector_key(), with_header(kVector, bare), kPurpose), testing::HasSubstr("lacks epk"));
}

// The first part of RFC 7516 A.1 (RSA-OAEP).
TEST(SealedKey, RefusesTheRsaExampleOfRfc7516) {
  EXPECT_THAT(opened(vector_key(), "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.AAAA.AAAA.AAAA.AAAA", {}),
              testing::HasSubstr("alg"));
}

TEST(SealedKey, RefusesBrokenForms) {
  const PrivateKey key = vector_key();
  EXPECT_THAT(opened(key, "", {}), testing::HasSubstr("five parts"));
  EXPECT_THAT(opened(key, "a.b.c.d", {}), testing::HasSubstr("base64url"));
  EXPECT_THAT(opened(key, "AAAA.AAAA.AAAA.AAAA", {}), testing::HasSubstr("five parts"));
  EXPECT_THAT(opened(key, std::string(kVector) + ".AAAA", {}), testing::HasSubstr("five parts"));
  EXPECT_THAT(opened(key, std::string(kVector) + "=", {}), testing::HasSubstr("base64url"));
  EXPECT_THAT(opened(key, std::string(kMaxJweBytes + 1, 'A'), {}), testing::HasSubstr("too long"));
  const std::string twice = R"({"alg":"ECDH-ES+A256KW","alg":"dir"})";
  EXPECT_THAT(opened(key, to_base64url(as_bytes(twice)) + ".AAAA.AAAA.AAAA.AAAA", {}), testing::HasSubstr("strict"));
}

TEST(SealedKey, EveryPartIsCoveredByTheTag) {
  const PrivateKey key = vector_key();
  const std::string vector = kVector;
  std::size_t part = 0;
  for (std::size_t i = 0; i + 1 < vector.size(); ++i) {
    if (vector[i] == '.') {
      ++part;
      continue;
    }
    if (part == 0 || i % 7 != 0) continue;
    std::string changed = vector;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    EXPECT_NE(opened(key, changed, kPurpose), kPlainHex) << i;
  }
}

}  // namespace
}  // namespace tb::jose
