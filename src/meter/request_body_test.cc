#include "meter/request_body.h"

#include <gtest/gtest.h>

#include "base/json.h"

namespace tb::meter {
namespace {

struct Sent {
  std::string body;
  std::string fault;  ///< its message
  int status = 0;
  RequestFacts facts;
};

struct Case {
  Dialect dialect = Dialect::kChat;
  std::optional<std::int64_t> output_each = std::nullopt;  ///< the verdict
  std::optional<BodyFault> refusal = std::nullopt;
};

Sent send_in(std::string_view text, std::size_t piece_bytes, const Case& how) {
  RequestBody body(how.dialect, [&](const RequestFacts&) -> std::expected<RequestVerdict, BodyFault> {
    if (how.refusal) return std::unexpected(*how.refusal);
    return RequestVerdict{how.output_each};
  });
  Sent out;
  std::size_t at = 0;
  do {
    const std::string_view piece = text.substr(at, piece_bytes);
    at += piece.size();
    if (const auto fault = body.feed(piece, at == text.size(), out.body)) {
      out.fault = fault->message;
      out.status = fault->status;
      break;
    }
  } while (at < text.size());
  out.facts = body.facts();
  return out;
}

/// The same in any pieces.
Sent send(std::string_view text, const Case& how = {}) {
  const Sent whole = send_in(text, text.size() + 1, how);
  const std::vector<std::size_t> pieces =
      text.size() < 5000 ? std::vector<std::size_t>{1, 2, 7} : std::vector<std::size_t>{97, 4096, 5000, 65536};
  for (const std::size_t bytes : pieces) {
    const Sent other = send_in(text, bytes, how);
    EXPECT_EQ(other.fault, whole.fault) << bytes;
    if (whole.fault.empty()) EXPECT_EQ(other.body, whole.body) << bytes;
  }
  return whole;
}

std::string with_padding(std::string_view before, std::size_t bytes, std::string_view after) {
  return std::string(before) + std::string(bytes, 'x') + std::string(after);
}

TEST(RequestBody, PassesByteForByteWhatNeedsNoChange) {
  for (const std::string& text : {
           std::string(R"( {"model" : "m", "messages":[{"role":"user","content":"h\u00e9"}] } )"),
           std::string(R"({"stream":false,"stream_options":null})"),
           std::string(R"({"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}})"),
           std::string("{}"),
           with_padding(R"({"messages":")", 300000, "\" , \"n\":2}\n"),
       }) {
    const Sent sent = send(text);
    EXPECT_EQ(sent.fault, "");
    EXPECT_EQ(sent.body, text);
  }
}

TEST(RequestBody, AsksForTheUsageOfAStreamWhereTheClientDidNot) {
  EXPECT_EQ(send(R"({"stream":true,"model":"m"})").body,
            R"({"stream":true,"model":"m","stream_options":{"include_usage":true}})");
  EXPECT_EQ(send(R"({"stream":true, "stream_options":null})").body,
            R"({"stream":true, "stream_options":{"include_usage":true}})");
  EXPECT_EQ(send(R"({"stream_options":{"include_usage":false},"stream":true})").body,
            R"({"stream_options":{"include_usage":true},"stream":true})");
  EXPECT_EQ(send(R"({"stream_options":{"continuous_usage_stats":true,"x":[1]},"stream":true})").body,
            R"({"stream_options":{"x":[1],"include_usage":true},"stream":true})");
  EXPECT_FALSE(send(R"({"stream":true})").facts.usage_asked);
  EXPECT_TRUE(send(R"({"stream":true,"stream_options":{"include_usage":true}})").facts.usage_asked);
}

TEST(RequestBody, AsksForNothingWhereStreamsCarryUsageAnyhow) {
  for (const auto dialect : {Dialect::kMessages, Dialect::kResponses, Dialect::kLlama, Dialect::kGenerate}) {
    EXPECT_EQ(send(R"({"stream":true})", {.dialect = dialect}).body, R"({"stream":true})");
  }
}

TEST(RequestBody, LowersALimitThatNobodyPromisesToKeepAndAddsNoSecond) {
  const Case lowered{.dialect = Dialect::kGenerate, .output_each = 5};
  EXPECT_EQ(send(R"({"max_tokens":50,"text_input":"a"})", lowered).body, R"({"max_tokens":5,"text_input":"a"})");
  EXPECT_EQ(send(R"({"max_tokens":null})", lowered).body, R"({"max_tokens":5})");
  EXPECT_EQ(send(R"({"max_tokens":3})", lowered).body, R"({"max_tokens":3})");
  EXPECT_EQ(send(R"({"text_input":"a"})", lowered).body, R"({"text_input":"a","max_tokens":5})");
}

