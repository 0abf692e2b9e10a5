#include "async/loop.h"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <future>
#include <stdexcept>

#include "async/stop.h"

namespace tb::async {
namespace {

TEST(Loop, RunsJobsInOrderOnItsOwnThread) {
  Loop loop("test");
  std::string order;
  std::promise<bool> done;
  loop.post([&] { order += 'a'; });
  loop.post([&] { order += 'b'; });
  loop.post([&] { done.set_value(loop.is_current()); });
  EXPECT_TRUE(done.get_future().get());
  EXPECT_FALSE(loop.is_current());
  EXPECT_EQ(order, "ab");
}

TEST(Loop, DrainWaitsForWhatIsPending) {
  Loop loop("test");
  bool fired = false;
  boost::asio::steady_timer timer(loop.io(), std::chrono::milliseconds(20));
  timer.async_wait([&](const boost::system::error_code& ec) { fired = !ec; });
  loop.drain();
  EXPECT_TRUE(fired);
}

TEST(Loop, StopAbandonsWhatIsPending) {
  Loop loop("test");
  bool fired = false;
  boost::asio::steady_timer timer(loop.io(), std::chrono::hours(1));
  timer.async_wait([&](const boost::system::error_code&) { fired = true; });
  loop.stop();
  loop.stop();
  EXPECT_FALSE(fired);
}

TEST(Loop, AFaultIsReportedAndTheLoopLivesOn) {
  std::atomic<int> faults{0};
  Loop loop("test", [&](std::exception_ptr) { ++faults; });
  std::promise<void> done;
  loop.post([] { throw std::runtime_error("x"); });
  loop.post([&] { done.set_value(); });
  done.get_future().get();
  EXPECT_EQ(faults, 1);
}

TEST(Stop, SleepEndsEarlyOnlyWhenAskedTo) {
  std::stop_source source;
  EXPECT_TRUE(sleep_unless_stopped(source.get_token(), std::chrono::milliseconds(1)));
  std::thread asker([&] { source.request_stop(); });
  EXPECT_FALSE(sleep_unless_stopped(source.get_token(), std::chrono::hours(1)));
  asker.join();
  EXPECT_FALSE(sleep_unless_stopped(source.get_token(), std::chrono::milliseconds(0)));
}

}  // namespace
}  // namespace tb::async
