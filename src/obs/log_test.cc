#include "obs/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <thread>
#include <vector>

#include "base/json.h"
#include "base/secret.h"

namespace tb::obs {
namespace {

struct Lines {
  std::vector<std::string> all;
  Log log(Level level, Format format = Format::kJson) {
    return Log::to_sink([this](std::string_view line) { all.emplace_back(line); }, level, format,
                        [] { return UnixMs{1'700'000'000'123}; });
  }
};

TEST(Log, WritesOneJsonObjectALine) {
  Lines lines;
  lines.log(Level::kInfo).named("http").info("request", {{"status", 200}, {"path", "/a"}, {"ok", true}, {"s", 0.5}});
  ASSERT_EQ(lines.all.size(), 1u);
  EXPECT_EQ(
      lines.all[0],
      R"({"ts":"2023-11-14T22:13:20.123Z","level":"info","component":"http","msg":"request","status":200,"path":"/a","ok":true,"s":0.5})"
      "\n");
}

TEST(Log, DropsLinesBelowItsLevel) {
  Lines lines;
  const Log log = lines.log(Level::kWarn);
  log.debug("a");
  log.info("b");
  log.warn("c");
  log.error("d");
  ASSERT_EQ(lines.all.size(), 2u);
  EXPECT_TRUE(log.enabled(Level::kWarn));
  EXPECT_FALSE(log.enabled(Level::kInfo));
  Log().error("into the void");
}

TEST(Log, AHostileValueCannotWriteALineOfItsOwn) {
  Lines lines;
  lines.log(Level::kInfo).info("x", {{"v", "a\n{\"level\":\"info\"}"}, {"raw", std::string("\xff\x00", 2)}});
  lines.log(Level::kInfo, Format::kText).info("x\ny", {{"v", "a\nb\x1b[31m"}});
  ASSERT_EQ(lines.all.size(), 2u);
  for (const auto& line : lines.all) EXPECT_EQ(line.find('\n'), line.size() - 1);
  const auto parsed = Json::parse(lines.all[0]);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->find("raw")->as_string(), "hex:ff00");
  EXPECT_EQ(lines.all[1].find('\x1b'), std::string::npos);
}

TEST(Log, BoundsAValueAndKeepsTheLineValidJson) {
  Lines lines;
  lines.log(Level::kInfo)
      .info("x", {{"v", std::string(1 << 20, 'a')}, {"nan", std::numeric_limits<double>::quiet_NaN()}});
  EXPECT_LT(lines.all.at(0).size(), 5000u);
  EXPECT_TRUE(Json::parse(lines.all.at(0)));
}

TEST(Log, AnErrorIsToldWithItsReasonStoryAndHint) {
  Lines lines;
  lines.log(Level::kInfo)
      .error("hydrate failed", Error("tls_failed", "cannot reach a", Error("io_error", "connection reset")));
  const auto parsed = Json::parse(lines.all.at(0));
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->find("reason")->as_string(), "tls_failed");
  EXPECT_EQ(parsed->find("error")->as_string(), "cannot reach a: connection reset");
  EXPECT_FALSE(parsed->find("hint")->as_string().empty());
}

TEST(Log, TextFormIsForPeople) {
  Lines lines;
  lines.log(Level::kInfo, Format::kText).named("main").warn("low memory", {{"bytes", 12}, {"why", "two words"}});
  EXPECT_EQ(lines.all.at(0), "2023-11-14T22:13:20.123Z warn  main: low memory bytes=12 why=\"two words\"\n");
}

TEST(Log, LinesOfSeveralThreadsStayWhole) {
  Lines lines;
  const Log log = lines.log(Level::kInfo);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) log.info("line", {{"i", i}});
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(lines.all.size(), 800u);
}

TEST(Log, LevelsHaveNames) {
  EXPECT_EQ(parse_level("debug").value(), Level::kDebug);
  EXPECT_EQ(parse_level("warning").value(), Level::kWarn);
  EXPECT_EQ(parse_level("loud").error().reason, "config_invalid");
  EXPECT_FALSE(parse_level(""));
}

}  // namespace
}  // namespace tb::obs
