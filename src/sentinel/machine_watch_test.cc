#include "sentinel/machine_watch.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/crypto.h"

namespace tb::sentinel {
namespace {

MachineSample then() {
  return {.boot_ms = 1'000'000, .monotonic_ms = 900'000, .wall_ms = 1'795'651'200'000, .generation = "g"};
}

MachineSample later(std::int64_t ms) {
  MachineSample out = then();
  out.boot_ms += ms;
  out.monotonic_ms += ms;
  out.wall_ms += ms;
  return out;
}

TEST(MachineWatch, TimeThatPassesForAllIsNoDoubt) {
  for (const std::int64_t ms : {0, 50, 1000, 3'600'000, 86'400'000}) {
    EXPECT_EQ(doubt_between(then(), later(ms)), std::nullopt);
  }
}

TEST(MachineWatch, EachSignIsSeen) {
  MachineSample now = later(1000);
  now.generation = "h";
  EXPECT_EQ(doubt_between(then(), now), Doubt::kGeneration);
  now = later(60'000);
  now.monotonic_ms -= kMaxClockGapMs + 1;
  EXPECT_EQ(doubt_between(then(), now), Doubt::kSlept);
  now = later(1000);
  now.wall_ms += kMaxClockGapMs + 1;
  EXPECT_EQ(doubt_between(then(), now), Doubt::kClockAhead) << "restored from a snapshot, and the clock was mended";
}

TEST(MachineWatch, WhatATimeServiceDoesIsNone) {
  MachineSample now = later(1000);
  now.wall_ms += kMaxClockGapMs;
  now.monotonic_ms -= kMaxClockGapMs;
  EXPECT_EQ(doubt_between(then(), now), std::nullopt);
  now = later(1000);
  now.wall_ms -= 86'400'000;
  EXPECT_EQ(doubt_between(then(), now), std::nullopt) << "set back: the boot clock decides";
}

TEST(MachineWatch, TheFileIsPartOfTheGeneration) {
  const std::string path = testing::TempDir() + "generation-" + random_token(8);
  const MachineWatch watch(path);
  const MachineSample without = watch.sample();
  EXPECT_EQ(doubt_between(without, watch.sample()), std::nullopt);
  std::ofstream(path) << "1";
  const MachineSample first = watch.sample();
  EXPECT_EQ(doubt_between(without, first), Doubt::kGeneration) << "it came";
  EXPECT_EQ(doubt_between(first, watch.sample()), std::nullopt);
  std::ofstream(path) << "2";
  EXPECT_EQ(doubt_between(first, watch.sample()), Doubt::kGeneration) << "it changed";
  std::filesystem::remove(path);
  EXPECT_EQ(doubt_between(first, watch.sample()), Doubt::kGeneration) << "it went";
  EXPECT_EQ(doubt_between(MachineWatch("").sample(), MachineWatch("").sample()), std::nullopt);
}

}  // namespace
}  // namespace tb::sentinel
