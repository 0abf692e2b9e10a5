#include "oms/digests.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "asset/pack.h"
#include "oms/signature.h"

namespace tb::oms {
namespace {

namespace fs = std::filesystem;

class OmsDigests : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "/tb-oms-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    dir_ = name;
  }
  void TearDown() override { fs::remove_all(dir_); }
  void write(const std::string& path, std::string_view bytes) const {
    fs::create_directories((dir_ / path).parent_path());
    std::ofstream(dir_ / path, std::ios::binary) << bytes;
  }
  /// Digests of what lies at `path`, the stream cut into pieces of `step` bytes.
  std::vector<Resource> found(std::size_t step, std::uint64_t shard_bytes = 0, const std::string& path = "") const {
    asset::PackSource source = value_or_throw(asset::PackSource::scan((dir_ / path).string()));
    ModelDigests digests(&source.content(), source.plaintext_bytes(), shard_bytes);
    Bytes buffer(step);
    for (std::size_t n = step; n == step;) {
      n = value_or_throw(source.read(buffer));
      digests.update(ByteView(buffer).first(n));
    }
    return digests.finish();
  }
  fs::path dir_;
};

template <typename F>
std::string reason_of(F&& f) {
  try {
    f();
    return "ok";
  } catch (const Error& error) {
    return error.reason + ": " + error.message;
  }
}

TEST_F(OmsDigests, AreOfFilesWhateverPiecesTheStreamComesIn) {
  write("b/w.bin", std::string(5000, 'w'));
  write("a", "");
  write("z", "end");
  const std::vector<Resource> expected = {
      {"a", sha256("")}, {"b/w.bin", sha256(std::string(5000, 'w'))}, {"z", sha256("end")}};
  for (const std::size_t step : {1U, 7U, 512U, 4096U, 100'000U}) EXPECT_EQ(found(step), expected) << step;
  EXPECT_EQ(found(3, 0, "z"), (std::vector<Resource>{{"z", sha256("end")}})) << "one file is called as it is called";
  EXPECT_EQ(found(3, 0, "a"), (std::vector<Resource>{{"a", sha256("")}})) << "an empty one, too";
}

TEST_F(OmsDigests, OfShardsEndWhereShardsEnd) {
  write("w", std::string(25, '1'));
  write("x", std::string(20, '2'));
  write("y", "");
  const std::vector<Resource> expected = {
      {"w:0:10", sha256(std::string(10, '1'))},  {"w:10:20", sha256(std::string(10, '1'))},
      {"w:20:25", sha256(std::string(5, '1'))},  {"x:0:10", sha256(std::string(10, '2'))},
      {"x:10:20", sha256(std::string(10, '2'))}, {"y:0:0", sha256("")}};
  for (const std::size_t step : {1U, 9U, 10U, 4096U}) EXPECT_EQ(found(step, 10), expected) << step;
  Statement statement;
  statement.shard_bytes = 10;
  statement.resources = expected;
  EXPECT_EQ(reason_of([&] { require_same(statement, found(64, 10)); }), "ok");
  write("w", std::string(24, '1') + "2");
  EXPECT_EQ(reason_of([&] { require_same(statement, found(64, 10)); }),
            "oms_content_mismatch: 'w' was changed after it was signed");
  write("w", std::string(26, '1'));
  EXPECT_TRUE(reason_of([&] { require_same(statement, found(64, 10)); }).starts_with("oms_content_mismatch"));
}

TEST_F(OmsDigests, AStreamThatEndsEarlyIsNoModel) {
  write("w", std::string(2000, '1'));
  asset::PackSource source = value_or_throw(asset::PackSource::scan(dir_.string()));
  ModelDigests digests(&source.content(), source.plaintext_bytes());
  Bytes buffer(1000);
  digests.update(ByteView(buffer).first(value_or_throw(source.read(buffer))));
  EXPECT_TRUE(reason_of([&] { digests.finish(); }).starts_with("oms_content_mismatch"));
}

TEST_F(OmsDigests, ASignedModelIsTheWholeModelButForGitsOwnFiles) {
  write("config.json", "{}");
  write(".git/HEAD", "ref");
  write("sub/.gitignore", "x");
  const Statement statement = statement_of(found(64), "m", false);
  ASSERT_EQ(statement.resources.size(), 2U);
  EXPECT_EQ(statement.resources[1].name, "sub/.gitignore");
  write(".gitattributes", "later");
  EXPECT_EQ(reason_of([&] { require_same(statement, found(64)); }), "ok");
  write("a-later", "");
  EXPECT_EQ(reason_of([&] { require_same(statement, found(64)); }),
            "oms_content_mismatch: 'a-later' is in the model and was not signed");
  fs::remove(dir_ / "a-later");
  write("z-later", "");
  EXPECT_EQ(reason_of([&] { require_same(statement, found(64)); }),
            "oms_content_mismatch: 'z-later' is in the model and was not signed");
  fs::remove(dir_ / "z-later");
  fs::remove(dir_ / "config.json");
  EXPECT_EQ(reason_of([&] { require_same(statement, found(64)); }),
            "oms_content_mismatch: 'config.json' was signed and is not in the model");
  fs::remove_all(dir_ / "sub");
  EXPECT_TRUE(reason_of([&] { statement_of(found(64), "m", false); }).starts_with("oms_content_mismatch"));
}

TEST(OmsCompare, AFileWithoutANameIsComparedByItsBytes) {
  Statement statement;
  statement.resources = {{"model.bin", sha256("m")}};
  EXPECT_EQ(reason_of([&] { require_same(statement, {{".", sha256("m")}}); }), "ok");
  EXPECT_TRUE(reason_of([&] { require_same(statement, {{".", sha256("n")}}); }).starts_with("oms_content_mismatch"));
  statement.resources = {{".", sha256("m")}};  // signers before 1.1
  EXPECT_EQ(reason_of([&] { require_same(statement, {{"any.gguf", sha256("m")}}); }), "ok");
  statement.resources = {{"model.bin", sha256("m")}};
  EXPECT_TRUE(reason_of([&] { require_same(statement, {{"other.bin", sha256("m")}}); }).starts_with("oms_content"));
}

constexpr const char* kRsa = R"(-----BEGIN PUBLIC KEY-----
MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAL2QZ6pV6l5G0Q3rOiNn0Hv0bWmoW4Ez
-----END PUBLIC KEY-----
)";
constexpr const char* kEd25519 = R"(-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
-----END PUBLIC KEY-----
)";