TEST(RequestBody, AsksForUsageInALongBodyToo) {
  const std::string long_prompt = with_padding(R"({"messages":")", 200000, "\"");
  EXPECT_EQ(send(long_prompt + R"(,"stream":true})").body,
            long_prompt + R"(,"stream":true,"stream_options":{"include_usage":true}})");
  EXPECT_EQ(send(long_prompt + R"(,"stream_options":{},"stream":true})").body,
            long_prompt + R"(,"stream_options":{"include_usage":true},"stream":true})");
  const std::string front = with_padding(R"({"stream_options":{"include_usage":false},"messages":")", 200000, "\"");
  EXPECT_EQ(send(front + R"(,"stream":true})").body,
            with_padding(R"({"stream_options":{"include_usage":true},"messages":")", 200000, R"(","stream":true})"));
  EXPECT_EQ(send(with_padding(R"({"stream":true,"stream_options":null,"p":")", 100000, "\"}")).body,
            with_padding(R"({"stream":true,"stream_options":{"include_usage":true},"p":")", 100000, "\"}"));
  EXPECT_EQ(send(with_padding(R"({"stream_options":null,"p":")", 100000, R"(","stream":true})")).fault,
            "stream_options must not be null before stream in a body of this length");
}

TEST(RequestBody, NeverSendsTheEndOfABodyThatWasRefused) {
  const BodyFault refusal{402, "quota_exhausted", "no"};
  for (const std::size_t bytes : {10U, 60000U, 70000U, 500000U}) {
    const Sent sent = send(with_padding(R"({"p":")", bytes, "\"}"), {.refusal = refusal});
    EXPECT_EQ(sent.status, 402);
    EXPECT_FALSE(sent.body.ends_with('}'));
    if (bytes < RequestBody::kWholeBytes) EXPECT_EQ(sent.body, "");
  }
}

