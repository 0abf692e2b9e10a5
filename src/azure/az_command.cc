#include "azure/az_command.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <thread>

#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"

extern char** environ;

namespace tb::azure {
namespace {

constexpr std::size_t kMaxAnswerBytes = 65536;
constexpr const char* kHint = "log in with az login, or choose another credential with --auth";

Error unavailable(std::string message) {
  return Error("credential_unavailable", std::move(message)).with_hint(kHint);
}

/// The child and, az being a script that starts others, all of its group. What is left of it ends with the object.
class Child {
 public:
  Child(const AzCommand& command, int out) {
    std::vector<std::string> words = {command.program,
                                      "account",
                                      "get-access-token",
                                      "--output",
                                      "json",
                                      "--scope",
                                      "https://storage.azure.com/.default"};
    if (!command.tenant.empty()) words.insert(words.end(), {"--tenant", command.tenant});
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    const int failed = posix_spawnp(&pid_, argv[0], &actions, &attributes, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (failed != 0) {
      pid_ = -1;
      throw unavailable(command.program + " is not there or cannot be started");
    }
  }
  ~Child() {
    if (pid_ < 0) return;
    kill(-pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  /// Exit status, or nothing if it goes on beyond `deadline`.
  std::optional<int> status_by(std::int64_t deadline) {
    for (;;) {
      int status = 0;
      if (waitpid(pid_, &status, WNOHANG) == pid_) {
        kill(-pid_, SIGKILL);
        pid_ = -1;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
      }
      if (boot_ms_now() >= deadline) return std::nullopt;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }

 private:
  pid_t pid_ = -1;
};

}  // namespace

std::optional<AccessToken> parse_az_answer(std::string_view text, std::int64_t now) {
  const auto answer = Json::parse(text, {.bytes = kMaxAnswerBytes});
  auto token = answer ? bearer_token(answer->find("accessToken")) : std::nullopt;
  if (!token) return std::nullopt;
  const Json* on = answer->find("expires_on");  // expiresOn is local time
  std::int64_t life_ms = 0;
  if (on != nullptr && on->is_integer()) life_ms = std::max<std::int64_t>(0, on->as_integer() * 1000 - now);
  return AccessToken{std::move(*token), std::min<std::int64_t>(life_ms, std::int64_t{7} * 24 * 3600 * 1000)};
}

AccessToken az_token(const AzCommand& command) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw error_from_errno(errno, "a pipe");
  const Fd in(ends[0]);
  Fd out(ends[1]);
  Child child(command, out.get());
  out.reset();
  const std::int64_t deadline = boot_ms_now() + command.timeout_ms;
  std::string text(kMaxAnswerBytes + 1, '\0');
  std::size_t got = 0;
  while (got < text.size()) {
    pollfd ready{in.get(), POLLIN, 0};
    const std::int64_t left = deadline - boot_ms_now();
    if (left <= 0 || poll(&ready, 1, static_cast<int>(std::min<std::int64_t>(left, 1000))) < 0) break;
    if (ready.revents == 0) continue;
    const ssize_t n = read(in.get(), text.data() + got, text.size() - got);
    if (n <= 0) break;
    got += static_cast<std::size_t>(n);
  }
  text.resize(got);
  const SecretString answer(std::move(text));
  if (got > kMaxAnswerBytes) throw unavailable(command.program + " gives an answer without an end");
  const auto status = child.status_by(deadline);
  if (!status)
    throw unavailable(fmt::format("{} has not answered in {} s", command.program, command.timeout_ms / 1000));
  if (*status != 0) throw unavailable(fmt::format("{} failed with exit status {}", command.program, *status));
  auto token = parse_az_answer(answer.reveal(), unix_ms_now());
  if (!token) throw unavailable(command.program + " gave no access token");
  return std::move(*token);
}

}  // namespace tb::azure
