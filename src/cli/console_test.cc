#include "cli/console.h"

#include <gtest/gtest.h>

namespace tb::cli {
namespace {

TEST(Console, BytesAndSecondsReadWell) {
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(1023), "1023 B");
  EXPECT_EQ(human_bytes(1024), "1.0 KiB");
  EXPECT_EQ(human_bytes(3'435'973'837), "3.2 GiB");
  EXPECT_EQ(human_seconds(59), "59 s");
  EXPECT_EQ(human_seconds(200), "3 min 20 s");
  EXPECT_EQ(human_seconds(7500), "2 h 05 min");
}

TEST(Console, ProgressLineHasRateAndTimeLeft) {
  EXPECT_EQ(progress_line("encrypt", 512, 1024, 1000, 0), "encrypt  50 %  512 B of 1.0 KiB  512 B/s  1 s left");
  EXPECT_EQ(progress_line("encrypt", 512, 1024, 1000, 4), "encrypt  [##..]  50 %  512 B of 1.0 KiB  512 B/s  1 s left");
  EXPECT_EQ(progress_line("upload", 2048, 0, 1000, 4), "upload  2.0 KiB  2.0 KiB/s");
  EXPECT_EQ(progress_line("x", 0, 10, 0, 0), "x  0 %  0 B of 10 B  0 B/s  ? left");
}

TEST(Console, ProgressSpeaksEveryTenSecondsWithoutATerminal) {
  std::string out;
  std::int64_t now = 0;
  {
    Progress progress("decrypt", 100, false, [&](std::string_view text) { out += text; }, [&] { return now; });
    now = 9'999;
    progress.update(10);
    EXPECT_EQ(out, "");
    now = 10'000;
    progress.update(50);
    EXPECT_EQ(out, "trustbridge: decrypt  50 %  50 B of 100 B  5 B/s  10 s left\n");
    now = 15'000;
    progress.update(60);
  }
  EXPECT_EQ(std::count(out.begin(), out.end(), '\n'), 1);
}

TEST(Console, ProgressRewritesItsLineOnATerminalAndClearsIt) {
  std::string out;
  std::int64_t now = 0;
  {
    Progress progress("decrypt", 100, true, [&](std::string_view text) { out += text; }, [&] { return now; });
    now = 100;
    progress.update(1);
    now = 150;
    progress.update(2);
  }
  EXPECT_TRUE(out.starts_with("\rdecrypt  ["));
  EXPECT_EQ(out.find("2 B of"), std::string::npos);
  EXPECT_TRUE(out.ends_with("\r\x1b[K"));
  EXPECT_EQ(out.find('\n'), std::string::npos);
}

TEST(Console, ErrorObjectCarriesTheTable) {
  const Json object = error_json(Error("output_exists", "model.tbenc exists"));
  const Json* error = object.find("error");
  ASSERT_NE(error, nullptr);
  EXPECT_EQ(error->find("reason")->as_string(), "output_exists");
  EXPECT_EQ(error->find("exit_status")->as_integer(), 7);
  EXPECT_EQ(error->find("code")->as_string(), "conflict");
}

}  // namespace
}  // namespace tb::cli
