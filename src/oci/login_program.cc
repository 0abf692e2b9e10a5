// Running docker-credential-<name>: the one program that this folder starts.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>

#include "base/clock.h"
#include "base/fs.h"
#include "oci/auth_file.h"

extern char** environ;

namespace tb::oci {
namespace {

constexpr std::int64_t kLimitMs = 30'000;
constexpr std::size_t kMaxAnswerBytes = 65536;

// Ended and waited for, whatever happens.
class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid) {}
  ~Child() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  int wait() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  pid_t pid_;
};

pid_t start(const std::string& program, int in, int out) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  std::string name = program, verb = "get";
  std::array<char*, 3> arguments{name.data(), verb.data(), nullptr};
  pid_t pid = -1;
  const int fault = ::posix_spawnp(&pid, program.c_str(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (fault != 0) throw Error("registry_denied", program + " cannot be run", error_from_errno(fault, program));
  return pid;
}

std::string read_answer(int fd, const std::string& program) {
  std::string out;
  const std::int64_t end_ms = boot_ms_now() + kLimitMs;
  for (;;) {
    pollfd wait{fd, POLLIN, 0};
    const std::int64_t left_ms = end_ms - boot_ms_now();
    if (left_ms <= 0) throw Error("registry_denied", program + " does not answer");
    if (::poll(&wait, 1, static_cast<int>(left_ms)) <= 0) continue;
    std::array<char, 4096> piece;
    const ssize_t got = ::read(fd, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return out;
    out.append(piece.data(), static_cast<std::size_t>(got));
    wipe(piece.data(), piece.size());
    if (out.size() > kMaxAnswerBytes) throw Error("registry_denied", program + " says too much");
  }
}

}  // namespace

std::optional<RegistryLogin> ask_helper(const std::string& helper, const std::string& registry) {
  const std::string program = "docker-credential-" + helper;
  // A socket, as a write into a pipe that the program has closed would be a signal.
  std::array<int, 2> in{}, out{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in.data()) != 0) throw error_from_errno(errno, program);
  Fd to_child(in[0]), child_in(in[1]);
  if (::pipe2(out.data(), O_CLOEXEC) != 0) throw error_from_errno(errno, program);
  const Fd from_child(out[0]);
  Fd child_out(out[1]);
  Child child(start(program, child_in.get(), child_out.get()));
  child_in.reset();
  child_out.reset();
  const std::string asked = auth_key(registry) + "\n";
  if (::send(to_child.get(), asked.data(), asked.size(), MSG_NOSIGNAL) < 0 && errno != EPIPE)
    throw error_from_errno(errno, program);
  ::shutdown(to_child.get(), SHUT_WR);
  const SecretString answer(read_answer(from_child.get(), program));
  if (child.wait() != 0) return std::nullopt;  // "credentials not found", as they say it
  auto login = parse_helper_answer(answer);
  if (!login) throw Error("registry_denied", program + " gave no credential", std::move(login.error()));
  return std::move(*login);
}

}  // namespace tb::oci