TEST(OmsKeys, AreReadAsTheyAreWritten) {
  const SigningKey key = SigningKey::generate();
  const SigningKey again = SigningKey::from_pem(key.pem());
  EXPECT_TRUE(again.public_key() == key.public_key());
  EXPECT_TRUE(PublicKey::from_pem(key.public_key().pem()) == key.public_key());
  EXPECT_TRUE(key.public_key().verifies(as_bytes("m"), again.sign(as_bytes("m"))));
  EXPECT_FALSE(key.public_key().verifies(as_bytes("n"), again.sign(as_bytes("m"))));
  EXPECT_FALSE(key.public_key().verifies(as_bytes("m"), {}));
  EXPECT_EQ(key.public_key().hint(), sha256_hex(key.public_key().pem()));
}

TEST(OmsKeys, OfOtherKindsAreRefused) {
  for (const char* pem : {kRsa, kEd25519, "", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"}) {
    EXPECT_TRUE(reason_of([&] { PublicKey::from_pem(pem); }).starts_with("oms_key_refused")) << pem;
    EXPECT_TRUE(reason_of([&] { SigningKey::from_pem(SecretString(pem)); }).starts_with("oms_key_refused")) << pem;
    EXPECT_TRUE(reason_of([&] { certificates_from_pem(pem); }).starts_with("oms_certificate_refused")) << pem;
  }
}

TEST(OmsSignature, ACertificateOfAnotherKeyIsNotPutIntoABundle) {
  Statement statement;
  statement.subject = "m";
  statement.resources = {{"a", sha256("a")}};
  const std::vector<Bytes> chain = certificates_from_pem(
      value_or_throw(read_small_file(TB_SOURCE_DIR "/tests/vectors/oms-v1.0/intermediate-ca.pem")));
  EXPECT_FALSE(reason_of([&] { sign(statement, SigningKey::generate(), chain); }) == "ok");
}

}  // namespace
}  // namespace tb::oms
