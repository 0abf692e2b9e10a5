#include "obs/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace tb::obs {
namespace {

TEST(Metrics, PrintsThePrometheusText) {
  Metrics metrics;
  metrics.counter("tb_requests_total", "Requests.", {{"route", "/a\"b\\c\n"}, {"status", "200"}}).add(3);
  metrics.gauge("tb_ready", "One if ready.").set(1);
  auto& seconds = metrics.histogram("tb_seconds", "Time.", {0.1, 1}, {{"route", "/x"}});
  seconds.observe(0.1);
  seconds.observe(0.5);
  seconds.observe(7);
  EXPECT_EQ(metrics.prometheus_text(),
            "# HELP tb_ready One if ready.\n"
            "# TYPE tb_ready gauge\n"
            "tb_ready 1\n"
            "# HELP tb_requests_total Requests.\n"
            "# TYPE tb_requests_total counter\n"
            "tb_requests_total{route=\"/a\\\"b\\\\c\\n\",status=\"200\"} 3\n"
            "# HELP tb_seconds Time.\n"
            "# TYPE tb_seconds histogram\n"
            "tb_seconds_bucket{route=\"/x\",le=\"0.1\"} 1\n"
            "tb_seconds_bucket{route=\"/x\",le=\"1\"} 2\n"
            "tb_seconds_bucket{route=\"/x\",le=\"+Inf\"} 3\n"
            "tb_seconds_sum{route=\"/x\"} 7.6\n"
            "tb_seconds_count{route=\"/x\"} 3\n");
}

TEST(Metrics, TheSameLabelsAreTheSameSeries) {
  Metrics metrics;
  metrics.counter("a_total", "A.", {{"x", "1"}}).add();
  metrics.counter("a_total", "A.", {{"x", "1"}}).add();
  EXPECT_EQ(metrics.counter("a_total", "A.", {{"x", "1"}}).value(), 2u);
  EXPECT_EQ(metrics.counter("a_total", "A.", {{"x", "2"}}).value(), 0u);
}

TEST(Metrics, LabelsAreBounded) {
  Metrics metrics;
  for (int i = 0; i < 5000; ++i) metrics.counter("a_total", "A.", {{"who", std::to_string(i)}}).add();
  const std::string text = metrics.prometheus_text();
  EXPECT_LE(std::count(text.begin(), text.end(), '\n'), static_cast<std::ptrdiff_t>(kMaxSeries + 3));
  EXPECT_THAT(text, testing::HasSubstr("a_total{who=\"other\"} 4800\n"));
}

TEST(Metrics, RefusesAnotherKindOtherLabelsAndBadNames) {
  Metrics metrics;
  metrics.counter("a_total", "A.", {{"x", "1"}});
  EXPECT_THROW(metrics.gauge("a_total", "A.", {{"x", "1"}}), Error);
  EXPECT_THROW(metrics.counter("a_total", "A.", {{"y", "1"}}), Error);
  EXPECT_THROW(metrics.counter("a total", "A."), Error);
  EXPECT_THROW(metrics.counter("1a", "A."), Error);
  EXPECT_THROW(metrics.counter("b_total", "B.", {{"x-y", "1"}}), Error);
}

}  // namespace
}  // namespace tb::obs
