#include "meter/json_pick.h"

#include <gtest/gtest.h>

namespace tb::meter {
namespace {

class Kept final : public JsonPick::Taker {
 public:
  void on_value(const Picked& value) override {
    std::string line = std::to_string(value.path) + "=";
    switch (value.kind) {
      case Picked::Kind::kNull:
        line += "null";
        break;
      case Picked::Kind::kTrue:
        line += "true";
        break;
      case Picked::Kind::kFalse:
        line += "false";
        break;
      case Picked::Kind::kNumber:
        line += value.text;
        break;
      case Picked::Kind::kString:
        line += "\"" + std::string(value.text) + "\"" + std::to_string(value.text_bytes);
        break;
      case Picked::Kind::kObject:
        line += "{" + std::to_string(value.items) + "}";
        break;
      case Picked::Kind::kArray:
        line += "[" + std::to_string(value.items) + "]";
        break;
    }
    line += "@" + std::to_string(value.begin) + "-" + std::to_string(value.end);
    seen.push_back(line);
  }
  std::vector<std::string> seen;
};

const JsonPaths& paths() {
  static const JsonPaths kPaths({"a", "b.c", "d[].e", "d", "b"}, {"image_url"});
  return kPaths;
}

struct Read {
  std::vector<std::string> seen;
  std::string fault;
  bool whole = false, anywhere = false;
  bool operator==(const Read&) const = default;
};

Read read(std::string_view text, std::size_t piece_bytes) {
  Kept kept;
  JsonPick pick(paths(), kept);
  for (std::size_t at = 0; at < text.size(); at += piece_bytes) pick.feed(text.substr(at, piece_bytes));
  return {kept.seen, std::string(pick.fault()), pick.whole() && !pick.failed(), pick.saw_anywhere()};
}

Read read(std::string_view text) {
  const Read whole = read(text, std::max<std::size_t>(1, text.size()));
  EXPECT_EQ(read(text, 1), whole) << text;
  EXPECT_EQ(read(text, 3), whole) << text;
  return whole;
}

using testing::ElementsAre;
using testing::IsEmpty;

TEST(JsonPick, GivesTheValuesOfItsPathsAndNoOthers) {
  const Read got = read(R"({"a":1,"x":{"a":9},"b":{"c":true,"d":2},"d":[{"e":"v"},{"f":1},{"e":null}]})");
  EXPECT_TRUE(got.whole);
  EXPECT_THAT(got.seen,
              ElementsAre("0=1@5-6", "1=true@28-32", "4={2}@23-39", R"(2="v"1@50-53)", "2=null@68-72", "3=[3]@44-74"));
}

TEST(JsonPick, ReadsTokensAlikeWhereverTheyAreCut) {
  // read() compares: whole tokens have a way of their own.
  for (const char* value :
       {"0",        "-0",   "01",    "-",           "12",   "-7 ", "1.5",     "1e3",          "1E",
        "true",     "tru",  "nulll", "falsE",       "\"\"", "\"x", "\"\\n\"", "\"\xc3\xa9\"", "\"\x01\"",
        "[1,2 ,3]", "[01]", "[,]",   "{\"e\":\"\"}"}) {
    for (const char* around :
         {"%", " % ", "[%]", "{\"a\":%}", "{\"a\" : % , \"b\":{\"c\":%}}", "{\"a\":%,\"a\":%}", "{%}"}) {
      std::string text;
      for (const char* c = around; *c != 0; ++c) *c == '%' ? text += value : text += *c;
      read(text);
    }
  }
  const std::string longest(JsonPick::kKeptBytes, '7');
  EXPECT_THAT(read("{\"a\":" + longest + "8}").seen, ElementsAre("0=" + longest + "@5-262"));
  EXPECT_THAT(read("{\"" + longest + "\":1,\"a\":\"" + longest + "8\"}").seen,
              ElementsAre("0=\"" + longest + "\"257@266-525"));
}

TEST(JsonPick, AMemberThatIsCalledLikeTheItemsOfAnArrayIsNone) {
  EXPECT_THAT(read(R"({"d":{"[]":{"e":1}}})").seen, ElementsAre("3={1}@5-19"));
}

TEST(JsonPick, ReadsNamesAfterTheirEscapes) {
  EXPECT_THAT(read(R"({"\u0061":2})").seen, ElementsAre("0=2@10-11"));
  EXPECT_EQ(read(R"({"a":2,"\u0061":3})").fault, "names a member twice");
}

TEST(JsonPick, RefusesANameTwiceOnlyInTheOutermostObject) {
  EXPECT_EQ(read(R"({"":1,"":3})").fault, "names a member twice");
  for (const std::size_t bytes : {1U, 3U, 4U, 7U, 8U, 15U, 16U, 17U, 31U, 255U, 257U, 1000U}) {
    const std::string name(bytes, 'x'), escaped = "\\u0078" + name.substr(1), other = name.substr(1) + "y";
    EXPECT_EQ(read("{\"" + name + "\":1,\"" + escaped + "\":2}").fault, "names a member twice") << bytes;
    EXPECT_EQ(read("{\"" + escaped + "\":1,\"" + name + "\":2}").fault, "names a member twice") << bytes;
    EXPECT_EQ(read("{\"" + name + "\":1,\"" + other + "\":2}").fault, "") << bytes;
  }
  EXPECT_EQ(read(R"({"q":1,"r":2,"q":3})").fault, "names a member twice");
  EXPECT_TRUE(read(R"({"q":{"r":1,"r":2}})").whole);
}

TEST(JsonPick, KeepsTheBeginningOfLongStringsAndTheirLength) {
  const std::string text = R"({"a":")" + std::string(5000, 'x') + R"(\n"})";
  const Read got = read(text);
  ASSERT_EQ(got.seen.size(), 1U);
  EXPECT_THAT(got.seen[0], testing::HasSubstr("\"5001@"));
}

TEST(JsonPick, FindsWhatEndsARunWhereverItStands) {
  for (std::size_t before = 0; before < 40; ++before) {
    for (const std::string_view special : {R"(\\)", R"(\")", "\xc3\xa9", "\x7f", " "}) {
      const std::string text =
          R"({"a":")" + std::string(before, 'x') + std::string(special) + std::string(20, 'y') + R"("})";
      EXPECT_TRUE(read(text).whole) << text;
    }
    for (const char special : {'\x1f', '\x01', '\xff', '\x80'}) {
      const std::string text = R"({"a":")" + std::string(before, 'x') + special + std::string(20, 'y') + R"("})";
      EXPECT_FALSE(read(text).whole) << text;
    }
  }
}

TEST(JsonPick, ReadsSurrogatesAloneAndInPairs) {
  EXPECT_THAT(read(R"({"a":"\ud83d\ude00"})").seen, ElementsAre("0=\"\xF0\x9F\x98\x80\"4@5-19"));
  EXPECT_THAT(read(R"({"a":"\ud83d"})").seen, ElementsAre("0=\"\xEF\xBF\xBD\"3@5-13"));
  EXPECT_THAT(read(R"({"a":"\ud83dx"})").seen, ElementsAre("0=\"\xEF\xBF\xBDx\"4@5-14"));
  EXPECT_THAT(read(R"({"a":"\ud83d\n"})").seen, ElementsAre("0=\"\xEF\xBF\xBD\n\"4@5-15"));
  EXPECT_THAT(read(R"({"a":"\ude00"})").seen, ElementsAre("0=\"\xEF\xBF\xBD\"3@5-13"));
}

TEST(JsonPick, NoticesNamesAtAnyDepth) {
  EXPECT_TRUE(read(R"({"x":[{"y":{"image_url":1}}]})").anywhere);
  EXPECT_FALSE(read(R"({"x":"image_url"})").anywhere);
}

TEST(JsonPick, TakesEveryFormOfNumber) {
  for (const auto* number : {"0", "-0", "10", "1.5", "1e5", "1E+5", "-1.25e-7"}) {
    EXPECT_TRUE(read(number).whole) << number;
    EXPECT_TRUE(read("[" + std::string(number) + "]").whole) << number;
  }
}

TEST(JsonPick, TellsIntegersFromOtherNumbers) {
  const auto integer = [](std::string_view text) -> std::optional<std::int64_t> {
    std::int64_t value = 0;
    const Picked picked{.kind = Picked::Kind::kNumber, .text = text, .text_bytes = text.size()};
    return picked.is_integer(value) ? std::optional(value) : std::nullopt;
  };
  EXPECT_EQ(integer("0"), 0);
  EXPECT_EQ(integer("-7"), -7);
  EXPECT_EQ(integer("9007199254740991"), 9007199254740991);
  for (const auto* no : {"9007199254740992", "1.0", "1e3", "-0", "99999999999999999999"})
    EXPECT_FALSE(integer(no)) << no;
}

struct BadText {
  const char* name;
  std::string text;
};
class JsonPickRefuses : public testing::TestWithParam<BadText> {};

TEST_P(JsonPickRefuses, WhatIsNoJson) {
  const Read got = read(GetParam().text);
  EXPECT_FALSE(got.whole && got.fault.empty());
}

INSTANTIATE_TEST_SUITE_P(
    All, JsonPickRefuses,
    testing::Values(BadText{"empty", ""}, BadText{"bom", "\xEF\xBB\xBF{}"}, BadText{"open_object", "{"},
                    BadText{"open_string", R"({"a)"}, BadText{"trailing_comma", R"({"a":1,})"},
                    BadText{"array_comma", "[1,]"}, BadText{"no_colon", R"({"a" 1})"}, BadText{"bare_name", "{a:1}"},
                    BadText{"two_values", "{} {}"}, BadText{"leading_zero", "[01]"}, BadText{"plus", "[+1]"},
                    BadText{"point", "[1.]"}, BadText{"exponent", "[1e]"}, BadText{"minus", "[-]"},
                    BadText{"literal", "[nul]"}, BadText{"nan", "[NaN]"}, BadText{"single_quotes", "{'a':1}"},
                    BadText{"control", std::string("[\"a\nb\"]")}, BadText{"escape", R"(["\x41"])"},
                    BadText{"hex", R"(["\u00g0"])"}, BadText{"overlong", "[\"\xC0\xAF\"]"},
                    BadText{"raw_surrogate", "[\"\xED\xA0\x80\"]"}, BadText{"cut_utf8", "[\"\xE2\x82\"]"},
                    BadText{"over_10ffff", "[\"\xF4\x90\x80\x80\"]"}, BadText{"latin1", "[\"\xE9\"]"},
                    BadText{"deep", std::string(65, '[') + std::string(65, ']')}, BadText{"mismatch", R"({"a":[1}])"},
                    BadText{"comment", "{/*x*/}"}),
    [](const auto& info) { return info.param.name; });

TEST(JsonPick, BoundsTheNamesOfTheOutermostObject) {
  std::string text = "{";
  for (int i = 0; i < 257; ++i) text += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\":0";
  EXPECT_EQ(read(text + "}").fault, "has too many members");
}

}  // namespace
}  // namespace tb::meter
