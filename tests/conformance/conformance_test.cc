// Every vector through every reader: stream, parallel (source in order and at random), random access, inspect; and,
// where there is an index, through the walk and the unpacker. A vector says by which code it must be refused, at which
// step, and how much plaintext may have come out by then. spec: tbenc-v1 7
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "asset/manifest.h"
#include "asset/pack.h"
#include "asset/unpack.h"
#include "tbenc/test_files.h"
#include "vector_file.h"

namespace tb::conformance {
namespace {

namespace fs = std::filesystem;

const std::vector<Vector>& vectors() {
  static const std::vector<Vector> all = load_vectors(TB_VECTORS_DIR);
  return all;
}

std::string code_of(const Error& error) {
  return std::string(code_name(error.code()));
}

template <typename T>
std::string code_of(const Result<T>& result) {
  return result ? "ok" : code_of(result.error());
}

class TempDir {
 public:
  TempDir() {
    std::string name = testing::TempDir() + "/tb-conformance-XXXXXX";
    if (mkdtemp(name.data()) != nullptr) path_ = name;
  }
  ~TempDir() { fs::remove_all(path_); }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

class Conformance : public testing::TestWithParam<std::size_t> {
 protected:
  const Vector& vector() const { return vectors()[GetParam()]; }
  bool refused_at(std::string_view step) const { return vector().get("refused-at") == step; }

  tbenc::Known known() const {
    tbenc::Known known;
    known.plaintext_bytes = vector().number("known-plaintext-bytes");
    if (const auto bytes = vector().number("known-chunk-bytes")) known.chunk_bytes = static_cast<std::uint32_t>(*bytes);
    if (const std::string prefix = vector().get("known-nonce-prefix"); !prefix.empty()) {
      std::ranges::copy(*from_hex(prefix), known.nonce_prefix.emplace().begin());
    }
    return known;
  }

  Result<asset::Authenticity> authenticate(const asset::Manifest& manifest, const FileKey& key) const {
    asset::Expectation expected{.key = &key, .allow_unauthenticated = vector().get("allow-unauthenticated") == "yes"};
    if (const std::string id = vector().get("asset-id"); !id.empty()) expected.asset_id = id;
    if (const std::string digest = vector().get("manifest-sha256"); !digest.empty()) expected.manifest_sha256 = digest;
    if (const std::string json = vector().get("metadata"); !json.empty()) {
      expected.metadata = TRY(asset::Metadata::from_json(TRY(Json::parse(json))));
    }
    if (const std::string hex = vector().get("provider-key"); !hex.empty()) {
      std::ranges::copy(TRY(from_hex(hex)), expected.provider_key.emplace().begin());
    }
    return asset::authenticate(manifest, expected);
  }

  void expect_code(const std::string& code, const std::string& field, const std::string& by) const {
    EXPECT_TRUE(vector().allows(field, code))
        << by << " said " << code << ", " << field << " is " << vector().get(field);
  }

  void read_by_all(const FileKey& key, const tbenc::Known& known) const {
    const auto outcomes = tbenc::test::by_every_reader(key, vector().file, known);
    ASSERT_EQ(outcomes.size(), 4U);
    for (const auto& outcome : outcomes) {
      SCOPED_TRACE(outcome.reader);
      const std::string code = outcome.reason.empty() ? "ok" : std::string(code_name(reason_info(outcome.reason).code));
      if (refused_at("file")) {
        expect_code(code, "expect", outcome.reader);
        ASSERT_LE(outcome.released.size(), *vector().number("released"));
        if (outcome.released.size() == *vector().number("released")) {
          EXPECT_EQ(to_hex(sha256(outcome.released)), vector().get("released-sha256"));
        }
        // Whatever came out is the beginning of what the sequential reader gave.
        EXPECT_TRUE(std::ranges::equal(
            outcome.released,
            ByteView(outcomes[0].released).first(std::min(outcome.released.size(), outcomes[0].released.size()))));
      } else {
        EXPECT_EQ(outcome.reason, "");
        const std::string sha = vector().get(refused_at("content") ? "released-sha256" : "plaintext-sha256");
        EXPECT_EQ(to_hex(sha256(outcome.released)), sha);
        const bool authenticated = known.plaintext_bytes.has_value();
        EXPECT_EQ(outcome.end_authenticated, authenticated);
        if (!refused_at("content")) {
          EXPECT_EQ(vector().get("end"), authenticated ? "authenticated" : "open");
        }
      }
    }
  }

