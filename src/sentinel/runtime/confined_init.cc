#include "sentinel/runtime/confined_init.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/close_range.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/fs.h"
#include "sentinel/runtime/command.h"
#include "sentinel/runtime/confined_root.h"
#include "sentinel/runtime/landlock.h"
#include "sentinel/runtime/privileges.h"
#include "sentinel/runtime/seccomp_filter.h"
#include "sentinel/runtime/socket_address.h"

namespace tb::sentinel::runtime {
namespace {

constexpr std::size_t kMaxPlanBytes = std::size_t{1} << 20;
constexpr const char* kOomScore = "/proc/self/oom_score_adj";

[[noreturn]] void failed(std::string_view what) {
  throw Error("runtime_failed", fmt::format("confinement: {}: {}", what, std::strerror(errno)));
}

ConfinePlan read_plan() {
  std::string text(kMaxPlanBytes, '\0');
  const std::size_t bytes = value_or_throw(
      pread_full(kPlanFd, MutableBytes(reinterpret_cast<std::uint8_t*>(text.data()), text.size()), 0, "plan"));
  text.resize(bytes);
  return value_or_throw(ConfinePlan::parse(text));
}

void bring_up_loopback() {
  const Fd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::memcpy(request.ifr_name, "lo", 3);
  if (!fd || ioctl(fd.get(), SIOCGIFFLAGS, &request) != 0) failed("loopback");
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  if (ioctl(fd.get(), SIOCSIFFLAGS, &request) != 0) failed("loopback");
}

/// When memory runs out the runtime goes before the sentinel. Where that cannot be said, it is a wish unfulfilled.
void offer_to_oom() {
  if (const auto fd = open_file(kOomScore, O_WRONLY)) (void)write_full(fd->get(), as_bytes("500"), kOomScore);
}

LandlockRules landlock_rules(const ConfinePlan& plan) {
  LandlockRules rules{.abi = plan.landlock_abi, .read = plan.system_paths, .sockets = plan.socket_directory};
  rules.read.insert(rules.read.end(), plan.read_paths.begin(), plan.read_paths.end());
  rules.read.insert(rules.read.end(), {plan.model_path, "/proc", "/sys"});
  rules.devices.assign(std::begin(kHarmlessDevices), std::end(kHarmlessDevices));
  rules.devices.insert(rules.devices.end(), plan.devices.begin(), plan.devices.end());
  if (plan.has(CLONE_NEWNS)) {
    rules.read.insert(rules.read.end(), {"/etc", "/dev"});
    rules.write.assign(std::begin(kWritableDirectories), std::end(kWritableDirectories));
  } else {
    // Of the machine's own /etc, what the C library looks at.
    rules.read.insert(rules.read.end(), {"/etc/passwd", "/etc/group", "/etc/hosts", "/etc/nsswitch.conf"});
  }
  rules.confine_tcp = !plan.has(CLONE_NEWNET);
  rules.port = plan.address.is_unix() ? 0 : plan.address.port;
  return rules;
}

std::vector<std::string> environment_of(const ConfinePlan& plan) {
  std::vector<std::string> out;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const bool place = text.starts_with("HOME=") || text.starts_with("TMPDIR=") || text.starts_with("XDG_");
    if (!place || !plan.has(CLONE_NEWNS)) out.emplace_back(text);
  }
  if (plan.has(CLONE_NEWNS)) {
    out.push_back(std::string("HOME=") + kRuntimeHome);
    out.emplace_back("TMPDIR=/tmp");
  }
  return out;
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (const std::string& text : texts) out.push_back(const_cast<char*>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

/// In the forked process: becomes the runtime or throws.
[[noreturn]] void become_runtime(const ConfinePlan& plan, bool has_input) {
  if (setsid() < 0) failed("session");
  drop_bounding_set();
  if (plan.change_user) become_user(plan);
  drop_capabilities();
  // Here and not sooner: a change of the user clears it.
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) failed("death signal");
  if (plan.has(CLONE_NEWNS) && chdir(kRuntimeHome) != 0) failed("home");
  const std::vector<std::string> environment = environment_of(plan);
  const std::string program = find_program(plan.arguments.front(), environment);
  if (access(program.c_str(), X_OK) != 0) {
    const int error = errno;
    throw Error("runtime_failed",
                fmt::format("{} could not be started: {}{}", program, std::strerror(error),
                            error == ENOENT ? "; a confined runtime sees only what TB_RUNTIME_READ_PATHS names" : ""));
  }
  const Fd input(open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!input || dup2(input.get(), 0) != 0) failed("input");
  if (has_input) {
    if (dup2(kInputFd, 3) != 3) failed("key");
  } else {
    close(3);
  }
  if (close_range(4, ~0U, CLOSE_RANGE_CLOEXEC) != 0) failed("descriptors");
  // What the sentinel ignores is not the runtime's to ignore.
  for (int number = 1; number < NSIG; ++number) signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  umask(077);
  apply_limits(plan);
  std::vector<std::string> arguments = plan.arguments;
  const std::vector<char*> argv = pointers(arguments);
  const std::vector<char*> envp = pointers(environment);
  if (plan.landlock_abi > 0) apply_landlock(landlock_rules(plan));
  if (plan.seccomp) apply_seccomp_filter(plan.has(CLONE_NEWNET));
  execve(program.c_str(), argv.data(), envp.data());
  throw Error("runtime_failed", fmt::format("{} could not be started: {}", program, std::strerror(errno)));
}

/// Forks; returns when the runtime has been executed, or throws what kept it from that.
pid_t start_runtime(const ConfinePlan& plan, bool has_input) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) failed("pipe");
  Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  const pid_t pid = fork();
  if (pid < 0) failed("fork");
  if (pid == 0) {
    // Above every descriptor that is put in place; closed by the execution.
    const int report = fcntl(write_end.get(), F_DUPFD_CLOEXEC, 10);
    try {
      become_runtime(plan, has_input);
    } catch (const Error& error) {
      (void)!write(report, error.message.data(), error.message.size());
    }
    _exit(127);
  }
  write_end.reset();
  char text[512];
  ssize_t got = 0;
  do {
    got = read(read_end.get(), text, sizeof text);
  } while (got < 0 && errno == EINTR);
  if (got > 0) {
    waitpid(pid, nullptr, 0);
    throw Error("runtime_failed", std::string(text, static_cast<std::size_t>(got)));
  }
  return pid;
}