TEST(RequestBody, HoldsABoundedPartOfALongBody) {
  RequestBody body(Dialect::kChat, [](const RequestFacts&) { return RequestVerdict{}; });
  std::string out;
  const std::string piece(4096, 'x');
  ASSERT_FALSE(body.feed(R"({"max_tokens":5,"p":")", false, out));
  std::size_t given = 0;
  for (int i = 0; i < 300; ++i) {
    ASSERT_FALSE(body.feed(piece, false, out));
    given += piece.size();
    EXPECT_LE(given, out.size() + 2 * RequestBody::kWholeBytes + 2 * RequestBody::kStepBytes);
  }
}

TEST(RequestBody, CountsWhatIsAskedFor) {
  const auto facts = [](std::string_view text, Dialect dialect = Dialect::kCompletions) {
    const Sent sent = send(text, {.dialect = dialect});
    EXPECT_EQ(sent.fault, "") << text;
    return sent.facts;
  };
  EXPECT_EQ(facts(R"({"model":"m/\u0061"})").model, "m/a");
  EXPECT_EQ(facts(R"({"n":3,"best_of":4,"prompt":["a","b"]})").sequences, 24);
  EXPECT_EQ(facts(R"({"prompt":"a"})").prompts, 1);
  EXPECT_EQ(facts(R"({"prompt":[1,2,3]})").prompts, 1);
  EXPECT_EQ(facts(R"({"prompt":[[1,2],[3]]})").prompts, 2);
  EXPECT_EQ(facts(R"({"prompt":[]})").prompts, 1);
  EXPECT_EQ(facts(R"({"max_tokens":7})").output_each, 7);
  EXPECT_EQ(facts(R"({"max_tokens":null})").output_each, std::nullopt);
  EXPECT_EQ(facts("{}").output_each, std::nullopt);
  EXPECT_EQ(facts(R"({"max_tokens":7,"max_completion_tokens":9})", Dialect::kChat).output_each, 9);
  EXPECT_EQ(facts(R"({"max_tokens":7,"n_predict":90})", Dialect::kChat).output_each, 90);
  EXPECT_EQ(facts(R"({"n_predict":90})", Dialect::kChat).output_each, std::nullopt);
  EXPECT_EQ(facts(R"({"max_tokens":7,"n_predict":-1})", Dialect::kChat).output_each, std::nullopt);
  EXPECT_EQ(facts(R"({"n_predict":5})", Dialect::kLlama).output_each, 5);
  EXPECT_EQ(facts(R"({"max_output_tokens":6})", Dialect::kResponses).output_each, 6);
  EXPECT_EQ(facts(R"({"max_output_tokens":6})", Dialect::kChat).output_each, std::nullopt);
  EXPECT_EQ(facts(R"({"input":["a"]})", Dialect::kEmbeddings).output_each, 0);
  EXPECT_TRUE(
      facts(R"({"messages":[{"content":[{"type":"image_url","image_url":{"url":"https://x"}}]}]})").input_unbounded);
  EXPECT_TRUE(facts(R"({"previous_response_id":"r"})", Dialect::kResponses).input_unbounded);
  EXPECT_FALSE(facts(R"({"previous_response_id":null})", Dialect::kResponses).input_unbounded);
  EXPECT_TRUE(facts(R"({"echo":true})").echoes);
}

TEST(RequestBody, LowersLimitsToWhatIsLeft) {
  const auto lowered = [](std::string_view text, Dialect dialect = Dialect::kChat) {
    const Sent sent = send(text, {.dialect = dialect, .output_each = 5});
    EXPECT_EQ(sent.fault, "");
    return sent.body;
  };
  EXPECT_EQ(lowered(R"({"max_tokens":100})"), R"({"max_tokens":5})");
  EXPECT_EQ(lowered(R"({"max_tokens":3})"), R"({"max_tokens":3})");
  EXPECT_EQ(lowered(R"({"max_tokens":3,"max_completion_tokens":9})"), R"({"max_tokens":3,"max_completion_tokens":5})");
  EXPECT_EQ(lowered(R"({"max_tokens":null})"), R"({"max_tokens":5})");
  EXPECT_EQ(lowered("{}"), R"({"max_tokens":5})");
  EXPECT_EQ(lowered(R"({"stream":true})"), R"({"stream":true,"stream_options":{"include_usage":true},"max_tokens":5})");
  EXPECT_EQ(lowered(R"({"n_predict":-1})", Dialect::kLlama), R"({"n_predict":5})");
  EXPECT_EQ(lowered(R"({"n_predict":-1})"), R"({"n_predict":5,"max_tokens":5})");
  EXPECT_EQ(lowered(R"({"input":"x"})", Dialect::kResponses), R"({"input":"x","max_output_tokens":5})");
  EXPECT_EQ(lowered(R"({"input":"x"})", Dialect::kEmbeddings), R"({"input":"x"})");
}

TEST(RequestBody, LowersLimitsOfALongBodyAsLongAsTheyAreHeld) {
  const Case how{.output_each = 5};
  EXPECT_EQ(send(with_padding(R"({"p":")", 200000, R"(","max_tokens":100})"), how).body,
            with_padding(R"({"p":")", 200000, R"(","max_tokens":5})"));
  const Sent gone = send(with_padding(R"({"max_tokens":100,"p":")", 200000, "\"}"), how);
  EXPECT_EQ(gone.status, 402);
  EXPECT_EQ(send(with_padding(R"({"max_tokens":3,"p":")", 200000, "\"}"), how).fault, "");
}

struct Refused {
  const char* name;
  std::string text;
  std::string says;
  Dialect dialect = Dialect::kChat;
};
class RequestBodyRefuses : public testing::TestWithParam<Refused> {};

TEST_P(RequestBodyRefuses, With400) {
  const Sent sent = send(GetParam().text, {.dialect = GetParam().dialect});
  EXPECT_EQ(sent.status, 400);
  EXPECT_THAT(sent.fault, testing::HasSubstr(GetParam().says));
}

INSTANTIATE_TEST_SUITE_P(
    All, RequestBodyRefuses,
    testing::Values(
        Refused{"empty", "", "is not JSON"}, Refused{"cut", R"({"a":1)", "is not JSON"},
        Refused{"array", "[]", "must be an object"}, Refused{"bom", "\xEF\xBB\xBF{}", "is not JSON"},
        Refused{"trailing", "{} x", "is not JSON"}, Refused{"latin1", "{\"a\":\"\xE9\"}", "is not UTF-8"},
        Refused{"duplicate", R"({"stream":true,"stream":false})", "a member twice"},
        Refused{"escaped_duplicate", R"({"stream":true,"str\u0065am":false})", "a member twice"},
        Refused{"deep", R"({"a":)" + std::string(70, '[') + std::string(70, ']') + "}", "too deeply"},
        Refused{"stream_text", R"({"stream":"true"})", "stream must be true or false"},
        Refused{"stream_number", R"({"stream":1})", "stream must be true or false"},
        Refused{"n_text", R"({"n":"3"})", "n and best_of"}, Refused{"n_negative", R"({"n":-3})", "n and best_of"},
        Refused{"n_zero", R"({"n":0})", "n and best_of"}, Refused{"n_fraction", R"({"n":1.5})", "n and best_of"},
        Refused{"n_huge", R"({"n":99999999999999999999})", "n and best_of"},
        Refused{"product", R"({"n":16384,"best_of":16384})", "more than 16384"},
        Refused{"limit_text", R"({"max_tokens":"5"})", "whole number"},
        Refused{"limit_negative", R"({"max_tokens":-5})", "whole number"},
        Refused{"limit_float", R"({"max_tokens":1e3})", "whole number"},
        Refused{"options_array", R"({"stream_options":[]})", "must be an object"},
        Refused{"options_twice", R"({"stream":true,"stream_options":{"include_usage":true,"include_usage":false}})",
                "names a member twice"},
        Refused{"include_text", R"({"stream":true,"stream_options":{"include_usage":"yes"}})", "include_usage must be"},
        Refused{"background", R"({"background":true})", "background", Dialect::kResponses},
        Refused{"blanks", R"({"p":")" + std::string(70000, 'x') + "\"" + std::string(9000, ' ') + "}", "too long"}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace tb::meter
