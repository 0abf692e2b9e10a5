// spec: tbenc-v1 6
#include "asset/content.h"

#include <gtest/gtest.h>

namespace tb::asset {
namespace {

Content tar(std::vector<ContentFile> files) {
  return {.kind = Content::Kind::kTar, .files = std::move(files)};
}

std::string reason_of(const Result<>& result) {
  return result ? "ok" : result.error().reason;
}

TEST(Content, AcceptsASortedIndex) {
  const Content content = tar({{"a-b", 512, 3}, {"a/c", 2048, 0}, {"a/d", 3072, 9, kExecutableMode}, {"aa", 4096, 1}});
  EXPECT_EQ(reason_of(validate(content, 8192)), "ok");
  EXPECT_EQ(content.find("a/d")->offset, 3072U);
  EXPECT_EQ(content.find("a"), nullptr);
  EXPECT_EQ(content.find("a/e"), nullptr);
}

TEST(Content, JsonRoundTrip) {
  Content content = tar({{"a", 512, 3, kExecutableMode, Digest{1, 2}}, {"b", 1536, 4}});
  content.plaintext_sha256 = Digest{9};
  const auto back = Content::from_json(content.to_json(), 4096);
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(back->to_json().dump(), content.to_json().dump());
  EXPECT_EQ(back->files[0].mode, kExecutableMode);
  EXPECT_EQ(back->files[0].sha256, content.files[0].sha256);
  EXPECT_EQ(back->plaintext_sha256, content.plaintext_sha256);
}

TEST(Content, RefusesUnsafePaths) {
  for (const std::string_view path : {"", "/", "/etc/passwd", "..", "a/../b", "a/..", ".", "./a", "a/./b", "a//b", "a/",
                                      "a\nb", "a\x1b[0m", "a\x7f", "\xff",
                                      "a\xc0\xaf"
                                      "b",
                                      "\xed\xa0\x80"}) {
    EXPECT_FALSE(is_relative_path(path)) << path;
    EXPECT_EQ(reason_of(validate(tar({{std::string(path), 512, 0}}), 4096)), "content_malformed") << path;
  }
  EXPECT_EQ(reason_of(validate(tar({{std::string("a\0b", 3), 512, 0}}), 4096)), "content_malformed");
  EXPECT_EQ(reason_of(validate(tar({{std::string(256, 'a'), 512, 0}}), 4096)), "content_malformed");
  EXPECT_EQ(reason_of(validate(tar({{std::string(255, 'a') + "/" + std::string(255, 'b'), 512, 0}}), 4096)), "ok");
  EXPECT_TRUE(is_relative_path("...hidden/mod\xc3\xa8le"));
}

TEST(Content, RefusesDisorder) {
  EXPECT_EQ(reason_of(validate(tar({{"b", 512, 0}, {"a", 1024, 0}}), 4096)), "content_malformed");
  EXPECT_EQ(reason_of(validate(tar({{"a", 512, 0}, {"a", 1024, 0}}), 4096)), "content_malformed");
  EXPECT_EQ(reason_of(validate(tar({{"a", 1024, 0}, {"b", 512, 0}}), 4096)), "content_malformed");
  EXPECT_EQ(reason_of(validate(tar({{"a", 512, 0}, {"b", 512, 0}}), 4096)), "content_malformed");
  EXPECT_EQ(reason_of(validate(tar({{"a", 512, 513}, {"b", 1024, 0}}), 4096)), "content_malformed");
  EXPECT_EQ(reason_of(validate(tar({{"a", 512, 512}, {"b", 1024, 0}}), 4096)), "ok");
}

TEST(Content, RefusesAFileThatIsADirectoryOfAnother) {
  EXPECT_EQ(reason_of(validate(tar({{"a", 512, 0}, {"a/b", 1024, 0}}), 4096)), "content_malformed");
  // Bytewise order puts a path between the two.
  EXPECT_EQ(reason_of(validate(tar({{"a", 512, 0}, {"a-b", 1024, 0}, {"a/b", 1536, 0}}), 4096)), "content_malformed");
}

TEST(Content, AVeryDeepPathCostsNoMoreThanItsLength) {
  std::string deep = "a";
  for (int i = 0; i < 2'000'000; ++i) deep += "/a";
  EXPECT_EQ(reason_of(validate(tar({{deep, 512, 0}, {deep + "b", 1024, 0}}), 4096)), "ok");
}

TEST(Content, RefusesBytesBeyondThePlaintext) {
  EXPECT_EQ(reason_of(validate(tar({{"a", 512, 3585}}), 4096)), "content_malformed");
  EXPECT_EQ(reason_of(validate(tar({{"a", 512, 3584}}), 4096)), "ok");
  EXPECT_EQ(reason_of(validate(tar({{"a", ~0ULL, 2}}), 4096)), "content_malformed");
  EXPECT_EQ(reason_of(validate(tar({{"a", 2, ~0ULL}}), 4096)), "content_malformed");
}

TEST(Content, RefusesOtherModesAndNoFiles) {
  EXPECT_EQ(reason_of(validate(tar({{"a", 512, 0, 04755}}), 4096)), "content_malformed");
  EXPECT_EQ(reason_of(validate(tar({}), 4096)), "content_malformed");
}

TEST(Content, RefusesMalformedJson) {
  for (const std::string_view text :
       {R"([])", R"({})", R"({"kind":1})", R"({"kind":"zip"})", R"({"kind":"file"})", R"({"kind":"file","name":"a/b"})",
        R"({"kind":"file","name":".."})", R"({"kind":"tar"})", R"({"kind":"tar","files":{}})",
        R"({"kind":"tar","files":["a"]})", R"({"kind":"tar","files":[{"path":"a","offset":512}]})",
        R"({"kind":"tar","files":[{"path":"a","offset":"512","bytes":0}]})",
        R"({"kind":"tar","files":[{"path":"a","offset":-512,"bytes":0}]})",
        R"({"kind":"tar","files":[{"path":"a","offset":512,"bytes":1.5}]})",
        R"({"kind":"tar","files":[{"path":"a","offset":512,"bytes":0,"mode":493}]})",
        R"({"kind":"tar","files":[{"path":"a","offset":512,"bytes":0,"mode":"4755"}]})",
        R"({"kind":"tar","files":[{"path":"a","offset":512,"bytes":0,"sha256":"00"}]})",
        R"({"kind":"file","name":"a","plaintext_sha256":7})"}) {
    const auto json = Json::parse(text);
    ASSERT_TRUE(json) << text;
    const auto content = Content::from_json(*json, 4096);
    ASSERT_FALSE(content) << text;
    EXPECT_EQ(content.error().reason, "content_malformed") << text;
  }
}

TEST(Content, IgnoresUnknownFields) {
  const auto json = Json::parse(R"({"kind":"file","name":"m.gguf","later":{"x":1}})");
  const auto content = Content::from_json(*json, 1);
  ASSERT_TRUE(content);
  EXPECT_EQ(content->name, "m.gguf");
}

}  // namespace
}  // namespace tb::asset
