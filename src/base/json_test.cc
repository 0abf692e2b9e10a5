#include "base/json.h"

#include <gtest/gtest.h>

namespace tb {
namespace {

std::string reason(std::string_view text, JsonLimits limits = {}) {
  const auto got = Json::parse(text, limits);
  return got ? "accepted" : got.error().reason;
}

TEST(JsonParse, KeepsValuesAndOrder) {
  const Json j = Json::parse(R"({"b":1,"a":[true,null,"x\u00e9",-2.5e3]})").value();
  EXPECT_EQ(j.dump(), "{\"b\":1,\"a\":[true,null,\"x\u00e9\",-2.5e3]}");
  EXPECT_EQ(j.find("b")->as_integer(), 1);
  EXPECT_EQ(j.find("a")->as_array()[3].as_double(), -2500);
  EXPECT_EQ(j.find("none"), nullptr);
}

// spec: tbenc-v1 4, what a reader refuses before anything is used.
TEST(JsonParse, Refuses) {
  for (const auto* bad :
       {"", " ", "{", "{\"a\":1,\"a\":2}", "{\"a\":{\"b\":1,\"b\":1}}", "{\"a\":1,\"\\u0061\":2}", "\xef\xbb\xbf{}", "{} x", "{}{}",
        "\"\\ud800\"", "\"\\udc00\"", "{\"\\udc00\":1}", "\"\xed\xa0\x80\"", "\"\xff\"", "{'a':1}", "[1,]", "01", "+1", "nul",
        "[1 2]", "\"\t\"", "NaN", "/*c*/1", "1.", ".5", "\"a"})
    EXPECT_EQ(reason(bad), "json_malformed") << bad;
  EXPECT_EQ(reason(std::string_view("{}\0", 3)), "json_malformed");
}

TEST(JsonParse, LimitsHold) {
  EXPECT_EQ(reason(std::string(1 << 20, '[')), "json_malformed");
  EXPECT_EQ(reason("[[[[1]]]]", {.depth = 4}), "accepted");
  EXPECT_EQ(reason("[[[[[1]]]]]", {.depth = 4}), "json_malformed");
  EXPECT_EQ(reason("[1,2,3]", {.bytes = 6}), "json_malformed");
  EXPECT_EQ(reason("[1,2,3]", {.values = 3}), "json_malformed");
  EXPECT_EQ(reason("[1,2,3]", {.values = 4}), "accepted");
}

TEST(JsonParse, IntegersOnly) {
  const JsonLimits strict{.integers_only = true};
  for (const auto* good : {"0", "-1", "9007199254740991", "-9007199254740991"}) EXPECT_EQ(reason(good, strict), "accepted") << good;
  for (const auto* bad : {"-0", "1.0", "1e3", "9007199254740992", "-9007199254740992", "99999999999999999999"})
    EXPECT_EQ(reason(bad, strict), "json_malformed") << bad;
}

TEST(JsonParse, AsciiNamesOnly) {
  EXPECT_EQ(reason("{\"\u00e9\":1}", {.ascii_names_only = true}), "json_malformed");
  EXPECT_EQ(reason("{\"a\\u0000\":1}", {.ascii_names_only = true}), "json_malformed");
  EXPECT_EQ(reason("{\"\u00e9\":1}"), "accepted");
}

// RFC 8785 3.2.3, its sorting example, and 3.2.2.2 for strings.
TEST(JsonCanonical, Rfc8785) {
  const Json j = Json::parse(R"({"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew","1":"One","\ud83d\ude00":"Emoji","\u0080":"Control","\u00f6":"o"})").value();
  const std::string out = j.canonical().value();
  const char* order[] = {"Carriage", "One", "Control", "\"o\"", "Euro", "Emoji", "Hebrew"};
  std::size_t at = 0;
  for (const auto* word : order) {
    const auto next = out.find(word);
    ASSERT_NE(next, out.npos) << word;
    EXPECT_GE(next, at) << word;
    at = next;
  }
  EXPECT_EQ(Json::parse("{\"b\":\"\\u0007\\n\\/\", \"a\":[ 1 , {} ]}").value().canonical().value(), "{\"a\":[1,{}],\"b\":\"\\u0007\\n/\"}");
  EXPECT_EQ(Json::real(1.5).canonical().error().reason, "json_not_canonical");
}

TEST(JsonReader, NamesTheField) {
  const Json j = Json::parse(R"({"s":"x","n":5,"b":true,"l":["a"],"z":null})").value();
  const JsonReader r(j, "thing");
  EXPECT_EQ(r.string("s").value(), "x");
  EXPECT_EQ(r.integer("n", 0, 5).value(), 5);
  EXPECT_EQ(r.integer("n", 0, 4).error().reason, "field_invalid");
  EXPECT_EQ(r.string("q").error().message, "thing: 'q' is missing");
  EXPECT_EQ(r.string("z").error().reason, "field_missing");
  EXPECT_EQ(r.string("n").error().reason, "field_invalid");
  EXPECT_EQ(r.boolean("b").value(), true);
  EXPECT_EQ(r.strings("l").value().size(), 1U);
  EXPECT_EQ(r.strings("s").error().reason, "field_invalid");
  EXPECT_TRUE(r.only({"s", "n", "b", "l", "z"}).has_value());
  EXPECT_EQ(r.only({"s", "n", "b", "l"}).error().reason, "unknown_field");
}

}  // namespace
}  // namespace tb
