// The TPM's own thread: faults come back, and a caller does not wait for a device that hangs.
#include "tpm/worker.h"

#include <gtest/gtest.h>

#include <future>

#include "base/error.h"

namespace tb::tpm {
namespace {

std::string reason_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.reason;
  }
  return "";
}

TEST(Worker, RunsOneThingAfterAnotherAndRethrows) {
  Worker worker;
  int done = 0;
  worker.run([&] { ++done; }, 60000, {});
  EXPECT_EQ(reason_of([&] { worker.run([] { throw Error("tpm_failed", "no"); }, 60000, {}); }), "tpm_failed");
  worker.run([&] { ++done; }, 60000, {});
  EXPECT_EQ(done, 2);
}

TEST(Worker, DoesNotWaitForWhatHangs) {
  std::promise<void> answer;
  const std::shared_future<void> hangs = answer.get_future().share();
  {
    Worker worker;
    EXPECT_EQ(reason_of([&] { worker.run([hangs] { hangs.wait(); }, 1, {}); }), "tpm_timeout");
    EXPECT_EQ(reason_of([&] { worker.run([] {}, 60000, {}); }), "tpm_timeout") << "and is of no more use";
  }
  answer.set_value();
}

TEST(Worker, IsStopped) {
  std::promise<void> answer;
  const std::shared_future<void> hangs = answer.get_future().share();
  std::stop_source stop;
  stop.request_stop();
  Worker worker;
  EXPECT_EQ(reason_of([&] { worker.run([hangs] { hangs.wait(); }, 60000, stop.get_token()); }), "cancelled");
  answer.set_value();
}

}  // namespace
}  // namespace tb::tpm
