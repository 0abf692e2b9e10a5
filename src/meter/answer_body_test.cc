// The cases are named after what gateways were reported to get wrong.
#include "meter/answer_body.h"

#include <gtest/gtest.h>

#include "base/json.h"
#include "meter/usage_rule.h"

namespace tb::meter {
namespace {

struct Passed {
  std::string body;
  AnswerTally tally;
  TokenUsage usage;
};

constexpr UsageBounds kBounds{.input_estimate = 40, .input_most = 1000, .output_most = 500};

Passed pass_in(std::string_view text, std::size_t piece_bytes, const AnswerTerms& terms, const UsageBounds& bounds) {
  AnswerBody body(terms);
  Passed out;
  for (std::size_t at = 0; at < text.size(); at += piece_bytes) {
    body.feed(text.substr(at, piece_bytes), false, out.body);
  }
  body.feed("", true, out.body);
  out.tally = body.tally();
  out.usage = weigh_usage(out.tally, bounds);
  return out;
}

/// The same in any pieces.
Passed pass(std::string_view text, const AnswerTerms& terms, const UsageBounds& bounds = kBounds) {
  const Passed whole = pass_in(text, text.size() + 1, terms, bounds);
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{3}, std::size_t{50}}) {
    const Passed other = pass_in(text, bytes, terms, bounds);
    EXPECT_EQ(other.body, whole.body) << bytes;
    EXPECT_EQ(other.usage.input_tokens, whole.usage.input_tokens);
    EXPECT_EQ(other.usage.output_tokens, whole.usage.output_tokens);
    EXPECT_EQ(other.usage.estimated, whole.usage.estimated);
    EXPECT_EQ(other.usage.disputed, whole.usage.disputed);
  }
  return whole;
}

void expect_usage(const Passed& got, std::int64_t input, std::int64_t output, std::string_view marks = "") {
  EXPECT_EQ(got.usage.input_tokens, input);
  EXPECT_EQ(got.usage.output_tokens, output);
  EXPECT_EQ(std::string(got.usage.estimated ? "estimated" : "") + (got.usage.disputed ? "disputed" : ""), marks);
}

constexpr AnswerTerms kJsonTerms{.form = AnswerForm::kJson};
constexpr AnswerTerms kAsked{.form = AnswerForm::kEvents, .usage_asked = true, .input_estimate = 40};
constexpr AnswerTerms kNotAsked{.form = AnswerForm::kEvents, .usage_asked = false, .input_estimate = 40};

std::string chunk(std::string_view text) {
  return R"(data: {"id":"c1","object":"chat.completion.chunk","created":7,"model":"m","choices":[{"index":0,"delta":{"content":")" +
         std::string(text) + R"("},"finish_reason":null}]})" + "\n\n";
}
const std::string kFinish =
    "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const std::string kUsageChunk =
    "data: "
    "{\"id\":\"c1\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2,\"total_tokens\":11}}\n\n";
const std::string kDone = "data: [DONE]\n\n";

TEST(AnswerJson, TakesTheRuntimesNumbers) {
  const std::string text =
      R"({"id":"x","choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":9,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":4}}})";
  const Passed got = pass(text, kJsonTerms);
  EXPECT_EQ(got.body, text);
  expect_usage(got, 9, 2);
}

TEST(AnswerJson, IgnoresUsageThatIsNested) {
  expect_usage(
      pass(
          R"({"choices":[{"message":{"content":"{\"usage\":{}}"},"usage":{"prompt_tokens":1,"completion_tokens":1}}],"x":{"usage":{"prompt_tokens":5,"completion_tokens":5}}})",
          kJsonTerms),
      40, 3, "estimated");
}

TEST(AnswerJson, DisputesNumbersThatAreNone) {
  for (const auto* number : {"\"2\"", "-2", "2.0", "1e2", "99999999999999999999", "true", "[2]", "{}"}) {
    const Passed got =
        pass(R"({"choices":[{"message":{"content":"12345678"}}],"usage":{"prompt_tokens":9,"completion_tokens":)" +
                 std::string(number) + "}}",
             kJsonTerms);
    expect_usage(got, 40, 2, "estimateddisputed");
  }
}

TEST(AnswerJson, DisputesUsageThatStandsTwice) {
  expect_usage(
      pass(R"({"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"completion_tokens":400}})", kJsonTerms),
      40, 0, "estimateddisputed");
  // Two members `usage` are no JSON to us: nothing of it is believed.
  const std::string twice =
      R"({"usage":{"prompt_tokens":9,"completion_tokens":2},"usage":{"prompt_tokens":1,"completion_tokens":0}})";
  expect_usage(pass(twice, kJsonTerms), 40, tokens_of_bytes(twice.size()), "estimated");
}

