#include "sentinel/runtime/confined_child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "sentinel/runtime/confined_init.h"

namespace tb::sentinel::runtime {
namespace {

constexpr int kStartMs = 60'000;
constexpr const char* kOwnProgram = "/proc/self/exe";

/// In the child, until it executes init: async-signal-safe calls only. Says over the control socket what went wrong.
[[noreturn]] void become_init(const ConfinedStart& start, int control, int plan, char* const* argv, char* const* envp) {
  const auto check = [&](bool ok, const char* what) {
    if (ok) return;
    (void)!write(control, what, std::strlen(what));
    _exit(127);
  };
  // Moved up first, so that no number that is put in place is one that is still needed.
  const int high = 32;
  const int moved[] = {fcntl(control, F_DUPFD, high), fcntl(plan, F_DUPFD, high), fcntl(start.output, F_DUPFD, high),
                       fcntl(start.errors < 0 ? start.output : start.errors, F_DUPFD, high),
                       start.input < 0 ? -1 : fcntl(start.input, F_DUPFD, high)};
  const int null = open("/dev/null", O_RDONLY);
  check(null >= 0 && dup2(null, 0) == 0 && dup2(moved[2], 1) == 1 && dup2(moved[3], 2) == 2 &&
            dup2(moved[0], kControlFd) == kControlFd && dup2(moved[1], kPlanFd) == kPlanFd,
        "!descriptors");
  const bool has_input = moved[4] >= 0;
  check((!has_input || dup2(moved[4], kInputFd) == kInputFd) &&
            close_range(static_cast<unsigned>(has_input ? kInputFd + 1 : kInputFd), ~0U, 0) == 0,
        "!descriptors");
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  execve(start.program.empty() ? kOwnProgram : start.program.c_str(), argv, envp);
  constexpr const char* kNoProgram = "!the sentinel's own program cannot be executed again";
  (void)!write(kControlFd, kNoProgram, std::strlen(kNoProgram));
  _exit(127);
}

Fd plan_file(const ConfinePlan& plan) {
  Fd fd(memfd_create("plan", MFD_CLOEXEC));
  if (!fd) throw error_from_errno(errno, "memfd_create");
  value_or_throw(pwrite_full(fd.get(), as_bytes(plan.to_json().dump()), 0, "plan"));
  return fd;
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (const std::string& text : texts) out.push_back(const_cast<char*>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

/// The next message of init; throws what it says has failed.
std::string word_of(int control) {
  std::string text(1024, '\0');
  pollfd wait{control, POLLIN, 0};
  const ssize_t got = poll(&wait, 1, kStartMs) == 1 ? recv(control, text.data(), text.size(), 0) : -1;
  if (got <= 0) throw Error("runtime_failed", "the confined start ended without a word");
  text.resize(static_cast<std::size_t>(got));
  if (text[0] == kFailed) throw Error("runtime_failed", text.substr(1));
  return text;
}

void tell_go(int control) {
  (void)send(control, &kGo, 1, MSG_NOSIGNAL);
}

/// Leads init from its execution to its runtime's. `pid` is always the process to be waited for.
void lead(int control, const ConfinePlan& plan, pid_t& pid) {
  tell_go(control);
  if (plan.has(CLONE_NEWPID)) {
    const std::string text = word_of(control);
    pid_t inner = -1;
    if (text[0] != kMoved || text.size() != 1 + sizeof inner) throw Error("runtime_failed", "init said something else");
    std::memcpy(&inner, text.data() + 1, sizeof inner);
    waitpid(std::exchange(pid, inner), nullptr, 0);
    tell_go(control);
  }
  if (word_of(control)[0] != kReady) throw Error("runtime_failed", "init said something else");
}

}  // namespace

ConfinedChild start_confined(const ConfinedStart& start) {
  ConfinePlan plan = start.confinement.plan;
  for (const std::string& device : plan.devices) {
    struct stat info{};
    if (stat(device.c_str(), &info) != 0 || !S_ISCHR(info.st_mode)) {
      throw Error("runtime_failed", fmt::format("{} is no device that a runtime can have", device));
    }
    if (info.st_gid != 0 && std::ranges::find(plan.groups, info.st_gid) == plan.groups.end())
      plan.groups.push_back(info.st_gid);
  }
  const Fd plan_fd = plan_file(plan);
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) throw error_from_errno(errno, "socketpair");
  Fd ours(ends[0]);
  Fd theirs(ends[1]);
  const std::vector<std::string> arguments = {"trustbridge-sentinel", kInitVerb};
  const std::vector<char*> argv = pointers(arguments);
  const std::vector<char*> envp = pointers(start.environment);
  pid_t pid = fork();
  if (pid < 0) throw error_from_errno(errno, "fork");
  if (pid == 0) become_init(start, theirs.get(), plan_fd.get(), argv.data(), envp.data());
  theirs.reset();
  std::unique_ptr<ResourceGroup> resources;  // gone after the process, as a group that holds one cannot be removed
  try {
    if (!start.confinement.group_directory.empty()) {
      resources = std::make_unique<ResourceGroup>(start.confinement.group_directory, start.confinement.memory_bytes,
                                                  plan.processes);
      resources->take(pid);
    }
    lead(ours.get(), plan, pid);
    return {pid, std::move(ours), std::move(resources)};
  } catch (const Error&) {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    throw;
  }
}

}  // namespace tb::sentinel::runtime
