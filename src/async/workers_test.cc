#include "async/workers.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <latch>

#include "base/error.h"

namespace tb::async {
namespace {

TEST(Workers, RunsEverythingThatWasTakenBeforeStopReturns) {
  std::atomic<int> ran{0};
  Workers workers("test", 3, 8);
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(workers.submit([&] { ++ran; }));
  workers.stop();
  EXPECT_EQ(ran, 100);
}

TEST(Workers, TrySubmitRefusesAtTheBoundAndLeavesTheJobUntouched) {
  Workers workers("test", 1, 2);
  std::promise<void> open;
  auto gate = open.get_future().share();
  std::latch running(1);
  ASSERT_TRUE(workers.submit([&] {
    running.count_down();
    gate.wait();
  }));
  running.wait();
  ASSERT_TRUE(workers.try_submit([] {}));
  ASSERT_TRUE(workers.try_submit([] {}));
  Workers::Job third = [] {};
  EXPECT_FALSE(workers.try_submit(std::move(third)));
  EXPECT_TRUE(static_cast<bool>(third));  // NOLINT(bugprone-use-after-move): that is the promise
  EXPECT_EQ(workers.waiting(), 2u);
  open.set_value();
  workers.stop();  // its jobs hold the gate and the latch
}

TEST(Workers, SubmitWaitsForRoom) {
  Workers workers("test", 1, 1);
  std::promise<void> open;
  auto gate = open.get_future().share();
  std::latch running(1);
  std::atomic<int> ran{0};
  ASSERT_TRUE(workers.submit([&] {
    running.count_down();
    gate.wait();
    ++ran;
  }));
  running.wait();
  ASSERT_TRUE(workers.submit([&] { ++ran; }));
  std::thread blocked([&] { EXPECT_TRUE(workers.submit([&] { ++ran; })); });
  open.set_value();
  blocked.join();
  workers.stop();
  EXPECT_EQ(ran, 3);
}

TEST(Workers, RefusesAfterStop) {
  Workers workers("test", 2, 4);
  workers.stop();
  workers.stop();
  EXPECT_FALSE(workers.submit([] {}));
  EXPECT_FALSE(workers.try_submit([] {}));
}

TEST(Workers, StopReleasesASubmitterThatWaits) {
  auto workers = std::make_unique<Workers>("test", 1, 1);
  std::promise<void> open;
  auto gate = open.get_future().share();
  std::latch running(1);
  ASSERT_TRUE(workers->submit([&] {
    running.count_down();
    gate.wait();
  }));
  running.wait();
  ASSERT_TRUE(workers->submit([] {}));
  std::latch asked(1);
  std::thread blocked([&] {
    asked.count_down();
    // Refused by stop, or taken if the queue drained first: it must return either way.
    (void)workers->submit([] {});
  });
  asked.wait();
  std::thread stopper([&] { workers->stop(); });
  open.set_value();
  stopper.join();
  blocked.join();
}

TEST(Workers, AFaultIsReportedAndTheThreadLivesOn) {
  std::string reason;
  Workers workers("test", 1, 4, [&](std::exception_ptr fault) {
    try {
      std::rethrow_exception(fault);
    } catch (const Error& e) {
      reason = e.reason;
    }
  });
  bool ran = false;
  ASSERT_TRUE(workers.submit([] { throw Error("bad_hex", "odd"); }));
  ASSERT_TRUE(workers.submit([&] { ran = true; }));
  workers.stop();
  EXPECT_EQ(reason, "bad_hex");
  EXPECT_TRUE(ran);
}

}  // namespace
}  // namespace tb::async
