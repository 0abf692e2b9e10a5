#include "http/range.h"

#include <gtest/gtest.h>

namespace tb::http {
namespace {

void expect_partial(std::string_view header, std::uint64_t size, std::uint64_t first, std::uint64_t last) {
  const RangeChoice choice = choose_range(header, size);
  EXPECT_EQ(choice.outcome, RangeOutcome::kPartial) << header;
  EXPECT_EQ(choice.range, (ByteRange{first, last})) << header;
}

TEST(Range, ChoosesTheBytesAskedFor) {
  expect_partial("bytes=0-0", 10, 0, 0);
  expect_partial("bytes=2-5", 10, 2, 5);
  expect_partial("bytes=2-", 10, 2, 9);
  expect_partial("bytes=-3", 10, 7, 9);
  expect_partial("bytes=0-9", 10, 0, 9);
}

TEST(Range, CutsAtTheEnd) {
  expect_partial("bytes=8-100", 10, 8, 9);
  expect_partial("bytes=-100", 10, 0, 9);
  expect_partial("bytes=0-18446744073709551615", 10, 0, 9);
}

TEST(Range, OutsideIsUnsatisfiable) {
  for (const char* header : {"bytes=10-", "bytes=10-11", "bytes=-0", "bytes=18446744073709551615-"}) {
    EXPECT_EQ(choose_range(header, 10).outcome, RangeOutcome::kUnsatisfiable) << header;
  }
  EXPECT_EQ(choose_range("bytes=0-0", 0).outcome, RangeOutcome::kUnsatisfiable);
  EXPECT_EQ(choose_range("bytes=-5", 0).outcome, RangeOutcome::kUnsatisfiable);
}

TEST(Range, MalformedForeignOrSeveralRangesCountAsAbsent) {
  for (const char* header :
       {"", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=1-2,4-5", "bytes=5-2", "bytes =1-2", "bytes= 1-2",
        "bytes=1 -2", "bytes=+1-2", "bytes=1--2", "bytes=0x1-2", "Bytes=1-2", "lines=1-2", "bytes=1-2 ",
        "bytes=18446744073709551616-", "bytes=-18446744073709551616", "1-2"}) {
    EXPECT_EQ(choose_range(header, 10).outcome, RangeOutcome::kWhole) << header;
  }
}

TEST(ContentRange, ParsesAndFormatsItsThreeForms) {
  for (const char* text : {"bytes 0-0/1", "bytes 2-5/10", "bytes 2-5/*", "bytes */10", "bytes */0"}) {
    const auto parsed = parse_content_range(text);
    ASSERT_TRUE(parsed) << text;
    EXPECT_EQ(content_range(*parsed), text);
  }
  const auto parsed = parse_content_range("bytes 2-5/10");
  EXPECT_EQ(parsed->range->bytes(), 4u);
  EXPECT_EQ(parsed->total, 10u);
}

TEST(ContentRange, RefusesEverythingElse) {
  for (const char* text :
       {"", "bytes", "bytes 0-0", "bytes 0-9/9", "bytes 5-2/10", "bytes */*", "bytes 0-/10", "bytes -5/10",
        "Bytes 0-0/1", "bytes=0-0/1", "bytes  0-0/1", "bytes 0-0/1 ", "bytes 0-0 /1", "bytes +0-0/1", "bytes 0-0/-1",
        "bytes 0-18446744073709551615/*", "bytes 0-0/18446744073709551616"}) {
    const auto parsed = parse_content_range(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().reason, "bad_content_range");
  }
}

TEST(Range, FormatsARequest) {
  EXPECT_EQ(range_header({0, 8388607}), "bytes=0-8388607");
}

}  // namespace
}  // namespace tb::http
