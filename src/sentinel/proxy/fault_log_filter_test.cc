// Which requests leave a line, what stands in it, and that there is no flood.
#include "sentinel/proxy/fault_log_filter.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/json.h"

namespace tb::sentinel::proxy {
namespace {

class FaultLogTest : public testing::Test {
 protected:
  void end(int status, Outcome outcome) {
    Exchange exchange;
    exchange.request_id = "r-1";
    exchange.subject = "key-1";
    exchange.status = status;
    exchange.outcome = outcome;
    exchange.request.method = "POST";
    exchange.request.target = "/v2/models/secret-name/infer?prompt=secret";
    exchange.request.fields = {{"traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}};
    filter_->visit(exchange)->on_end(exchange);
  }
  std::vector<std::string> lines_;
  std::unique_ptr<Filter> filter_ = fault_log_filter(
      obs::Log::to_sink([this](std::string_view line) { lines_.emplace_back(line); }, obs::Level::kInfo));
};

TEST_F(FaultLogTest, FaultsLeaveALineWithWhatTheClientWasTold) {
  end(502, Outcome::kUpstreamError);
  ASSERT_EQ(lines_.size(), 1U);
  const Json line = Json::parse(lines_[0]).value();
  EXPECT_EQ(line.find("request_id")->as_string(), "r-1");
  EXPECT_EQ(line.find("trace_id")->as_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_EQ(line.find("subject")->as_string(), "key-1");
  EXPECT_EQ(line.find("path")->as_string(), "/v2/models/{model}/infer");
  EXPECT_EQ(line.find("status")->as_string(), "502");
  EXPECT_EQ(lines_[0].find("secret"), std::string::npos) << "nothing of what was asked";
}

TEST_F(FaultLogTest, OthersDoNot) {
  end(200, Outcome::kComplete);
  end(404, Outcome::kComplete);
  end(200, Outcome::kAborted);
  end(0, Outcome::kAborted);
  end(401, Outcome::kRefused);
  end(503, Outcome::kRefused);
  EXPECT_TRUE(lines_.empty());
  end(500, Outcome::kComplete);
  end(200, Outcome::kUpstreamError);
  EXPECT_EQ(lines_.size(), 2U);
}

TEST_F(FaultLogTest, AFloodIsCounted) {
  for (int i = 0; i < 1000; ++i) end(502, Outcome::kUpstreamError);
  EXPECT_LT(lines_.size(), 200U) << "ten in each second that this took, and a count";
  EXPECT_GE(lines_.size(), 10U);
}

TEST(TraceId, OfATraceparentOnly) {
  EXPECT_EQ(trace_id_of("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), "4bf92f3577b34da6a3ce929d0e0e4736");
  for (const char* text : {"", "00", "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
                           "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
                           "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
                           "00-4bf92f3577b34da6a3ce929d0e0e473\"-00f067aa0ba902b7-01"}) {
    EXPECT_EQ(trace_id_of(text), "") << text;
  }
}

}  // namespace
}  // namespace tb::sentinel::proxy
