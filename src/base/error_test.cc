#include "base/error.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cerrno>

#include "base/result.h"

namespace tb {
namespace {

TEST(ErrorTable, IsSortedWithoutRepeats) {
  const auto table = reason_table();
  EXPECT_EQ(std::ranges::adjacent_find(table, [](auto& a, auto& b) { return a.reason >= b.reason; }), table.end())
      << "rows out of order or repeated";
}

TEST(ErrorTable, ExitStatusFollowsTheCode) {
  for (const auto& row : reason_table()) {
    if (row.exit_status == 2) continue;  // usage: a malformed command line
    int expected = 1;
    switch (row.code) {
      case Code::kDenied:
      case Code::kExpired: expected = 3; break;
      case Code::kMalformed:
      case Code::kTruncated:
      case Code::kTampered: expected = 4; break;
      case Code::kNotFound: expected = 5; break;
      case Code::kUnavailable: expected = 6; break;
      case Code::kConflict: expected = 7; break;
      case Code::kExhausted: expected = 8; break;
      case Code::kCancelled: expected = 130; break;
      case Code::kInternal: expected = 1; break;
    }
    EXPECT_EQ(row.exit_status, expected) << row.reason;
    EXPECT_TRUE(row.http_status >= 400 && row.http_status < 600) << row.reason;
  }
}

TEST(ErrorTable, HintsAreClauses) {
  for (const auto& row : reason_table()) {
    if (row.hint.empty()) continue;
    EXPECT_FALSE(std::isupper(static_cast<unsigned char>(row.hint.front())) && row.hint.size() > 1 &&
                 std::islower(static_cast<unsigned char>(row.hint[1])))
        << row.reason;
    EXPECT_NE(row.hint.back(), '.') << row.reason;
  }
}

TEST(Error, UnknownReasonIsInternal) {
  EXPECT_EQ(Error("no_such_reason", "x").code(), Code::kInternal);
}

TEST(Error, StoryNamesTheCauses) {
  const Error e("io_error", "cannot read a", Error("disk_full", "b"));
  EXPECT_EQ(e.story(), "cannot read a: b");
}

TEST(Error, ErrnoIsMapped) {
  EXPECT_EQ(error_from_errno(ENOSPC, "x").reason, "disk_full");
  EXPECT_EQ(error_from_errno(ENOENT, "x").message, "x: no such file or directory");
  EXPECT_EQ(error_from_errno(EIO, "x").reason, "io_error");
}

Result<int> half(int n) {
  if (n % 2 != 0) return fail("field_invalid", "odd");
  return n / 2;
}
Result<int> quarter(int n) {
  return TRY(half(TRY(half(n))));
}

TEST(Result, TryPassesValuesAndErrors) {
  EXPECT_EQ(quarter(8).value(), 2);
  EXPECT_EQ(quarter(6).error().message, "odd");
  EXPECT_THROW(value_or_throw(half(1)), Error);
}

}  // namespace
}  // namespace tb
