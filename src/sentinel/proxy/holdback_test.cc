#include "sentinel/proxy/holdback.h"

#include <gtest/gtest.h>

namespace tb::sentinel::proxy {
namespace {

using api::Grade;

TEST(SharedRate, LetsThroughItsRateAndABurst) {
  for (const std::int64_t rate : {1, 7, 60, 6000, 1'000'000}) {
    SharedRate shared(rate);
    const std::int64_t minutes = 10;
    std::int64_t passed = 0;
    // Asked far more often than it lets through, for a while.
    for (std::int64_t ms = 0; ms < minutes * 60'000; ++ms) {
      for (int i = 0; i < 20; ++i) passed += shared.take(1'000'000 + ms) ? 1 : 0;
    }
    EXPECT_GE(passed, rate * minutes - 1) << rate;
    EXPECT_LE(passed, rate * minutes + std::max<std::int64_t>(rate / 6, 1) + 1) << rate;
  }
}

TEST(SharedRate, AQuietTimeSavesNoMoreThanTheBurst) {
  SharedRate shared(60);
  EXPECT_TRUE(shared.take(0));
  int passed = 0;
  while (shared.take(24 * 3'600'000)) ++passed;
  EXPECT_EQ(passed, 10);
  EXPECT_FALSE(shared.take(24 * 3'600'000 + 999));
  EXPECT_TRUE(shared.take(24 * 3'600'000 + 1000));
}

TEST(SharedRate, AClockThatStandsStillLetsNothingMoreThrough) {
  SharedRate shared(1);
  EXPECT_TRUE(shared.take(5));
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(shared.take(5));
}

class HoldbackTest : public testing::Test {
 protected:
  std::string asked(Grade grade, std::int64_t rate = 1) {
    holdback_.set({.grade = grade, .notice = "invoice 7 is due", .requests_per_minute = rate});
    const auto refusal = filter_->visit(exchange_)->on_request(exchange_);
    return refusal ? std::to_string(refusal->status) + " " + std::string(refusal->code) : "";
  }
  std::string notice() {
    ResponseHead head;
    EXPECT_EQ(filter_->visit(exchange_)->response_transform(exchange_, head), nullptr);
    const Field* field = find_field(head.fields, kNoticeField);
    return field == nullptr ? "" : field->value;
  }
  Holdback holdback_;
  std::unique_ptr<Filter> filter_ = holdback_filter(holdback_);
  Exchange exchange_;
};

TEST_F(HoldbackTest, EachGradeDoesWhatItSays) {
  EXPECT_EQ(asked(Grade::kNone), "");
  EXPECT_EQ(notice(), "");
  EXPECT_EQ(asked(Grade::kWarn), "");
  EXPECT_EQ(notice(), "invoice 7 is due");
  EXPECT_EQ(asked(Grade::kThrottle), "");
  EXPECT_EQ(asked(Grade::kThrottle), "429 contract_throttled") << "the same terms again are no new account";
  EXPECT_EQ(asked(Grade::kThrottle, 2), "") << "other terms are";
  EXPECT_EQ(asked(Grade::kDrain), "403 contract_draining");
  EXPECT_EQ(asked(Grade::kNone), "") << "lifted";
  holdback_.set({.grade = Grade::kWarn, .notice = "", .requests_per_minute = 1});
  EXPECT_EQ(notice(), "warn") << "told also without words";
}

}  // namespace
}  // namespace tb::sentinel::proxy