TEST(AnswerJson, BillsNoMoreThanWasReserved) {
  expect_usage(pass(R"({"usage":{"prompt_tokens":5000,"completion_tokens":9999}})", kJsonTerms), 1000, 500, "disputed");
}

TEST(AnswerJson, EstimatesWhatNobodyCounted) {
  expect_usage(pass(R"({"choices":[{"message":{"content":"12345678"}}]})", kJsonTerms), 40, 2, "estimated");
  expect_usage(pass("not json at all!", kJsonTerms), 40, 4, "estimated");
  expect_usage(pass("\x1f\x8b compressed", {.form = AnswerForm::kOther}), 40, 4, "estimated");
}

TEST(AnswerJson, ReadsEveryDialect) {
  expect_usage(pass(R"({"data":[],"usage":{"prompt_tokens":8,"total_tokens":8}})", {.dialect = Dialect::kEmbeddings}),
               8, 0);
  expect_usage(
      pass(
          R"({"type":"message","content":[{"type":"text","text":"hi"}],"usage":{"input_tokens":5,"cache_read_input_tokens":30,"cache_creation_input_tokens":2,"output_tokens":6}})",
          {.dialect = Dialect::kMessages}),
      37, 6);
  expect_usage(pass(R"({"object":"response","output":[],"usage":{"input_tokens":3,"output_tokens":4}})",
                    {.dialect = Dialect::kResponses}),
               3, 4);
  expect_usage(
      pass(R"({"content":"abc","stop":true,"tokens_predicted":3,"tokens_evaluated":11})", {.dialect = Dialect::kLlama}),
      11, 3);
  expect_usage(
      pass(
          R"([{"content":"abc","tokens_predicted":3,"tokens_evaluated":11},{"content":"d","tokens_predicted":1,"tokens_evaluated":2}])",
          {.dialect = Dialect::kLlama}),
      13, 4);
  expect_usage(pass(R"({"model_name":"m","text_output":"123456789"})", {.dialect = Dialect::kGenerate}), 40, 3,
               "estimated");
}

TEST(AnswerStream, PassesByteForByteWhatTheClientAskedFor) {
  const std::string text = ": hello\n\n" + chunk("a") + chunk("b") + kFinish + kUsageChunk + kDone;
  const Passed got = pass(text, kAsked);
  EXPECT_EQ(got.body, text);
  expect_usage(got, 9, 2);
}

TEST(AnswerStream, TakesOutTheUsageChunkThatTheClientDidNotAskFor) {
  const Passed got = pass(chunk("a") + chunk("b") + kFinish + kUsageChunk + kDone, kNotAsked);
  EXPECT_EQ(got.body, chunk("a") + chunk("b") + kFinish + kDone);
  expect_usage(got, 9, 2);
}

TEST(AnswerStream, TakesUsageOutOfOtherChunks) {
  const auto stripped = [](std::string_view data) {
    return pass("data: " + std::string(data) + "\n\n", kNotAsked).body;
  };
  EXPECT_EQ(stripped(R"({"choices":[{"delta":{"content":"a"}}],"usage":null})"),
            "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n");
  EXPECT_EQ(stripped(R"({"usage": {"prompt_tokens":9,"completion_tokens":1} , "choices":[{"text":"a"}]})"),
            "data: { \"choices\":[{\"text\":\"a\"}]}\n\n");
  EXPECT_EQ(stripped(R"({"a":1 , "usage":null , "choices":[{}]})"), "data: {\"a\":1  , \"choices\":[{}]}\n\n");
  EXPECT_EQ(stripped(R"({"usage":null})"), "data: {}\n\n");
  EXPECT_EQ(stripped(R"({"x":"usage","choices":[{}]})"), "data: {\"x\":\"usage\",\"choices\":[{}]}\n\n");
}

TEST(AnswerStream, CountsWhatAClientThatLeftHadGenerated) {
  expect_usage(pass(chunk("a") + chunk("b") + chunk("c"), kNotAsked), 40, 3, "estimated");
}

TEST(AnswerStream, KeepsRunningNumbersOfACutStreamInStepWithItsText) {
  const auto running = [](int output) {
    return "data: "
           "{\"choices\":[{\"delta\":{\"content\":\"xx\"}}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":" +
           std::to_string(output) + "}}\n\n";
  };
  expect_usage(pass(running(2) + running(5), kNotAsked), 9, 5);
  expect_usage(pass(running(2) + chunk("b") + chunk("c") + chunk("d"), kNotAsked), 9, 4, "estimated");
}

TEST(AnswerStream, NeedsNoDone) {
  expect_usage(pass(chunk("a") + chunk("b") + kFinish + kUsageChunk, kNotAsked), 9, 2);
}

TEST(AnswerStream, TakesTheLatestOfTwoUsageChunks) {
  const std::string first = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1}}\n\n";
  expect_usage(pass(chunk("a") + first + chunk("b") + kUsageChunk + kDone, kNotAsked), 9, 2);
}

