// What the suite of all backends says about many callers and sudden ends: what was acknowledged is there, whole.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <future>
#include <latch>
#include <set>
#include <thread>

#include "store/store_contract_test.h"

namespace tb::store {
namespace {

constexpr std::int64_t kManySeats = 1000000;

/// In the child of a fork: takes seats on several threads for ever, and writes each lease id to `out` once the store
/// has said that it is taken.
[[noreturn]] void take_seats_until_killed(const StoreUnderTest& under_test, const SeatRequest& wish, const Event& event,
                                          int out) {
  const auto store = under_test.open_again();
  const auto work = [&] {
    for (;;) {
      SeatRequest mine = wish;
      mine.lease_id = random_token(12);
      mine.jwk_thumbprint = mine.lease_id;
      if (store->take_seat(mine, StoreContract::kNow, event) != SeatOutcome::kGranted) _exit(3);
      const std::string line = mine.lease_id + "\n";
      if (write(out, line.data(), line.size()) != static_cast<ssize_t>(line.size())) _exit(4);
    }
  };
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back(work);
  threads.clear();
  _exit(5);
}

TEST_P(StoreContract, KilledAtAnyMomentNothingAcknowledgedIsLostAndNothingIsHalfDone) {
  add_asset_and_contract(kManySeats);
  auto wish = seat("");
  wish.max_seats = kManySeats;
  std::set<std::string> acknowledged;
  for (int round = 0; round < 8; ++round) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) {
      close(ends[0]);
      try {
        take_seats_until_killed(under_test_, wish, event("released"), ends[1]);
      } catch (...) {
        _exit(6);
      }
    }
    close(ends[1]);
    FILE* acks = fdopen(ends[0], "r");
    char line[64];
    std::size_t wanted = 1 + acknowledged.size() % 7 + static_cast<std::size_t>(round) * 5;
    while (wanted-- > 0 && fgets(line, sizeof line, acks) != nullptr) acknowledged.insert(std::string(line, 16));
    std::uint8_t pause[1];
    random_bytes(pause);
    usleep(pause[0] * 20U);
    kill(child, SIGKILL);
    // What it could still say counts, too.
    while (fgets(line, sizeof line, acks) != nullptr) {
      if (std::strlen(line) == 17) acknowledged.insert(std::string(line, 16));
    }
    fclose(acks);
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status)) << "the child ended by itself, with " << WEXITSTATUS(status);
  }
  ASSERT_GE(acknowledged.size(), 100U);
  std::set<std::string> leases;
  for (std::string cursor;;) {
    const auto page = store().list_leases("t1", "c", cursor, 500);
    for (const auto& lease : page) leases.insert(lease.lease_id);
    if (page.size() < 500) break;
    cursor = page.back().lease_id;
  }
  EXPECT_TRUE(std::ranges::includes(leases, acknowledged));
  EXPECT_EQ(std::ranges::count(event_types(), "released"), static_cast<std::ptrdiff_t>(leases.size()));
}

TEST_P(StoreContract, ReadersDoNotWaitForAWriter) {
  add_asset_and_contract();
  std::latch writing(1);
  std::latch go_on(1);
  std::atomic<bool> armed{false};
  const auto slow = under_test_.open_with_clock([&] {
    if (armed) {
      writing.count_down();
      go_on.wait();
    }
    return kNow;
  });
  armed = true;
  std::jthread writer([&] { slow->append_event(event("slow")); });
  writing.wait();
  // Through the writer's own store and through another one. A wait that ends with the writer is what must not be.
  auto read = std::async(std::launch::async, [&] {
    return slow->find_contract("t1", "c").has_value() && store().find_contract("t1", "c").has_value() &&
           slow->list_events({}, -1, 100).size() == 4;
  });
  EXPECT_EQ(read.wait_for(std::chrono::minutes(1)), std::future_status::ready);
  go_on.count_down();
  EXPECT_TRUE(read.get()) << "and they do not see what is not committed";
  writer.join();
  EXPECT_EQ(event_types().back(), "slow");
}

TEST_P(StoreContract, ManyCallersOfTwoStoresWriteOneChain) {
  add_asset_and_contract();
  const auto again = under_test_.open_again();
  std::vector<std::jthread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 15; ++i) (t % 2 == 0 ? store() : *again).append_event(event("many"));
    });
  }
  threads.clear();
  EXPECT_EQ(std::ranges::count(event_types(), "many"), 120);
}

}  // namespace
}  // namespace tb::store
