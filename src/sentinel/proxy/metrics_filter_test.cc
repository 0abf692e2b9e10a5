// What is counted of a request, by which names, and that nothing a client writes becomes a label.
#include "sentinel/proxy/metrics_filter.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace tb::sentinel::proxy {
namespace {

class MetricsFilterTest : public testing::Test {
 protected:
  struct Request {
    const char* method = "POST";
    std::string target = "/v1/chat/completions";
    int status = 200;
    Outcome outcome = Outcome::kComplete;
    bool streamed = false;
    std::optional<meter::TokenUsage> usage = {};
    std::string model = "whatever the client wrote";
  };
  void pass(const Request& request) {
    Exchange exchange;
    exchange.request.method = request.method;
    exchange.request.target = request.target;
    const auto visit = filter_->visit(exchange);
    EXPECT_EQ(value("trustbridge_sentinel_requests_in_flight"), "1");
    ResponseHead head;
    head.fields = {{"Content-Type", request.streamed ? "text/event-stream; charset=utf-8" : "application/json"}};
    EXPECT_EQ(visit->response_transform(exchange, head), nullptr);
    for (int i = 0; i < 3; ++i) visit->on_response_chunk(exchange, as_bytes("x"));
    exchange.status = request.status;
    exchange.outcome = request.outcome;
    exchange.request_bytes = 10;
    exchange.response_bytes = 3;
    exchange.usage = request.usage;
    exchange.model = request.model;
    visit->on_end(exchange);
  }
  /// Of the series whose line begins so; "" if there is none.
  std::string value(const std::string& series) const {
    const std::string text = "\n" + metrics_.prometheus_text();
    const std::size_t at = text.find("\n" + series + " ");
    if (at == std::string::npos) return "";
    const std::size_t begin = at + series.size() + 2;
    return text.substr(begin, text.find('\n', begin) - begin);
  }
  static std::string genai(const char* name, const char* operation, const char* more = "") {
    return fmt::format(
        R"({}{{gen_ai_operation_name="{}",gen_ai_provider_name="trustbridge",gen_ai_request_model="asset-1"{}}})", name,
        operation, more);
  }

  obs::Metrics metrics_;
  std::unique_ptr<Filter> filter_ = metrics_filter(metrics_, "asset-1");
};

TEST_F(MetricsFilterTest, ARequestIsCountedOnceInEveryWay) {
  pass({.usage = meter::TokenUsage{.input_tokens = 7, .output_tokens = 5}});
  EXPECT_EQ(value(R"(trustbridge_sentinel_requests_total{code="200",outcome="complete"})"), "1");
  EXPECT_EQ(value("trustbridge_sentinel_requests_in_flight"), "0");
  EXPECT_EQ(value("trustbridge_sentinel_request_body_bytes_total"), "10");
  EXPECT_EQ(value("trustbridge_sentinel_response_body_bytes_total"), "3");
  EXPECT_EQ(value("trustbridge_sentinel_request_seconds_count"), "1");
  EXPECT_EQ(value("trustbridge_sentinel_first_byte_seconds_count"), "1");
  EXPECT_EQ(value(genai("gen_ai_server_request_duration_seconds_count", "chat", R"(,error_type="")")), "1");
  EXPECT_EQ(value(genai("gen_ai_client_token_usage_sum", "chat", R"(,gen_ai_token_type="input")")), "7");
  EXPECT_EQ(value(genai("gen_ai_client_token_usage_sum", "chat", R"(,gen_ai_token_type="output")")), "5");
  EXPECT_EQ(value(genai("gen_ai_server_time_to_first_token_seconds_count", "chat")), "0") << "it was no stream";
}

TEST_F(MetricsFilterTest, StreamsHaveAFirstTokenAndATimeForEach) {
  pass({.streamed = true, .usage = meter::TokenUsage{.input_tokens = 7, .output_tokens = 5}});
  pass({.streamed = true});
  pass({.streamed = true, .usage = meter::TokenUsage{.input_tokens = 7, .output_tokens = 1}});
  EXPECT_EQ(value(genai("gen_ai_server_time_to_first_token_seconds_count", "chat")), "3");
  EXPECT_EQ(value(genai("gen_ai_server_time_per_output_token_seconds_count", "chat")), "1");
}

TEST_F(MetricsFilterTest, OperationsAreThoseOfTheRoutes) {
  pass({.target = "/v1/embeddings"});
  pass({.target = "/v1/completions?x=1"});
  pass({.target = "/v2/models/resnet/infer"});
  pass({.method = "GET", .target = "/v1/models"});
  for (const char* operation : {"embeddings", "text_completion", "infer"}) {
    EXPECT_EQ(value(genai("gen_ai_server_request_duration_seconds_count", operation, R"(,error_type="")")), "1");
  }
  EXPECT_EQ(metrics_.prometheus_text().find("describe"), std::string::npos) << "a list of models is no inference";
}

TEST_F(MetricsFilterTest, FailuresAreTypedAndRefusalsNeverCameToTheModel) {
  pass({.status = 502, .outcome = Outcome::kUpstreamError});
  pass({.status = 0, .outcome = Outcome::kAborted});
  pass({.status = 429, .outcome = Outcome::kRefused});
  pass({.target = "/no/such", .status = 403, .outcome = Outcome::kRefused});
  EXPECT_EQ(value(genai("gen_ai_server_request_duration_seconds_count", "chat", R"(,error_type="502")")), "1");
  EXPECT_EQ(value(genai("gen_ai_server_request_duration_seconds_count", "chat", R"(,error_type="client_left")")), "1");
  EXPECT_EQ(value(genai("gen_ai_server_request_duration_seconds_count", "chat", R"(,error_type="429")")), "");
  EXPECT_EQ(value(R"(trustbridge_sentinel_requests_total{code="429",outcome="refused"})"), "1");
  EXPECT_EQ(value(R"(trustbridge_sentinel_requests_total{code="0",outcome="aborted"})"), "1");
}

TEST_F(MetricsFilterTest, NothingAClientWritesBecomesALabel) {
  for (int i = 0; i < 300; ++i) {
    pass({.target = "/v1/models/secret" + std::to_string(i),
          .status = 403,
          .outcome = Outcome::kRefused,
          .model = "secret" + std::to_string(i)});
    pass({.target = "/v2/models/secret" + std::to_string(i) + "/infer", .model = "secret"});
  }
  const std::string text = metrics_.prometheus_text();
  EXPECT_EQ(text.find("secret"), std::string::npos);
  EXPECT_LT(std::ranges::count(text, '\n'), 250);
}

}  // namespace
}  // namespace tb::sentinel::proxy