TEST(AnswerStream, DisputesFewerTokensThanChunks) {
  const Passed got = pass(chunk("a") + chunk("b") + chunk("c") + kFinish + kUsageChunk + kDone, kNotAsked);
  expect_usage(got, 9, 3, "disputed");
}

TEST(AnswerStream, CountsEachChoiceOfAChunk) {
  const std::string both =
      R"(data: {"choices":[{"index":0,"delta":{"content":"a"}},{"index":1,"delta":{"content":"b"}}]})"
      "\n\n";
  expect_usage(pass(both + both, kNotAsked), 40, 4, "estimated");
}

TEST(AnswerStream, CountsReasoningAndToolCallsOfOneChunkOnce) {
  expect_usage(pass(R"(data: {"choices":[{"delta":{"reasoning_content":"a","content":"b"}}]})"
                    "\n\n",
                    kNotAsked),
               40, 1, "estimated");
  const std::string tool = R"(data: {"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"x"}}]}}]})"
                           "\n\n";
  // A runtime may make two such chunks of one token: they are counted, but prove nothing against its numbers.
  expect_usage(pass(tool + tool + tool, kNotAsked), 40, 3, "estimated");
  expect_usage(pass(tool + tool + tool + kUsageChunk, kNotAsked), 9, 2);
}

TEST(AnswerStream, CountsNoEmptyChunks) {
  expect_usage(pass(chunk("") + chunk("a") + kFinish + kDone, kNotAsked), 40, 1, "estimated");
}

TEST(AnswerStream, HoldsEchoedTextAgainstNobody) {
  AnswerTerms terms = kNotAsked;
  terms.echoes = true;
  expect_usage(pass(chunk("the prompt") + chunk("a") + chunk("b") + kUsageChunk, terms), 9, 2);
}

TEST(AnswerStream, ReadsCrLfABomAndDataInSeveralLines) {
  const std::string crlf =
      "\xEF\xBB\xBF"
      "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\r\n\r\n";
  const std::string lines =
      "data: {\"choices\":[],\r\ndata: \"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1}}\r\n\r\n";
  const Passed got = pass(crlf + lines + "data: [DONE]\r\n\r\n", kNotAsked);
  EXPECT_EQ(got.body, crlf + "data: [DONE]\r\n\r\n");
  expect_usage(got, 9, 1);
}

TEST(AnswerStream, PassesErrorsOfTheRuntime) {
  const std::string error = "data: {\"error\":{\"message\":\"out of memory\",\"code\":500}}\n\n";
  const Passed got = pass(chunk("a") + error + kDone, kNotAsked);
  EXPECT_EQ(got.body, chunk("a") + error + kDone);
  expect_usage(got, 40, 1, "estimated");
}

TEST(AnswerStream, PassesEventsThatAreNoJson) {
  const std::string text = "data: {broken\n\nevent: x\ndata: 1 2\n\nretry: 5\n\n";
  const Passed got = pass(text, kNotAsked);
  EXPECT_EQ(got.body, text);
  EXPECT_EQ(got.tally.unread_bytes, 15U + 20U);
}

TEST(AnswerStream, ReadsEventsThatAreTooLongToBeHeld) {
  const std::string blob(3 * SseCutter::kMaxEventBytes, 'x');
  const std::string text = chunk("a") + "event: e\ndata: {\"choices\":[{\"delta\":{\"content\":\"" + blob +
                           "\"}}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":70}}\n\n" + kDone;
  const Passed got = pass_in(text, 1000, kNotAsked, kBounds);
  EXPECT_EQ(got.body, text);
  EXPECT_EQ(got.usage.output_tokens, 70);
  EXPECT_EQ(got.tally.unread_bytes, 0U);
  const Passed broken = pass_in("data: {" + blob + "\n\n" + chunk("a"), 1000, kNotAsked, kBounds);
  EXPECT_GT(broken.tally.unread_bytes, 0U);
  EXPECT_TRUE(broken.usage.estimated);
  EXPECT_EQ(broken.tally.certain, 1);
}

