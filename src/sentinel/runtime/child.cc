#include "sentinel/runtime/child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <sched.h>
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
#include "sentinel/runtime/command.h"
#include "sentinel/runtime/confined_child.h"
#include "sentinel/runtime/confined_init.h"

namespace tb::sentinel::runtime {
namespace {

constexpr std::int64_t kInitEndMs = 10'000;

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

/// `text` at its beginning, in memory: nobody has to write while the child reads. Invalid for none.
Fd input_of(std::string_view text) {
  if (text.empty()) return Fd();
  Fd fd(memfd_create("input", MFD_CLOEXEC));
  if (!fd) throw error_from_errno(errno, "memfd_create");
  value_or_throw(pwrite_full(fd.get(), as_bytes(text), 0, "input"));
  return fd;
}

/// In the child: never returns; tells errno through `report` if it could not become the program.
[[noreturn]] void become(const char* program, char* const* arguments, char* const* environment, const ChildSpec& spec,
                         int input, int key, int output, int report, pid_t parent) {
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
  const int moved_key = key < 0 ? -1 : fcntl(key, F_DUPFD, 32);
  check(dup2(report, 4) == 4 && fcntl(4, F_SETFD, FD_CLOEXEC) == 0);
  report = 4;
  if (moved_key < 0) {
    close(3);
  } else {
    check(dup2(moved_key, 3) == 3);
  }
  check(close_range(5, ~0U, 0) == 0);
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
  const Fd input = input_of(spec.input);
  const Fd key = spec.api_key ? input_of(spec.api_key->reveal()) : Fd();
  Pipe output = make_pipe();
  if (spec.confinement) {
    ConfinedChild child = start_confined({.confinement = *spec.confinement,
                                          .environment = spec.environment,
                                          .program = spec.init_program,
                                          .output = output.write.get(),
                                          .errors = spec.errors_apart ? 2 : -1,
                                          .input = key.get()});
    confined_ = true;
    own_pids_ = spec.confinement->plan.has(CLONE_NEWPID);
    pid_ = child.pid;
    control_ = std::move(child.control);
    resources_ = std::move(child.resources);
  } else {
    start_group(spec, output.write.get(), input.get(), key.get());
  }
  output_ = std::move(output.read);
  fcntl(output_.get(), F_SETFL, O_NONBLOCK);
}

void Child::start_group(const ChildSpec& spec, int output, int input, int key) {
  const std::string program = find_program(spec.arguments.front(), spec.environment);
  const std::vector<char*> arguments = pointers(spec.arguments);
  const std::vector<char*> environment = pointers(spec.environment);
  Pipe report = make_pipe();
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ < 0) throw error_from_errno(errno, "fork");
  if (pid_ == 0) {
    become(program.c_str(), arguments.data(), environment.data(), spec, input, key, output, report.write.get(), parent);
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
}

Child::~Child() {
  end(0);
}

std::optional<std::string> Child::ended() {
  if (ending_ || pid_ < 0) return ending_;
  int status = 0;
  const pid_t got = waitpid(pid_, &status, WNOHANG);
  if (got == pid_) {
    const bool relayed = confined_ && WIFEXITED(status) && WEXITSTATUS(status) > kSignalBase;
    ending_ = WIFSIGNALED(status) ? fmt::format("signal {}", WTERMSIG(status))
              : relayed           ? fmt::format("signal {}", WEXITSTATUS(status) - kSignalBase)
                                  : fmt::format("exit {}", WEXITSTATUS(status));
  }
  return ending_;
}

void Child::end(std::int64_t grace_ms) {
  if (pid_ < 0) return;
  if (confined_) {
    end_confined(grace_ms);
  } else {
    end_group(grace_ms);
  }
  pid_ = -1;
}

void Child::end_confined(std::int64_t grace_ms) {
  const auto wait_until = [this](std::int64_t deadline) {
    while (!ended()) {
      if (boot_ms_now() >= deadline) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return true;
  };
  // Init is waited for by us alone, so its number is not another's as long as it has not been.
  if (ended()) return;
  kill(pid_, SIGTERM);
  if (grace_ms > 0 && wait_until(boot_ms_now() + grace_ms)) return;
  // Without a process namespace it is init that must find and end all others: it does when told to stop.
  if (!own_pids_) {
    kill(pid_, SIGINT);
    if (wait_until(boot_ms_now() + kInitEndMs)) return;
  }
  // The kernel ends every process of the namespace, and init counts as ended when the last is gone.
  kill(pid_, SIGKILL);
  while (!wait_until(boot_ms_now() + kInitEndMs)) {
  }
}

void Child::end_group(std::int64_t grace_ms) {
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
}

}  // namespace tb::sentinel::runtime
