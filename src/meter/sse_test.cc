#include "meter/sse.h"

#include <gtest/gtest.h>

namespace tb::meter {
namespace {

using testing::ElementsAre;

class Pieces final : public SseCutter::Taker {
 public:
  void on_event(std::string_view bytes) override { add("event", bytes); }
  void on_comment(std::string_view bytes) override { add("comment", bytes); }
  void on_overlong(std::string_view bytes, bool) override {
    all += bytes;
    overlong_bytes += bytes.size();
  }
  std::vector<std::string> seen;
  std::string all;
  std::size_t overlong_bytes = 0;

 private:
  void add(std::string_view kind, std::string_view bytes) {
    seen.push_back(std::string(kind) + " " + std::string(bytes));
    all += bytes;
  }
};

std::vector<std::string> cut(std::string_view text) {
  std::vector<std::string> first;
  for (const std::size_t piece_bytes : {text.size(), std::size_t{1}, std::size_t{3}}) {
    Pieces pieces;
    SseCutter cutter(pieces);
    for (std::size_t at = 0; at < text.size(); at += piece_bytes) cutter.feed(text.substr(at, piece_bytes), false);
    cutter.feed("", true);
    EXPECT_EQ(pieces.all, text);
    if (first.empty()) first = pieces.seen;
    EXPECT_EQ(pieces.seen, first) << piece_bytes;
  }
  return first;
}

TEST(SseCutter, CutsAtBlankLinesOfEveryForm) {
  EXPECT_THAT(cut("data: a\n\ndata: b\n\n"), ElementsAre("event data: a\n\n", "event data: b\n\n"));
  EXPECT_THAT(cut("data: a\r\n\r\ndata: b\r\n\r\n"), ElementsAre("event data: a\r\n\r\n", "event data: b\r\n\r\n"));
  EXPECT_THAT(cut("data: a\r\rdata: b\r\r"), ElementsAre("event data: a\r\r", "event data: b\r\r"));
}

TEST(SseCutter, LetsCommentsPassAtTheEndOfTheirLine) {
  Pieces pieces;
  SseCutter cutter(pieces);
  cutter.feed(": ping\n", false);
  EXPECT_THAT(pieces.seen, ElementsAre("comment : ping\n"));
  EXPECT_THAT(cut(":\n\ndata: a\n: in between\n\n"),
              ElementsAre("comment :\n", "comment \n", "event data: a\n: in between\n\n"));
}

TEST(SseCutter, GivesAnEventAsSoonAsItIsWhole) {
  Pieces pieces;
  SseCutter cutter(pieces);
  cutter.feed("data: a\n", false);
  EXPECT_TRUE(pieces.seen.empty());
  cutter.feed("\n", false);
  EXPECT_EQ(pieces.seen.size(), 1U);
}

TEST(SseCutter, TakesAnEventThatLostItsEnd) {
  EXPECT_THAT(cut("data: a\n\ndata: b"), ElementsAre("event data: a\n\n", "event data: b"));
}

TEST(SseCutter, HoldsNoMoreThanItsBound) {
  Pieces pieces;
  SseCutter cutter(pieces);
  const std::string text = "data: " + std::string(3 * SseCutter::kMaxEventBytes, 'x') + "\n\ndata: b\n\n";
  for (std::size_t at = 0; at < text.size(); at += 1000) {
    cutter.feed(std::string_view(text).substr(at, 1000), false);
    EXPECT_LE(std::min(at + 1000, text.size()) - pieces.all.size(), SseCutter::kMaxEventBytes + 1000);
  }
  EXPECT_EQ(pieces.all, text);
  EXPECT_THAT(pieces.seen, ElementsAre("event data: b\n\n"));
}

TEST(EventData, JoinsLinesAndSkipsTheRest) {
  std::string joined;
  std::size_t single = 0;
  EXPECT_EQ(event_data("event: x\ndata: {}\nid: 1\n\n", joined, single), "{}");
  EXPECT_EQ(single, 15U);
  EXPECT_EQ(event_data("data:a\r\ndata: b\r\n\r\n", joined, single), "a\nb");
  EXPECT_EQ(single, std::string_view::npos);
  EXPECT_EQ(event_data("data\ndatax: no\n\n", joined, single), "");
  EXPECT_EQ(event_data("\xEF\xBB\xBF"
                       "data: a\n\n",
                       joined, single),
            "a");
  EXPECT_EQ(event_data("data:  two blanks\n\n", joined, single), " two blanks");
}

}  // namespace
}  // namespace tb::meter