TEST(AnswerStream, ReadsTheOtherDialects) {
  const std::string messages =
      "event: message_start\ndata: "
      "{\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":5,\"cache_read_input_tokens\":20,\"output_"
      "tokens\":1}}}\n\n"
      "event: content_block_delta\ndata: "
      "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}\n\n";
  const std::string end =
      "event: message_delta\ndata: "
      "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":7}}\n\n";
  AnswerTerms terms = kNotAsked;
  terms.dialect = Dialect::kMessages;
  EXPECT_EQ(pass(messages + end, terms).body, messages + end);
  expect_usage(pass(messages + end, terms), 25, 7);
  expect_usage(pass(messages, terms), 25, 1, "estimated");

  terms.dialect = Dialect::kResponses;
  expect_usage(
      pass("data: {\"type\":\"response.output_text.delta\",\"delta\":\"a\"}\n\n"
           "data: "
           "{\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":3,\"output_tokens\":4}}}\n\n",
           terms),
      3, 4);
  terms.dialect = Dialect::kLlama;
  expect_usage(
      pass("data: {\"index\":0,\"content\":\"a\",\"stop\":false,\"tokens_predicted\":1,\"tokens_evaluated\":6}\n\n"
           "data: {\"index\":0,\"content\":\"\",\"stop\":true,\"tokens_predicted\":2,\"tokens_evaluated\":6}\n\n",
           terms),
      6, 2);
  terms.dialect = Dialect::kGenerate;
  expect_usage(pass("data: {\"text_output\":\"a\"}\n\ndata: {\"text_output\":\"b\"}\n\n", terms), 40, 2, "estimated");
}

std::string last_data(std::string_view body, int from_end) {
  for (; from_end > 0; --from_end) body = body.substr(0, body.rfind("data: "));
  body.remove_prefix(body.rfind("data: ") + 6);
  return std::string(body.substr(0, body.find('\n')));
}

TEST(AnswerStream, IsEndedAtTheBudgetsEndAsAtALimit) {
  AnswerTerms terms = kAsked;
  terms.cut_after = 2;
  const Passed got = pass(chunk("a") + chunk("b") + chunk("c") + kFinish + kUsageChunk + kDone, terms);
  EXPECT_TRUE(got.tally.cut);
  EXPECT_TRUE(got.body.starts_with(chunk("a") + chunk("b") + "data: {"));
  EXPECT_EQ(last_data(got.body, 0), "[DONE]");
  const Json usage = *Json::parse(last_data(got.body, 1));
  EXPECT_EQ(usage.find("usage")->find("completion_tokens")->as_integer(), 2);
  EXPECT_TRUE(usage.find("choices")->as_array().empty());
  const Json end = *Json::parse(last_data(got.body, 2));
  EXPECT_EQ(end.find("id")->as_string(), "c1");
  EXPECT_EQ(end.find("created")->as_integer(), 7);
  const Json& choice = end.find("choices")->as_array().at(0);
  EXPECT_EQ(choice.find("finish_reason")->as_string(), "length");
  expect_usage(got, 40, 2, "estimated");
  terms.usage_asked = false;
  EXPECT_EQ(pass(chunk("a") + chunk("b") + chunk("c"), terms).body.find("completion_tokens"), std::string::npos);
}

TEST(AnswerStream, IsNotEndedWhereItEndsItself) {
  AnswerTerms terms = kAsked;
  terms.cut_after = 2;
  const std::string text = chunk("a") + chunk("b") + kFinish + kUsageChunk + kDone;
  EXPECT_EQ(pass(text, terms).body, text);
}

TEST(AnswerStream, IsEndedInTheWordsOfEachDialect) {
  AnswerTerms terms = kNotAsked;
  terms.cut_after = 0;
  terms.dialect = Dialect::kMessages;
  const std::string start = "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":3}\n\n";
  const std::string messages =
      pass(start + "data: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"a\"}}\n\n", terms).body;
  EXPECT_THAT(messages,
              testing::HasSubstr("event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":3}\n\n"));
  EXPECT_THAT(messages, testing::HasSubstr("\"stop_reason\":\"max_tokens\""));
  EXPECT_TRUE(messages.ends_with("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"));
  terms.dialect = Dialect::kResponses;
  EXPECT_THAT(
      pass("data: {\"type\":\"response.output_text.delta\",\"delta\":\"a\",\"sequence_number\":4}\n\n", terms).body,
      testing::StartsWith("event: response.incomplete\ndata: {\"type\":\"response.incomplete\""));
  terms.dialect = Dialect::kLlama;
  EXPECT_THAT(pass("data: {\"content\":\"a\",\"stop\":false}\n\n", terms).body,
              testing::HasSubstr("\"stop_type\":\"limit\""));
  terms.dialect = Dialect::kCompletions;
  EXPECT_THAT(pass("data: {\"choices\":[{\"index\":0,\"text\":\"a\"}]}\n\n", terms).body,
              testing::HasSubstr("\"text\":\"\""));
}

TEST(AnswerForm, IsReadFromTheContentType) {
  EXPECT_EQ(answer_form("application/json"), AnswerForm::kJson);
  EXPECT_EQ(answer_form("Application/JSON; charset=utf-8"), AnswerForm::kJson);
  EXPECT_EQ(answer_form("text/event-stream ;charset=utf-8"), AnswerForm::kEvents);
  EXPECT_EQ(answer_form("text/html"), AnswerForm::kOther);
  EXPECT_EQ(answer_form(""), AnswerForm::kOther);
}

}  // namespace
}  // namespace tb::meter