  /// What `inspect` does first: header and size, nothing opened.
  void inspect(const FileKey& key, const tbenc::Known& known) const {
    const auto reader = tbenc::RandomReader::open(key, std::make_shared<tbenc::MemorySource>(vector().file), known);
    if (vector().get("inspect").empty()) {
      EXPECT_EQ(code_of(reader), "ok");
    } else {
      expect_code(code_of(reader), "inspect", "inspect");
    }
  }

  void unpack(const asset::Content& content, ByteView plain) const {
    const std::string expected = refused_at("content") ? vector().get("expect") : "ok";
    for (const std::size_t step : {std::size_t{1000}, plain.size() + 1}) {
      auto check = asset::StreamCheck::make(content, plain.size());
      EXPECT_EQ(code_of(check ? feed(*check, plain, step) : std::unexpected(check.error())), expected);
      const TempDir dir;
      auto unpacker = asset::Unpacker::create(content, plain.size(), dir.path() / "model");
      EXPECT_EQ(code_of(unpacker ? feed(*unpacker, plain, step) : std::unexpected(unpacker.error())), expected);
      if (expected != "ok") {
        unpacker = fail("cancelled", "dropped, so that what it leaves can be seen");
        EXPECT_TRUE(fs::is_empty(dir.path()));
      }
    }
  }

  template <typename Sink>
  static Result<> feed(Sink& sink, ByteView plain, std::size_t step) {
    for (std::size_t at = 0; at < plain.size(); at += step) {
      TRY(sink.write(plain.subspan(at, std::min(step, plain.size() - at))));
    }
    return sink.finish();
  }

  /// The tree that the vector describes, packed: the same bytes and the same index.
  void pack(const asset::Content& content, ByteView plain) const {
    const TempDir dir;
    for (const Json& file : Json::parse(vector().get("tree"))->as_array()) {
      const fs::path path = dir.path() / file.find("path")->as_string();
      fs::create_directories(path.parent_path());
      std::ofstream(path, std::ios::binary) << file.find("text")->as_string();
      if (file.find("mode")->as_string() == "0755") fs::permissions(path, fs::perms(0755));
    }
    auto source = asset::PackSource::scan(dir.path());
    ASSERT_TRUE(source) << source.error().message;
    Bytes stream(source->plaintext_bytes() + 1);
    const auto read = source->read(stream);
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_TRUE(std::ranges::equal(ByteView(stream).first(*read), plain));
    EXPECT_EQ(source->content().to_json().dump(), content.to_json().dump());
  }
};

TEST_P(Conformance, EveryReader) {
  const FileKey key = vector().key();
  if (!vector().manifest) {
    read_by_all(key, known());
    inspect(key, known());
    return;
  }
  const auto manifest = asset::Manifest::parse(*vector().manifest);
  const auto proof = manifest ? authenticate(*manifest, key) : std::unexpected(manifest.error());
  if (refused_at("manifest")) {
    expect_code(code_of(proof), "expect", "manifest");
    return;
  }
  ASSERT_TRUE(proof) << proof.error().story();
  inspect(key, manifest->known());
  if (proof->needs_ciphertext_sha256() && to_hex(sha256(vector().file)) != manifest->sha256_ciphertext()) {
    expect_code(std::string(code_name(reason_info("ciphertext_digest_mismatch").code)), "expect", "SHA-256");
    EXPECT_EQ(vector().number("released"), 0U);
    return;
  }
  read_by_all(key, manifest->known());
  if (!manifest->content() || refused_at("file")) return;
  const Bytes plain = tbenc::test::by_stream(key, vector().file, manifest->known()).released;
  unpack(*manifest->content(), plain);
  if (!vector().get("tree").empty()) pack(*manifest->content(), plain);
}

INSTANTIATE_TEST_SUITE_P(Vectors, Conformance, testing::Range(std::size_t{0}, vectors().size()), [](const auto& info) {
  std::string name = vectors()[info.param].name;
  std::ranges::replace(name, '-', '_');
  return name;
});

TEST(ConformanceVectors, AreThere) {
  EXPECT_GE(vectors().size(), 60U);
  for (const std::string code : {"ok", "malformed", "truncated", "tampered", "denied"}) {
    EXPECT_TRUE(std::ranges::any_of(vectors(), [&](const Vector& v) { return v.get("expect") == code; })) << code;
  }
}

}  // namespace
}  // namespace tb::conformance
