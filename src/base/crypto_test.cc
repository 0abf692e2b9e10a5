// Published vectors for each primitive, and the refusals that callers rely on.
#include "base/crypto.h"

#include <gtest/gtest.h>

namespace tb {
namespace {

Secret<32> key_of(std::string_view hex) {
  const Bytes raw = from_hex(hex).value();
  return Secret<32>(std::span<const std::uint8_t, 32>(raw.data(), 32));
}

// FIPS 180-4 example "abc".
TEST(Sha256, KnownAnswer) {
  constexpr auto kAbc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  EXPECT_EQ(sha256_hex("abc"), kAbc);
  Sha256 h;
  h.update(as_bytes("a"));
  h.update(as_bytes("bc"));
  EXPECT_EQ(to_hex(h.finish()), kAbc);
  h.update(as_bytes("abc"));
  EXPECT_EQ(to_hex(h.finish()), kAbc) << "the object starts anew";
}

// RFC 4231 case 2.
TEST(Hmac, KnownAnswer) {
  EXPECT_EQ(to_hex(hmac_sha256(as_bytes("Jefe"), as_bytes("what do ya want for nothing?"))),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

// RFC 5869 case 3: empty salt and info; its first 32 bytes.
TEST(Hkdf, KnownAnswer) {
  const Bytes ikm(22, 0x0b);
  EXPECT_EQ(to_hex(hkdf_sha256(ikm, "").reveal()), "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d");
}

class Aes256GcmBy : public testing::TestWithParam<GcmEngine> {
 protected:
  void SetUp() override {
    if (GetParam() == GcmEngine::kVector && best_gcm_engine() != GcmEngine::kVector) {
      GTEST_SKIP() << "skipped: this processor or build has no " << gcm_engine_name(GcmEngine::kVector);
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Engines, Aes256GcmBy, testing::Values(GcmEngine::kOpenssl, GcmEngine::kVector),
                         [](const auto& run) { return run.param == GcmEngine::kVector ? "Vector" : "Openssl"; });

// McGrew and Viega, GCM test case 16 (AES-256, 20 bytes of AAD).
TEST_P(Aes256GcmBy, KnownAnswerAndRefusal) {
  Aes256Gcm gcm(key_of("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"), GetParam());
  const Bytes nonce = from_hex("cafebabefacedbaddecaf888").value();
  const Bytes aad = from_hex("feedfacedeadbeeffeedfacedeadbeefabaddad2").value();
  const Bytes plain =
      from_hex(
          "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525"
          "b16aedf5aa0de657ba637b39")
          .value();
  Bytes cipher(plain.size());
  std::array<std::uint8_t, kTagBytes> tag;
  const std::span<const std::uint8_t, 12> n(nonce.data(), 12);
  gcm.seal(n, aad, plain, cipher, tag);
  EXPECT_EQ(to_hex(tag), "76fc6ece0f4e1768cddf8853bb2d551b");
  EXPECT_TRUE(to_hex(cipher).starts_with("522dc1f099567d07f47f37a32a84427d"));

  Bytes back(plain.size());
  EXPECT_TRUE(gcm.open(n, aad, cipher, tag, back));
  EXPECT_EQ(back, plain);
  tag[15] ^= 1;
  EXPECT_FALSE(gcm.open(n, aad, cipher, tag, back));
  EXPECT_EQ(back, Bytes(plain.size())) << "a failed tag wipes the output";
  tag[15] ^= 1;
  EXPECT_TRUE(gcm.open(n, aad, cipher, tag, back)) << "a failure leaves the object usable";
  EXPECT_TRUE(gcm.open(n, aad, cipher, tag, cipher)) << "in place";
  EXPECT_EQ(cipher, plain);
}

// Every length around a vector register's, a block's and a big chunk's end, in place and not, against OpenSSL.
TEST_P(Aes256GcmBy, AgreesWithOpenssl) {
  const auto key = key_of("00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F");
  Aes256Gcm gcm(key, GetParam());
  Aes256Gcm openssl(key, GcmEngine::kOpenssl);
  std::array<std::uint8_t, kNonceBytes> nonce{0xff, 0xff, 0xff, 0xff};
  std::vector<std::size_t> sizes;
  for (std::size_t bytes = 0; bytes <= 1100; ++bytes) sizes.push_back(bytes);
  for (const std::size_t near : {std::size_t{4096}, std::size_t{65536}, std::size_t{1} << 22}) {
    for (const std::size_t more : {0u, 1u, 16u, 17u, 18u, 33u}) sizes.push_back(near - 17 + more);
  }
  for (const std::size_t bytes : sizes) {
    nonce[11] = static_cast<std::uint8_t>(bytes);
    Bytes plain(bytes), aad(bytes % 61);
    for (std::size_t i = 0; i < bytes; ++i) plain[i] = static_cast<std::uint8_t>(i * 131 + bytes);
    for (std::size_t i = 0; i < aad.size(); ++i) aad[i] = static_cast<std::uint8_t>(i);
    Bytes cipher(bytes), expected(bytes), back(bytes);
    std::array<std::uint8_t, kTagBytes> tag, expected_tag;
    openssl.seal(nonce, aad, plain, expected, expected_tag);
    gcm.seal(nonce, aad, plain, cipher, tag);
    ASSERT_EQ(cipher, expected) << bytes;
    ASSERT_EQ(tag, expected_tag) << bytes;
    ASSERT_TRUE(gcm.open(nonce, aad, cipher, tag, back)) << bytes;
    ASSERT_EQ(back, plain) << bytes;
    Bytes in_place = plain;
    gcm.seal(nonce, aad, in_place, in_place, tag);
    ASSERT_EQ(in_place, expected) << bytes;
    Bytes pieces(bytes);
    gcm.begin_open(nonce, aad);
    for (std::size_t at = 0, step = bytes % 97 + 1; at < bytes; at += step, step = step * 3 + 1) {
      const std::size_t some = std::min(step, bytes - at);
      gcm.open_piece(ByteView(cipher).subspan(at, some), MutableBytes(pieces).subspan(at, some));
    }
    ASSERT_TRUE(gcm.finish_open(tag)) << bytes;
    ASSERT_EQ(pieces, plain) << bytes << ": in pieces";
    if (bytes == 0) continue;
    in_place[bytes / 2] ^= 1;
    ASSERT_FALSE(gcm.open(nonce, aad, in_place, tag, in_place)) << bytes;
    ASSERT_EQ(in_place, Bytes(bytes)) << bytes << ": a failed tag wipes the output";
  }
}

// RFC 3394 section 4.6.
TEST(KeyWrap, KnownAnswerAndRefusal) {
  const auto kek = key_of("000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F");
  const auto key = key_of("00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F");
  Bytes wrapped = wrap_key(kek, key);
  EXPECT_EQ(to_hex(wrapped), "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21");
  EXPECT_TRUE(equal_constant_time(unwrap_key(kek, wrapped).value().reveal(), key.reveal()));
  for (std::size_t i = 0; i < wrapped.size(); ++i) {
    wrapped[i] ^= 0x80;
    EXPECT_EQ(unwrap_key(kek, wrapped).error().reason, "key_unwrap_failed") << i;
    wrapped[i] ^= 0x80;
  }
  EXPECT_FALSE(unwrap_key(key, wrapped).has_value());
  EXPECT_FALSE(unwrap_key(kek, ByteView(wrapped).first(32)).has_value());
}

// RFC 8032 section 7.1, test 2.
TEST(Ed25519, KnownAnswerAndRefusal) {
  const Ed25519PrivateKey key(key_of("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"));
  EXPECT_EQ(to_hex(key.public_key()), "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
  const Bytes message = {0x72};
  auto signature = key.sign(message);
  EXPECT_TRUE(to_hex(signature).starts_with("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"));
  EXPECT_TRUE(ed25519_verify(key.public_key(), message, signature));
  EXPECT_FALSE(ed25519_verify(key.public_key(), as_bytes("x"), signature));
  signature[0] ^= 1;
  EXPECT_FALSE(ed25519_verify(key.public_key(), message, signature));
  EXPECT_FALSE(ed25519_verify(key.public_key(), message, ByteView(signature).first(63)));
}

TEST(Random, TokensDiffer) {
  EXPECT_NE(random_token(), random_token());
  EXPECT_EQ(random_token(32).size(), 43U);
}

TEST(Crypto, ACopyOfADigestGoesOnByItself) {
  Sha256 first;
  first.update(as_bytes("abc"));
  Sha256 second = first;
  second.update(as_bytes("def"));
  EXPECT_EQ(first.finish(), sha256("abc"));
  EXPECT_EQ(second.finish(), sha256("abcdef"));
  EXPECT_EQ(second.finish(), sha256("")) << "it starts anew";
  first.update(as_bytes("x"));
  second = first;
  Sha256 moved = std::move(first);
  EXPECT_EQ(moved.finish(), second.finish());
  first = Sha256();
  EXPECT_EQ(first.finish(), sha256(""));
  // A digest may end on another thread than it began on.
  std::thread([hash = std::move(moved)]() mutable { EXPECT_EQ(hash.finish(), sha256("")); }).join();
}

// spec: RFC 1321 A.5
TEST(Md5, IsThatOfItsDefinition) {
  EXPECT_EQ(to_hex(md5({})), "d41d8cd98f00b204e9800998ecf8427e");
  EXPECT_EQ(to_hex(md5(as_bytes("message digest"))), "f96b697d7cb7938d525a2f31aaf161d0");
}

}  // namespace
}  // namespace tb
