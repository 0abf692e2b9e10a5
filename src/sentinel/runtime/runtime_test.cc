// The runtime's life with real processes: what it may see, and that nothing of it survives its end.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <mutex>

#include "base/clock.h"
#include "base/error.h"
#include "sentinel/runtime/command.h"
#include "sentinel/runtime/supervisor.h"

namespace tb::sentinel::runtime {
namespace {

class Lines {
 public:
  obs::Log log() {
    return obs::Log::to_sink(
        [this](std::string_view line) {
          const std::scoped_lock lock(mutex_);
          text_ += line;
        },
        obs::Level::kInfo);
  }
  bool wait_for(std::string_view part) {
    for (int i = 0; i < 1000; ++i) {
      {
        const std::scoped_lock lock(mutex_);
        if (text_.find(part) != std::string::npos) return true;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }
  std::size_t count(std::string_view part) {
    const std::scoped_lock lock(mutex_);
    std::size_t found = 0;
    for (std::size_t at = text_.find(part); at != std::string::npos; at = text_.find(part, at + 1)) ++found;
    return found;
  }

 private:
  std::mutex mutex_;
  std::string text_;
};

ChildSpec shell(std::string script) {
  return {.arguments = {"/bin/sh", "-c", std::move(script)},
          .environment = {"PATH=/usr/bin:/bin", "MARK=visible"},
          .uid = 0};
}

TEST(RuntimeCommand, WordsAreReplacedInPlace) {
  const RuntimeAddress address{.unix_path = "/run/r.sock", .host = "127.0.0.1", .port = 9000};
  EXPECT_EQ(expand_command({"srv", "--m={model_path}", "{model_dir}", "{runtime_host}:{runtime_port}",
                            "{runtime_socket}", "--alias={served_model_name},x", "{other}{"},
                           {.model_path = "/no/such/dir/m.gguf", .served_model_name = "a1", .address = address}),
            (std::vector<std::string>{"srv", "--m=/no/such/dir/m.gguf", "/no/such/dir", "127.0.0.1:9000", "/run/r.sock",
                                      "--alias=a1,x", "{other}{"}));
  EXPECT_EQ(expand_command({"{model_dir}"}, {.model_path = testing::TempDir()}).front(), testing::TempDir());
}

TEST(RuntimeCommand, ReplacedTextIsNotReplacedAgain) {
  EXPECT_EQ(expand_command({"{model_path}{served_model_name}"},
                           {.model_path = "/x/{runtime_port}", .served_model_name = "{model_path}"})
                .front(),
            "/x/{runtime_port}{model_path}");
}

TEST(RuntimeCommand, SecretsStayOutOfTheEnvironment) {
  const auto kept = runtime_environment(
      {"PATH=/bin", "TB_ACTIVATION_TOKEN_FILE=/x", "HF_TOKEN=a", "aws_secret_access_key=b", "LD_PRELOAD=/x.so",
       "AZURE_STORAGE_CONNECTION_STRING=c", "DB_PASSWORD=d", "OPENAI_API_KEY=e", "LANG=C",
       "NOTIFY_SOCKET=/run/systemd/notify", "WATCHDOG_USEC=60000000", "CREDENTIALS_DIRECTORY=/run/credentials/x",
       "STATE_DIRECTORY=/var/lib/x", "CUDA_VISIBLE_DEVICES=0"});
  EXPECT_EQ(kept, (std::vector<std::string>{"PATH=/bin", "LANG=C", "CUDA_VISIBLE_DEVICES=0"}));
}

TEST(RuntimeSupervisor, ForwardsOutputAndEndsTheWholeGroup) {
  Lines lines;
  Supervisor supervisor(lines.log(), {.end_grace_ms = 200});
  supervisor.start(
      shell("trap '' TERM; sleep 300 & echo child=$! mark=$MARK home=$HOME; echo to-stderr >&2; while true; do sleep "
            "1; done"));
  ASSERT_TRUE(lines.wait_for("mark=visible home=\""));
  ASSERT_TRUE(lines.wait_for("to-stderr"));
  EXPECT_TRUE(supervisor.view().running);
  Supervisor quick(lines.log(), {.end_grace_ms = 200});
  quick.start(shell("trap '' TERM; sh -c 'trap \"\" TERM; echo deaf=ready; sleep 300'"));
  ASSERT_TRUE(lines.wait_for("deaf=ready"));
  quick.stop();
  EXPECT_FALSE(quick.view().running);
}

TEST(RuntimeSupervisor, NothingOfTheGroupSurvives) {
  Child child(shell("sleep 300 & sleep 300"));
  const pid_t group = child.pid();
  EXPECT_TRUE(group_lives(group));
  child.end(100);
  EXPECT_FALSE(group_lives(group));
}

TEST(RuntimeSupervisor, HasNoNewPrivilegesNoCoresAndNoDescriptorsOfOurs) {
  Lines lines;
  Supervisor supervisor(lines.log(), {.end_grace_ms = 200});
  const int leak = dup(1);
  supervisor.start(
      shell("grep NoNewPrivs /proc/self/status; echo cores=$(ulimit -c); echo fds=$(ls /proc/self/fd | tr '\\n' ' '); "
            "sleep 300"));
  EXPECT_TRUE(lines.wait_for("NoNewPrivs:\\t1"));
  EXPECT_TRUE(lines.wait_for("cores=0"));
  EXPECT_TRUE(lines.wait_for("fds=0 1 2 3\"")) << "3 is ls reading the directory";
  supervisor.stop();
  close(leak);
}

TEST(RuntimeSupervisor, WhatItPrintsIsLoggedUpToABudget) {
  Lines lines;
  Supervisor supervisor(lines.log(), {.end_grace_ms = 200, .output_burst_bytes = 2000, .output_bytes_per_second = 100});
  supervisor.start(shell("echo first; yes weights; sleep 300"));
  ASSERT_TRUE(lines.wait_for("first"));
  EXPECT_TRUE(lines.wait_for("was left out"));
  EXPECT_LE(lines.count("weights"), 2000U / 8 + 100 * 30 / 8) << "more than the burst and what some seconds earn";
  supervisor.stop();
}

TEST(RuntimeSupervisor, StartsAgainAfterItEnded) {
  Lines lines;
  Supervisor supervisor(lines.log(), {.first_pause_ms = 10, .max_pause_ms = 20});
  supervisor.start(shell("exit 3"));
  EXPECT_TRUE(lines.wait_for("started again"));
  EXPECT_EQ(supervisor.view().last_end, "exit 3");
  supervisor.stop();
  EXPECT_GE(supervisor.view().restarts, 1U);
  EXPECT_GE(supervisor.generation(), 2U);
}

TEST(RuntimeSupervisor, AProgramThatIsNotThereIsToldAtOnce) {
  Supervisor supervisor({});
  EXPECT_THROW(supervisor.start({.arguments = {"/no/such/program"}, .environment = {}}), Error);
  EXPECT_THROW(supervisor.start({.arguments = {"no-such-program"}, .environment = {"PATH=/bin"}}), Error);
  EXPECT_FALSE(supervisor.view().running);
}

TEST(RuntimeSupervisor, TakesOnTheRuntimesUser) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  Lines lines;
  Supervisor supervisor(lines.log(), {.end_grace_ms = 200});
  ChildSpec spec = shell("echo uid=$(id -u) gid=$(id -g) groups=$(id -G); sleep 300");
  spec.uid = 65534;
  supervisor.start(spec);
  EXPECT_TRUE(lines.wait_for("uid=65534 gid=65534 groups=65534"));
}

}  // namespace
}  // namespace tb::sentinel::runtime
