// A confined runtime's life with real processes: how it is reached, what it may use up, and that nothing of it is left.
#include <dirent.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "sentinel/runtime/confined_init.h"
#include "sentinel/runtime/connector.h"
#include "sentinel/runtime/probe.h"
#include "sentinel/runtime/supervisor.h"
#include "sentinel/runtime/test_hostile_world.h"

namespace tb::sentinel::runtime {
namespace {

class ConfinedChild : public HostileWorld {
 protected:
  std::string daemon_name() const { return "bad-" + place_.substr(place_.size() - 6); }
  std::vector<std::string> leave_daemon(int seconds) const {
    return {"only=daemon", "daemon=" + std::to_string(seconds), "daemon_name=" + daemon_name()};
  }
};

bool lives_by_name(const std::string& name) {
  DIR* directory = opendir("/proc");
  bool found = false;
  while (const dirent* entry = readdir(directory)) {
    const auto own = read_small_file(std::string("/proc/") + entry->d_name + "/comm");
    if (own && *own == name + "\n") found = true;
  }
  closedir(directory);
  return found;
}

bool poll_for(const std::function<bool()>& condition) {
  for (int i = 0; i < 3000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

std::string starting_with(const Results& results, const std::string& prefix) {
  for (const auto& [attempt, error] : results) {
    if (attempt.starts_with(prefix)) return attempt.substr(prefix.size()) + " " + error;
  }
  return "";
}

TEST_F(ConfinedChild, ADaemonEndsWithItAndWithoutANamespaceItWouldNot) {
  const auto daemon_lives = [this] { return lives_by_name(daemon_name()); };
  {
    Child child(confined(request(leave_daemon(600))));
    results_of(child);
    ASSERT_TRUE(poll_for(daemon_lives)) << "the daemon was not left behind, so nothing is shown";
    child.end(100);
    EXPECT_FALSE(daemon_lives()) << "end() returned before the last process was gone";
  }
  Child child({.arguments = command(leave_daemon(5)), .environment = {}});
  results_of(child);
  ASSERT_TRUE(poll_for(daemon_lives));
  child.end(0);
  EXPECT_TRUE(daemon_lives()) << "a group holds a daemon as well: then the namespace shows nothing here";
  EXPECT_TRUE(poll_for([&] { return !daemon_lives(); }));
}

TEST_F(ConfinedChild, ADaemonEndsWithItAlsoWhereInitMustFindIt) {
  const auto daemon_lives = [this] { return lives_by_name(daemon_name()); };
  const ConfineRequest asked = request(leave_daemon(600));
  KernelFacts facts = find_kernel_facts(asked.uid);
  facts.fault(Measure::kPidNamespace) = facts.fault(Measure::kMountNamespace) = "switched off by this test";
  Child child(confined(asked, facts));
  results_of(child);
  ASSERT_TRUE(poll_for(daemon_lives));
  child.end(100);
  EXPECT_FALSE(daemon_lives());
}

TEST_F(ConfinedChild, TheScratchIsFullWhereItShouldBe) {
  const Results results = run(confined(request({"only=fill", "fill=67108864"})));
  const std::string said = starting_with(results, "fill_");
  ASSERT_THAT(said, testing::EndsWith(" ENOSPC"));
  EXPECT_LE(std::stoull(said), kScratchBytes);
  EXPECT_GE(std::stoull(said), kScratchBytes / 2);
}

TEST_F(ConfinedChild, ProcessesHaveALimit) {
  if (geteuid() != 0) GTEST_SKIP() << "counts this user's other processes, too";
  ChildSpec spec = confined(request({"only=forks", "forks=2000"}));
  auto plan = std::make_shared<Confinement>(*spec.confinement);
  plan->plan.processes = 64;
  spec.confinement = plan;
  const std::string said = starting_with(run(spec), "forks_");
  ASSERT_THAT(said, testing::EndsWith(" EAGAIN"));
  EXPECT_LE(std::stoi(said), 64);
}

TEST_F(ConfinedChild, MemoryHasALimitOfEachProcessWhereThereIsNoGroup) {
  ConfineRequest asked = request();
  asked.memory_bytes = 64 << 20;
  KernelFacts facts = find_kernel_facts(asked.uid);
  facts.group_directory.clear();
  facts.fault(Measure::kMemoryLimit) = "switched off by this test";
  asked.arguments = {"/bin/sh", "-c", "ulimit -d; head -c 200000000 /dev/zero | tail -c 1 >/dev/null; exec sleep 600"};
  ChildSpec spec = confined(asked, facts);
  Child child(spec);
  char text[64] = {};
  ASSERT_TRUE(poll_for([&] { return read(child.output_fd(), text, sizeof text - 1) > 0; }));
  EXPECT_EQ(std::stoul(text), (64U << 20) / 1024);
}

TEST_F(ConfinedChild, IsReachedThroughItsInitAloneByTcpAndByUnixSocket) {
  for (const bool by_unix : {false, true}) {
    ConfineRequest asked = request({"only=serve", by_unix ? "serve_unix=/run/gate/runtime.sock" : "serve=18099"});
    asked.address = by_unix ? RuntimeAddress{.unix_path = "/run/gate/runtime.sock"}
                            : RuntimeAddress{.host = "127.0.0.1", .port = 18099};
    Supervisor supervisor(obs::Log{});
    supervisor.start(confined(asked));
    const auto connector = supervisor.connector();
    ASSERT_TRUE(poll_for([&] { return ask_health({asked.address, connector}, "/health", 1000) == 200; }))
        << asked.address.to_text();
    EXPECT_EQ(ask_health({asked.address}, "/health", 1000), 0)
        << "it is reachable from outside: " << asked.address.to_text();
    supervisor.stop();
    EXPECT_FALSE(connector->connect_within(1000)) << "a runtime that is gone is reached";
  }
}

/// A runtime takes connections when it likes, and its queue is short: those who come meanwhile wait, and all get in.
TEST_F(ConfinedChild, AFullQueueOfAUnixSocketIsWaitedFor) {
  ConfineRequest asked = request({"only=serve", "serve_unix=/run/gate/runtime.sock"});
  asked.address = {.unix_path = "/run/gate/runtime.sock"};
  Supervisor supervisor(obs::Log{});
  supervisor.start(confined(asked));
  const auto connector = supervisor.connector();
  ASSERT_TRUE(poll_for([&] { return ask_health({asked.address, connector}, "/health", 1000) == 200; }));
  std::vector<Fd> held;
  for (int i = 0; i < 200; ++i) {
    held.push_back(connector->connect_within(30'000));
    if (!held.back()) break;  // the queue of 64 and the one that is waited upon, for as long as nobody sends
  }
  EXPECT_FALSE(held.back()) << "the queue was never full: nothing was shown";
  std::jthread leaves([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    held.clear();
  });
  EXPECT_TRUE(connector->connect_within(30'000));
}

TEST_F(ConfinedChild, ANewRunIsReachedByTheSameConnector) {
  ConfineRequest asked = request();
  asked.arguments = {"/bin/sh", "-c",
                     place_ + "/bin/hostile_runtime only=serve serve=18098 & sleep 1; kill $!; exit 3"};
  asked.address = {.host = "127.0.0.1", .port = 18098};
  Supervisor supervisor({}, {.first_pause_ms = 10, .max_pause_ms = 20});
  supervisor.start(confined(asked));
  for (std::uint64_t generation = 1; generation <= 2; ++generation) {
    ASSERT_TRUE(poll_for([&] {
      return supervisor.generation() >= generation &&
             ask_health({asked.address, supervisor.connector()}, "/health", 1000) == 200;
    }));
  }
  EXPECT_EQ(supervisor.view().last_end.empty() ? "exit 3" : supervisor.view().last_end, "exit 3");
}

TEST_F(ConfinedChild, SaysHowItEnded) {
  for (const auto& [script, how] : {std::pair{"exit 7", "exit 7"}, std::pair{"kill -SEGV $$", "signal 11"}}) {
    ConfineRequest asked = request();
    asked.arguments = {"/bin/sh", "-c", script};
    Child child(confined(asked));
    ASSERT_TRUE(poll_for([&] { return child.ended().has_value(); }));
    EXPECT_EQ(child.ended(), how);
  }
}

TEST_F(ConfinedChild, EndsInItsOwnWayWithinTheGrace) {
  ConfineRequest asked = request();
  asked.arguments = {"/bin/sh", "-c", "trap 'echo bye; exit 0' TERM; echo up; while true; do sleep 0.05; done"};
  Child child(confined(asked));
  std::string text;
  const auto has = [&](std::string_view part) {
    return poll_for([&] {
      char buffer[256];
      const ssize_t got = read(child.output_fd(), buffer, sizeof buffer);
      if (got > 0) text.append(buffer, static_cast<std::size_t>(got));
      return text.find(part) != std::string::npos;
    });
  };
  ASSERT_TRUE(has("up"));
  child.end(30'000);
  EXPECT_TRUE(has("bye"));
}

TEST_F(ConfinedChild, HasItsKeyInAFileThatNobodyElseHas) {
  ConfineRequest asked = request();
  asked.arguments = {"/bin/sh", "-c", "cat /dev/fd/3; echo; cat /dev/fd/3; exec sleep 600"};
  for (const bool is_confined : {true, false}) {
    ChildSpec spec =
        is_confined ? confined(asked) : ChildSpec{.arguments = asked.arguments, .environment = {"PATH=/usr/bin:/bin"}};
    spec.api_key = std::make_shared<const SecretString>("generation-key");
    Child child(spec);
    std::string text;
    EXPECT_TRUE(poll_for([&] {
      char buffer[256];
      const ssize_t got = read(child.output_fd(), buffer, sizeof buffer);
      if (got > 0) text.append(buffer, static_cast<std::size_t>(got));
      return text == "generation-key\ngeneration-key";
    })) << text;
  }
}

TEST_F(ConfinedChild, WhatCannotBeStartedIsToldWithItsReason) {
  const auto story_of = [&](ConfineRequest asked) {
    try {
      Child child(confined(asked));
    } catch (const Error& error) {
      EXPECT_EQ(error.reason, "runtime_failed");
      return error.message;
    }
    return std::string("it started");
  };
  ConfineRequest asked = request();
  asked.read_paths.clear();
  EXPECT_THAT(story_of(asked), testing::HasSubstr("TB_RUNTIME_READ_PATHS"));
  asked = request();
  asked.read_paths = {"/no/such/place"};
  EXPECT_THAT(story_of(asked), testing::HasSubstr("/no/such/place"));
  asked = request();
  asked.model_path = "/no/such/model";
  EXPECT_THAT(story_of(asked), testing::HasSubstr("/no/such/model"));
  asked = request();
  asked.devices = {"/etc/passwd"};
  EXPECT_THAT(story_of(asked), testing::HasSubstr("/etc/passwd is no device"));
  asked = request();
  asked.arguments = {"no-such-program"};
  EXPECT_THAT(story_of(asked), testing::HasSubstr("no-such-program"));
}

TEST_F(ConfinedChild, TheSentinelsUmaskAndIgnoredSignalsAreNotIts) {
  ConfineRequest asked = request();
  asked.arguments = {
      "/bin/sh", "-c",
      "cd / && id -un && ls -d /etc /home/runtime /tmp | wc -l; grep SigIgn /proc/self/status; exec sleep 600"};
  const mode_t before = umask(077);
  const auto handler = signal(SIGPIPE, SIG_IGN);
  Child child(confined(asked));
  umask(before);
  signal(SIGPIPE, handler);
  std::string text;
  EXPECT_TRUE(poll_for([&] {
    char buffer[256];
    const ssize_t got = read(child.output_fd(), buffer, sizeof buffer);
    if (got > 0) text.append(buffer, static_cast<std::size_t>(got));
    return text == "runtime\n3\nSigIgn:\t0000000000000000\n";
  })) << text;
}

TEST_F(ConfinedChild, ADeviceIsThereByItsNameAndNoOther) {
  ConfineRequest asked = request();
  asked.devices = {"/dev/ptmx"};
  asked.arguments = {"/bin/sh", "-c", "test -c /dev/ptmx && ls /dev | tr '\\n' ' '; exec sleep 600"};
  Child child(confined(asked));
  char text[256] = {};
  ASSERT_TRUE(poll_for([&] { return read(child.output_fd(), text, sizeof text - 1) > 0; }));
  EXPECT_STREQ(text, "fd full null ptmx random shm stderr stdin stdout tty urandom zero ");
}

/// Init answers with what it pleases once it is taken over: nothing but a stream socket is taken from it.
TEST(Connector, TakesNothingButAStreamSocket) {
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
  Connector connector;
  connector.use(Fd(ends[0]));
  const Fd init(ends[1]);
  const auto answer_with = [&](int fd) {
    char request = 0;
    ASSERT_EQ(recv(init.get(), &request, 1, 0), 1);
    EXPECT_EQ(request, kConnect);
    char kind = kSocket;
    iovec part{&kind, 1};
    alignas(cmsghdr) char room[CMSG_SPACE(sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (fd >= 0) {
      message.msg_control = room;
      message.msg_controllen = sizeof room;
      cmsghdr* head = CMSG_FIRSTHDR(&message);
      head->cmsg_level = SOL_SOCKET;
      head->cmsg_type = SCM_RIGHTS;
      head->cmsg_len = CMSG_LEN(sizeof(int));
      std::memcpy(CMSG_DATA(head), &fd, sizeof fd);
    }
    ASSERT_GT(sendmsg(init.get(), &message, 0), 0);
  };
  const Fd file = value_or_throw(open_file("/dev/null", O_RDWR));
  const Fd datagram(socket(AF_INET, SOCK_DGRAM, 0));
  const Fd stream(socket(AF_INET, SOCK_STREAM, 0));
  for (const int fd : {file.get(), datagram.get(), -1}) {
    std::jthread answers([&] { answer_with(fd); });
    EXPECT_FALSE(connector.connect_within(30'000));
  }
  std::jthread answers([&] { answer_with(stream.get()); });
  EXPECT_TRUE(connector.connect_within(30'000));
}

TEST(Connector, NobodyWaitsForARunThatIsGone) {
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
  Connector connector;
  EXPECT_FALSE(connector.connect_within(30'000)) << "there is no run yet";
  connector.use(Fd(ends[0]));
  close(ends[1]);
  EXPECT_FALSE(connector.connect_within(30'000));
  EXPECT_FALSE(connector.connect_within(30'000));
}

}  // namespace
}  // namespace tb::sentinel::runtime
