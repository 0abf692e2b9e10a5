// What a service manager hears of each state, and that it hears nothing of a sentinel that hangs.
#include "sentinel/service_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <atomic>
#include <cstddef>
#include <cstring>

#include "base/crypto.h"
#include "base/fs.h"

namespace tb::sentinel {
namespace {

using testing::HasSubstr;
using testing::Not;

Status in(State state) {
  Status status;
  status.state = state;
  status.asset_id = "llama-8b";
  return status;
}

Status hydrating(std::uint64_t bytes) {
  Status status = in(State::kHydrate);
  status.hydrate = {.bytes = bytes, .total = 200'000'000, .bytes_per_second = 12.5e6, .eta_seconds = 9.4};
  return status;
}

TEST(ServiceNews, SaysInWordsWhatGoesOn) {
  EXPECT_EQ(state_in_words(in(State::kBoot)), "starting");
  EXPECT_EQ(state_in_words(in(State::kHydrate)), "fetching the manifest");
  EXPECT_EQ(state_in_words(hydrating(82'900'000)), "hydrating: 41 % of 200.0 MB, 12.5 MB/s, 9 s left");
  EXPECT_EQ(state_in_words(in(State::kReady)), "serving llama-8b");
  Status status = in(State::kSuspended);
  status.error_code = "contract_suspended";
  EXPECT_EQ(state_in_words(status), "suspended (contract_suspended): nothing is served, it is asked again by itself");
  status = in(State::kReady);
  status.lease = LeaseView{.renewal_failing = true};
  status.enforcement.grade = api::Grade::kThrottle;
  EXPECT_EQ(state_in_words(status), "serving llama-8b, held back: throttle, the lease cannot be renewed at present");
  for (const State state : kStates) {
    EXPECT_FALSE(state_in_words(in(state)).empty());
    EXPECT_LE(state_in_words(in(state)).size(), 200U);
  }
}

// decision 52
TEST(ServiceNews, TheStartIsOverWhenOthersCanCountOnIt) {
  for (const bool starts_runtime : {false, true}) {
    for (const State state : kStates) {
      Told told;
      const std::string news = service_news(in(state), starts_runtime, 1, told);
      const bool over = state == State::kReady || state == State::kTraining || state == State::kSuspended ||
                        (state == State::kDecrypt && !starts_runtime);
      EXPECT_EQ(news.find("READY=1") != std::string::npos, over) << state_name(state) << starts_runtime;
      EXPECT_EQ(news.find("STOPPING=1") != std::string::npos, state == State::kStopping);
    }
  }
}

TEST(ServiceNews, EachThingIsToldOnce) {
  Told told;
  EXPECT_EQ(service_news(in(State::kReady), true, 1, told), "READY=1\nSTATUS=serving llama-8b");
  EXPECT_EQ(service_news(in(State::kReady), true, 2, told), "");
  EXPECT_THAT(service_news(in(State::kSuspended), true, 3, told), Not(HasSubstr("READY")));
  EXPECT_EQ(service_news(in(State::kReady), true, 4, told), "STATUS=serving llama-8b");
  EXPECT_EQ(service_news(in(State::kStopping), true, 5, told), "STOPPING=1\nSTATUS=stopping");
  EXPECT_EQ(service_news(in(State::kStopping), true, 6, told), "");
}

TEST(ServiceNews, TimeIsAskedForWhileBytesCome) {
  Told told;
  EXPECT_THAT(service_news(hydrating(0), true, 1'000, told), Not(HasSubstr("EXTEND")));
  EXPECT_THAT(service_news(hydrating(5), true, 2'000, told), HasSubstr("EXTEND_TIMEOUT_USEC=180000000"));
  EXPECT_THAT(service_news(hydrating(6), true, 3'000, told), Not(HasSubstr("EXTEND"))) << "not with every chunk";
  EXPECT_THAT(service_news(hydrating(7), true, 13'000, told), HasSubstr("EXTEND"));
  EXPECT_THAT(service_news(hydrating(7), true, 99'000, told), Not(HasSubstr("EXTEND"))) << "nothing has come";
  EXPECT_THAT(service_news(in(State::kAuthorize), true, 200'000, told), Not(HasSubstr("EXTEND")));
  Status failing = in(State::kDecrypt);
  failing.error_code = "runtime_failed";
  EXPECT_THAT(service_news(failing, true, 250'000, told), Not(HasSubstr("EXTEND"))) << "it goes round in circles";
  EXPECT_THAT(service_news(in(State::kDecrypt), true, 300'000, told), HasSubstr("EXTEND"));
  service_news(in(State::kReady), true, 400'000, told);
  EXPECT_THAT(service_news(in(State::kDecrypt), true, 500'000, told), Not(HasSubstr("EXTEND"))) << "the start is over";
}

/// A manager that listens, and the next thing that it hears: within a minute, or "".
class Manager {
 public:
  Manager() : socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    name.copy(address.sun_path, name.size());
    address.sun_path[0] = '\0';
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    EXPECT_EQ(bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), length), 0);
    const timeval minute{60, 0};
    setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &minute, sizeof minute);
  }
  std::string hear(int flags = 0) {
    char text[500];
    const ssize_t got = recv(socket_.get(), text, sizeof text, flags);
    return std::string(text, got < 0 ? 0 : static_cast<std::size_t>(got));
  }
  const std::string name = "@tb-report-" + random_token(12);

 private:
  Fd socket_;
};

TEST(ServiceReport, FeedsTheWatchdogWhileAllTurns) {
  Manager manager;
  std::atomic<bool> hangs = false;
  std::atomic<int> asked_while_hung = 0;
  {
    const ServiceReport report(obs::NotifySocket(manager.name, "40000", ""),
                               {.status = [] { return in(State::kReady); },
                                .turns =
                                    [&](std::int64_t within_ms) {
                                      EXPECT_EQ(within_ms, 10);
                                      if (hangs) ++asked_while_hung;
                                      return !hangs;
                                    }});
    EXPECT_EQ(manager.hear(), "READY=1\nSTATUS=serving llama-8b");
    EXPECT_EQ(manager.hear(), "WATCHDOG=1");
    EXPECT_EQ(manager.hear(), "WATCHDOG=1");
    hangs = true;
    while (asked_while_hung < 2) std::this_thread::yield();
    while (!manager.hear(MSG_DONTWAIT).empty()) {
    }
    const int before = asked_while_hung;
    while (asked_while_hung < before + 5) std::this_thread::yield();
    EXPECT_EQ(manager.hear(MSG_DONTWAIT), "") << "nothing is said for one that hangs";
    hangs = false;
    EXPECT_EQ(manager.hear(), "WATCHDOG=1");
  }
  while (!manager.hear(MSG_DONTWAIT).empty()) {
  }
}

TEST(ServiceReport, WithoutAManagerNobodyIsAsked) {
  const ServiceReport report({}, {.status = []() -> Status {
                                    ADD_FAILURE();
                                    return {};
                                  },
                                  .turns = [](std::int64_t) { return true; }});
}

}  // namespace
}  // namespace tb::sentinel
