// Where bodies end, transforms in a row, and where a stream of events may be cut.
#include "sentinel/proxy/body.h"

#include <gtest/gtest.h>

#include <array>

#include "sentinel/proxy/peers_test.h"

namespace tb::sentinel::proxy {
namespace {

using Kind = BodyCursor::Kind;

TEST(BodyCursor, EndsByItsFraming) {
  BodyCursor none;
  EXPECT_EQ(none.next("GET").kind, Kind::kEnd);
  EXPECT_EQ(none.next("GET").consumed, 0U);

  BodyCursor length(Framing::kLength, 5);
  EXPECT_EQ(length.next("").kind, Kind::kNeedMore);
  EXPECT_EQ(length.next("abc").data, "abc");
  EXPECT_EQ(length.next("deNEXT").data, "de");
  EXPECT_EQ(length.next("NEXT").kind, Kind::kEnd);
  EXPECT_EQ(length.next("NEXT").consumed, 0U);

  BodyCursor chunked(Framing::kChunked, 0);
  EXPECT_EQ(chunked.next("3\r\nabc\r\n").data, "abc");
  EXPECT_EQ(chunked.next("\r\n0\r\n\r\nNEXT").kind, Kind::kEnd);
  EXPECT_EQ(chunked.next("NEXT").kind, Kind::kEnd) << "asked for again";
  EXPECT_EQ(chunked.next("NEXT").consumed, 0U);

  BodyCursor until_close(Framing::kUntilClose, 0);
  EXPECT_EQ(until_close.next("abc").data, "abc");
  EXPECT_EQ(until_close.next("").kind, Kind::kNeedMore);
  EXPECT_TRUE(until_close.ends_with_connection());
}

TEST(TransformChain, EachIsFedWithWhatTheOneBeforeGave) {
  std::array<std::vector<std::string>, 3> fed;
  const auto note = [&](std::size_t at, char mark) {
    return test::FunctionTransform([&fed, at, mark](std::string_view in, bool last, std::string& out) {
      fed[at].push_back(std::string(in) + (last ? "|" : ""));
      out.append(in).push_back(mark);
      return std::optional<Refusal>();
    });
  };
  test::FunctionTransform a = note(0, 'a');
  test::FunctionTransform b = note(1, 'b');
  test::FunctionTransform c = note(2, 'c');
  TransformChain chain;
  chain.begin();
  for (auto* transform : {&a, &b, &c}) chain.add(transform);
  std::string out = "before ";
  EXPECT_FALSE(chain.feed("x", false, out));
  EXPECT_EQ(out, "before xabc");
  b.end = true;
  EXPECT_FALSE(chain.feed("y", false, out));
  EXPECT_EQ(out, "before xabcyabc");
  EXPECT_TRUE(chain.ends_here());
  EXPECT_EQ(fed[1], (std::vector<std::string>{"xa", "ya"}));
  EXPECT_EQ(fed[2], (std::vector<std::string>{"xab", "yab|"})) << "the one behind is told that nothing follows";
}

TEST(TransformChain, ARefusalIsOfTheWhole) {
  test::FunctionTransform a([](std::string_view, bool, std::string&) { return std::optional(Refusal{400, "no", ""}); });
  TransformChain chain;
  chain.add(&a);
  std::string out;
  EXPECT_EQ(chain.feed("x", true, out)->code, "no");
}

TEST(EventGate, Borders) {
  EXPECT_EQ(whole_events(""), 0U);
  EXPECT_EQ(whole_events("data: a\n"), 0U);
  EXPECT_EQ(whole_events("data: a\n\n"), 9U);
  EXPECT_EQ(whole_events("data: a\r\n\r\n"), 11U);
  EXPECT_EQ(whole_events("data: a\r\r"), 9U);
  EXPECT_EQ(whole_events("data: a\n\r\n"), 10U);
  EXPECT_EQ(whole_events("data: a\n\ndata: b\n"), 9U);
  EXPECT_EQ(whole_events("\n"), 0U);
}

/// All that passes, and where it may be cut, for `text` in pieces of `bytes`.
std::string pass_all(std::string_view text, std::size_t bytes, std::vector<std::string>* cuts = nullptr) {
  EventGate gate;
  gate.begin(true);
  std::string out;
  std::string joined;
  for (std::size_t at = 0; at < text.size(); at += bytes) {
    std::vector<std::string_view> pieces = {text.substr(at, bytes)};
    gate.pass(pieces, at + bytes >= text.size(), joined);
    for (const std::string_view piece : pieces) out.append(piece);
    if (cuts != nullptr && gate.is_between()) cuts->push_back(out);
  }
  return out;
}

TEST(EventGate, EverythingPassesAndACutIsBetweenEvents) {
  const std::string text = ": ping\n\ndata: {\"a\":\n\ndata: 1}\r\n\r\nid: 3\rdata: x\r\rdata: [DONE]\n\ndata: cut";
  for (std::size_t bytes = 1; bytes <= text.size(); ++bytes) {
    std::vector<std::string> cuts;
    EXPECT_EQ(pass_all(text, bytes, &cuts), text) << bytes;
    for (const std::string& cut : cuts) EXPECT_EQ(whole_events(cut), cut.size()) << bytes;
    if (bytes == 1) EXPECT_GE(cuts.size(), 5U);
  }
}

TEST(EventGate, AnEventBeyondTheBoundPassesAsItComes) {
  const std::string text = "data: " + std::string(3 * EventGate::kMostHeldBytes, 'x') + "\n\n";
  EventGate gate;
  gate.begin(true);
  std::string joined;
  std::size_t passed = 0;
  for (std::size_t at = 0; at < text.size(); at += 1000) {
    std::vector<std::string_view> pieces = {std::string_view(text).substr(at, 1000)};
    gate.pass(pieces, false, joined);
    for (const std::string_view piece : pieces) passed += piece.size();
    EXPECT_LE(at + 1000 - std::min(passed, at + 1000), EventGate::kMostHeldBytes);
    if (passed > 0 && passed < text.size()) EXPECT_FALSE(gate.is_between());
  }
  EXPECT_EQ(passed, text.size());
  EXPECT_TRUE(gate.is_between());
}

TEST(EventGate, OtherBodiesAreNotHeld) {
  EventGate gate;
  gate.begin(false);
  std::string joined;
  std::vector<std::string_view> pieces = {"half"};
  gate.pass(pieces, false, joined);
  ASSERT_EQ(pieces.size(), 1U);
  EXPECT_FALSE(gate.is_between());
}

}  // namespace
}  // namespace tb::sentinel::proxy
