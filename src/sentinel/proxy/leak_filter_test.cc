// Which answers are looked into, and what is counted.
#include "sentinel/proxy/leak_filter.h"

#include <gtest/gtest.h>

namespace tb::sentinel::proxy {
namespace {

TEST(LeakFilter, TextIsLookedInto) {
  for (const char* type : {"application/json", "Application/JSON; charset=utf-8", "text/event-stream",
                           "text/plain ;a=b", "application/problem+json", "application/x-ndjson"}) {
    EXPECT_TRUE(is_text(type)) << type;
  }
  for (const char* type :
       {"", ";", "audio/mpeg", "application/octet-stream", "image/png", "application/jsonx", "tex"}) {
    EXPECT_FALSE(is_text(type)) << type;
  }
}

TEST(LeakFilter, AnAnswerIsCountedOnceAndOnlyWhereSomethingWasFound) {
  obs::Metrics metrics;
  const auto filter = leak_filter(HiddenPaths({"/mnt/models"}, "asset-1"), metrics);
  for (const char* body : {R"({"a":"/mnt/models","b":"/mnt/models/x"})", R"({"a":1})"}) {
    Exchange exchange;
    ResponseHead head;
    head.framing = Framing::kLength;
    head.length = 40;
    head.fields = {{"Content-Type", "application/json"}};
    const auto visit = filter->visit(exchange);
    BodyTransform* transform = visit->response_transform(exchange, head);
    ASSERT_NE(transform, nullptr);
    std::string out;
    EXPECT_FALSE(transform->feed(as_bytes(std::string_view(body)), true, out));
    EXPECT_EQ(out.find("/mnt"), std::string::npos);
    visit->on_end(exchange);
  }
  EXPECT_NE(metrics.prometheus_text().find("trustbridge_sentinel_answers_rewritten_total 1\n"), std::string::npos);
}

TEST(LeakFilter, FieldsThatTellAPathDoNotLeave) {
  obs::Metrics metrics;
  const auto filter = leak_filter(HiddenPaths({"/mnt/models", "/model"}, "asset-1"), metrics);
  Exchange exchange;
  ResponseHead head;
  head.fields = {{"X-Model", "file:///mnt/models/a.gguf"},
                 {"X-Path", "/model"},
                 {"Link", "</models>; rel=next"},
                 {"Content-Type", "application/json"}};
  filter->visit(exchange)->response_transform(exchange, head);
  ASSERT_EQ(head.fields.size(), 2U);
  EXPECT_EQ(head.fields[0].name, "Link");
  EXPECT_EQ(head.fields[1].name, "Content-Type");
}

TEST(LeakFilter, TheRuntimeIsAskedForWhatCanBeLookedInto) {
  obs::Metrics metrics;
  const auto filter = leak_filter(HiddenPaths({"/mnt/models"}, "asset-1"), metrics);
  Exchange exchange;
  exchange.request.fields = {{"accept-encoding", "gzip"}, {"Accept", "*/*"}, {"Accept-Encoding", "br"}};
  EXPECT_FALSE(filter->visit(exchange)->on_request(exchange));
  ASSERT_EQ(exchange.request.fields.size(), 2U);
  EXPECT_EQ(find_field(exchange.request.fields, "accept-encoding")->value, "identity");
}

TEST(LeakFilter, AnAnswerWithoutATextHasNoTransform) {
  obs::Metrics metrics;
  const auto filter = leak_filter(HiddenPaths({"/mnt/models"}, "asset-1"), metrics);
  Exchange exchange;
  ResponseHead none;
  EXPECT_EQ(filter->visit(exchange)->response_transform(exchange, none), nullptr);
  ResponseHead untyped;
  untyped.framing = Framing::kChunked;
  EXPECT_EQ(filter->visit(exchange)->response_transform(exchange, untyped), nullptr);
  ResponseHead empty;
  empty.framing = Framing::kLength;
  EXPECT_EQ(filter->visit(exchange)->response_transform(exchange, empty), nullptr);
  ResponseHead audio;
  audio.framing = Framing::kChunked;
  audio.fields = {{"content-type", "audio/wav"}};
  EXPECT_EQ(filter->visit(exchange)->response_transform(exchange, audio), nullptr);
}

}  // namespace
}  // namespace tb::sentinel::proxy
