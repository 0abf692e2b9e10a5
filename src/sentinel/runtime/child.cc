#include "sentinel/runtime/child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "base/clock.h"
#include "base/error.h"

namespace tb::sentinel::runtime {
namespace {

struct Pipe {
  Fd read, write;
};

Pipe make_pipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw error_from_errno(errno, "pipe");
  return {Fd(ends[0]), Fd(ends[1])};
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  out.reserve(texts.size() + 1);
  for (const std::string& text : texts) out.push_back(const_cast<char*>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

/// The program's path, found before the fork: after it only async-signal-safe calls may be made.
std::string find_program(const std::string& name, const std::vector<std::string>& environment) {
  if (name.find('/') != std::string::npos) return name;
  std::string_view path = "/usr/local/bin:/usr/bin:/bin";
  for (const std::string& entry : environment) {
    if (entry.starts_with("PATH=")) path = std::string_view(entry).substr(5);
  }
  while (!path.empty()) {
    const std::size_t end = std::min(path.find(':'), path.size());
    std::string candidate = std::string(path.substr(0, end)) + "/" + name;
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  throw Error("runtime_failed", fmt::format("program {} was not found in PATH", name));
}

/// `text` at its beginning, in memory: nobody has to write while the child reads. Invalid for none.
Fd input_of(const std::string& text) {
  if (text.empty()) return Fd();
  Fd fd(memfd_create("input", MFD_CLOEXEC));
  if (!fd) throw error_from_errno(errno, "memfd_create");
  value_or_throw(pwrite_full(fd.get(), as_bytes(text), 0, "input"));
  return fd;
}

/// In the child: never returns; tells errno through `report` if it could not become the program.
[[noreturn]] void become(const char* program, char* const* arguments, char* const* environment, const ChildSpec& spec,
                         int input, int output, int report, pid_t parent) {
  const auto check = [&](bool ok) {
    if (ok) return;
    const int error = errno;
    (void)!write(report, &error, sizeof error);
    _exit(127);
  };
  check(setsid() >= 0);
  if (input < 0) input = open("/dev/null", O_RDONLY);
  check(input >= 0 && dup2(input, 0) == 0 && dup2(output, 1) == 1);
  check(spec.errors_apart || dup2(output, 2) == 2);
  check(dup2(report, 3) == 3 && fcntl(3, F_SETFD, FD_CLOEXEC) == 0);
  report = 3;
  check(close_range(4, ~0U, 0) == 0);
  const rlimit none{0, 0};
  check(setrlimit(RLIMIT_CORE, &none) == 0);
  if (geteuid() == 0 && spec.uid != 0) {
    check(setgroups(0, nullptr) == 0 && setgid(spec.uid) == 0 && setuid(spec.uid) == 0);
  }
  check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  check(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
  if (getppid() != parent) _exit(127);
  sigset_t all;
  sigemptyset(&all);
  check(sigprocmask(SIG_SETMASK, &all, nullptr) == 0);
  signal(SIGPIPE, SIG_DFL);
  umask(077);
  execve(program, arguments, environment);
  check(false);
  _exit(127);
}

}  // namespace

bool group_lives(pid_t group) {
  return kill(-group, 0) == 0 || errno == EPERM;
}

Child::Child(const ChildSpec& spec) {
  const std::string program = find_program(spec.arguments.front(), spec.environment);
  const std::vector<char*> arguments = pointers(spec.arguments);
  const std::vector<char*> environment = pointers(spec.environment);
  const Fd input = input_of(spec.input);
  Pipe output = make_pipe();
  Pipe report = make_pipe();
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ < 0) throw error_from_errno(errno, "fork");
  if (pid_ == 0) {
    become(program.c_str(), arguments.data(), environment.data(), spec, input.get(), output.write.get(),
           report.write.get(), parent);
  }
  report.write.reset();
  int failure = 0;
  ssize_t got = 0;
  do {
    got = read(report.read.get(), &failure, sizeof failure);
  } while (got < 0 && errno == EINTR);
  if (got == sizeof failure) {
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
    throw Error("runtime_failed", fmt::format("{} could not be started: {}", program, std::strerror(failure)));
  }
  output_ = std::move(output.read);
  fcntl(output_.get(), F_SETFL, O_NONBLOCK);
}

Child::~Child() {
  end(0);
}

std::optional<std::string> Child::ended() {
  if (ending_ || pid_ < 0) return ending_;
  int status = 0;
  const pid_t got = waitpid(pid_, &status, WNOHANG);
  if (got == pid_) {
    ending_ =
        WIFSIGNALED(status) ? fmt::format("signal {}", WTERMSIG(status)) : fmt::format("exit {}", WEXITSTATUS(status));
  }
  return ending_;
}

void Child::end(std::int64_t grace_ms) {
  if (pid_ < 0) return;
  if (grace_ms > 0) kill(-pid_, SIGTERM);
  const std::int64_t deadline = boot_ms_now() + grace_ms;
  const auto lives = [this] {
    const bool running = !ended();
    // As process 1 of a container we inherit what the runtime has started: it stays in the group until it is waited
    // for.
    while (!running && waitpid(-pid_, nullptr, WNOHANG) > 0) {
    }
    return running || group_lives(pid_);
  };
  while (boot_ms_now() < deadline && lives()) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  // What the runtime left behind in its group is ended too, and with the group's last process its mappings are gone.
  for (int round = 0; round < 500 && lives(); ++round) {
    kill(-pid_, SIGKILL);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  pid_ = -1;
}

}  // namespace tb::sentinel::runtime