/// From here on init has no more rights than the runtime, and the runtime cannot look into it.
void give_up_rights(const ConfinePlan& plan) {
  drop_bounding_set();
  if (plan.change_user) become_user(plan);
  drop_capabilities();
  if (prctl(PR_SET_DUMPABLE, 0) != 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) failed("init");
  if (plan.seccomp) apply_seccomp_filter(plan.has(CLONE_NEWNET));
}

void send_socket(const RuntimeAddress& address) {
  SocketAddress target;
  Fd fd;
  int error = EINVAL;
  if (resolve(address, target)) {
    fd = Fd(socket(target.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    error = fd ? 0 : errno;
    if (fd && connect(fd.get(), target.get(), target.bytes) != 0 && errno != EINPROGRESS) error = errno;
  }
  char kind = error == 0 ? kSocket : kNoSocket;
  iovec parts[2] = {{&kind, 1}, {&error, sizeof error}};
  alignas(cmsghdr) char room[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  if (error == 0) {
    message.msg_control = room;
    message.msg_controllen = sizeof room;
    cmsghdr* head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    const int number = fd.get();
    std::memcpy(CMSG_DATA(head), &number, sizeof number);
  }
  sendmsg(kControlFd, &message, MSG_NOSIGNAL);
}

/// Children of ours by number; without a namespace of our own we are at least whom orphans come to.
void kill_children() {
  for (int round = 0; round < 1000; ++round) {
    const std::string path = fmt::format("/proc/self/task/{}/children", getpid());
    const auto listed = read_small_file(path);
    std::string_view rest = listed ? std::string_view(*listed) : std::string_view();
    if (rest.empty()) return;
    while (!rest.empty()) {
      const std::size_t end = std::min(rest.find(' '), rest.size());
      if (const int pid = std::atoi(std::string(rest.substr(0, end)).c_str()); pid > 0) kill(pid, SIGKILL);
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    while (waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    poll(nullptr, 0, 5);
  }
}

int status_of(int wait_status) {
  return WIFSIGNALED(wait_status) ? kSignalBase + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

/// Until the runtime ends or the sentinel lets go; what is left of it ends with us.
int serve(const ConfinePlan& plan, pid_t runtime, const Fd& signals) {
  const bool own_pids = plan.has(CLONE_NEWPID);
  std::optional<int> ended;
  while (!ended) {
    pollfd wait[2] = {{kControlFd, POLLIN, 0}, {signals.get(), POLLIN, 0}};
    if (poll(wait, 2, -1) < 0) continue;
    if (wait[0].revents != 0) {
      char request = 0;
      const ssize_t got = recv(kControlFd, &request, 1, 0);
      if (got <= 0) break;
      if (request == kConnect) send_socket(plan.address);
    }
    if (wait[1].revents == 0) continue;
    signalfd_siginfo info{};
    if (read(signals.get(), &info, sizeof info) != sizeof info) continue;
    if (info.ssi_signo == SIGINT) break;
    if (info.ssi_signo == SIGTERM) kill(own_pids ? -1 : -runtime, SIGTERM);
    int status = 0;
    for (pid_t pid = waitpid(-1, &status, WNOHANG); pid > 0; pid = waitpid(-1, &status, WNOHANG)) {
      if (pid == runtime) ended = status_of(status);
    }
  }
  if (!own_pids) {
    kill(-runtime, SIGKILL);
    kill_children();
  }
  return ended.value_or(kSignalBase + SIGKILL);
}

bool told_to_go() {
  char go = 0;
  return recv(kControlFd, &go, 1, 0) == 1 && go == kGo;
}

void write_map(const char* path, const std::string& text) {
  const Fd fd = value_or_throw(open_file(path, O_WRONLY));
  if (write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) failed(path);
}

/// This user and group as themselves: an ordinary user may put nobody else into a namespace.
void enter_namespaces(std::uint64_t flags) {
  const uid_t uid = geteuid();
  const gid_t gid = getegid();
  if (unshare(static_cast<int>(flags)) != 0) failed("namespaces");
  if ((flags & CLONE_NEWUSER) == 0) return;
  write_map("/proc/self/setgroups", "deny");
  write_map("/proc/self/uid_map", fmt::format("{0} {0} 1\n", uid));
  write_map("/proc/self/gid_map", fmt::format("{0} {0} 1\n", gid));
}

/// Goes on as the first process of the new namespace. The sentinel is its parent and can wait for it: when that
/// returns, the kernel has ended every process in there.
void become_first_process() {
  const long made = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, nullptr, nullptr, nullptr, 0UL);
  if (made < 0) failed("first process");
  if (made == 0) return;
  const auto pid = static_cast<pid_t>(made);
  char message[1 + sizeof pid] = {kMoved};
  std::memcpy(message + 1, &pid, sizeof pid);
  (void)send(kControlFd, message, sizeof message, MSG_NOSIGNAL);
  _exit(0);
}

int run() {
  // Whether or not there is one, the number stays taken: nothing that is opened later may be mistaken for it.
  const bool has_input = fcntl(kInputFd, F_GETFD) >= 0;
  if (!has_input && dup2(0, kInputFd) != kInputFd) failed("descriptors");
  if (!told_to_go()) return 127;
  const ConfinePlan plan = read_plan();
  umask(022);  // what is made for the runtime is for it to read, whatever the sentinel's own files are
  enter_namespaces(plan.namespaces);
  if (plan.has(CLONE_NEWPID)) {
    become_first_process();
    if (!told_to_go()) return 127;
  }
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) failed("death signal");
  (void)setsid();
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  const Fd signals(signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals) failed("signals");
  if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) failed("reaper");
  offer_to_oom();
  if (plan.has(CLONE_NEWNET)) bring_up_loopback();
  if (plan.has(CLONE_NEWUTS) && sethostname("runtime", 7) != 0) failed("name");
  if (plan.has(CLONE_NEWNS)) enter_confined_root(plan);
  const pid_t runtime = start_runtime(plan, has_input);
  give_up_rights(plan);
  close(kPlanFd);
  close(kInputFd);
  if (send(kControlFd, &kReady, 1, MSG_NOSIGNAL) != 1) failed("sentinel");
  return serve(plan, runtime, signals);
}

}  // namespace

void confined_init() {
  try {
    _exit(run());
  } catch (const Error& error) {
    const std::string text = kFailed + error.message.substr(0, 1000);
    (void)send(kControlFd, text.data(), text.size(), MSG_NOSIGNAL);
    _exit(127);
  }
}

}  // namespace tb::sentinel::runtime
