// spec: wire 2.2 (TB_DELIVERY)
#include "sentinel/delivery_choice.h"

#include <gtest/gtest.h>

namespace tb::sentinel {
namespace {

using enum DeliveryKind;

constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;

struct Row {
  const char* what;
  DeliveryFacts facts;
  std::optional<DeliveryKind> chosen;  ///< nothing: "delivery_impossible"
};

TEST(DeliveryChoice, AutoByTheTable) {
  const Row rows[] = {
      {"all works, own runtime", {.plaintext_bytes = kGiB, .memory_bytes = 2 * kGiB}, kMount},
      {"all works, model larger than memory", {.plaintext_bytes = 9 * kGiB, .memory_bytes = 2 * kGiB}, kMount},
      {"first implementation", {.has_content = false, .plaintext_bytes = kGiB, .memory_bytes = 2 * kGiB}, kFifo},
      {"no mounts, fits", {.mount_fault = "no /dev/fuse", .plaintext_bytes = kGiB, .memory_bytes = 2 * kGiB}, kTmpfs},
      {"no mounts, memory unknown", {.mount_fault = "no /dev/fuse", .plaintext_bytes = kGiB}, kTmpfs},
      {"no mounts, just fits", {.mount_fault = "x", .plaintext_bytes = kGiB, .memory_bytes = kGiB}, kTmpfs},
      {"no mounts, one byte short", {.mount_fault = "x", .plaintext_bytes = kGiB, .memory_bytes = kGiB - 1}, {}},
      {"sidecar", {.runtime_is_child = false, .plaintext_bytes = kGiB, .memory_bytes = 2 * kGiB}, kTmpfs},
      {"sidecar, shared",
       {.runtime_is_child = false, .shared_place = true, .plaintext_bytes = kGiB, .memory_bytes = 2 * kGiB},
       kMount},
      {"sidecar, does not fit", {.runtime_is_child = false, .plaintext_bytes = 3 * kGiB, .memory_bytes = kGiB}, {}},
  };
  for (const Row& row : rows) {
    std::optional<DeliveryKind> chosen;
    try {
      chosen = choose_delivery(DeliveryChoice::kAuto, row.facts);
    } catch (const Error& error) {
      EXPECT_EQ(error.reason, "delivery_impossible") << row.what;
      EXPECT_NE(error.message.find("MiB"), std::string::npos) << error.message;
    }
    EXPECT_EQ(chosen, row.chosen) << row.what;
  }
}

TEST(DeliveryChoice, WhatIsSaidIsDone) {
  const DeliveryFacts nothing_works{
      .mount_fault = "x", .runtime_is_child = false, .plaintext_bytes = 9 * kGiB, .memory_bytes = 0};
  EXPECT_EQ(choose_delivery(DeliveryChoice::kMount, nothing_works), kMount);
  EXPECT_EQ(choose_delivery(DeliveryChoice::kTmpfs, nothing_works), kTmpfs);
  EXPECT_EQ(choose_delivery(DeliveryChoice::kFifo, nothing_works), kFifo);
}

}  // namespace
}  // namespace tb::sentinel
