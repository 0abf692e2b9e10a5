#include "cli/step_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "base/fs.h"
#include "cli/interrupt.h"

namespace tb::cli {
namespace {

constexpr std::size_t kMaxOutputBytes = std::size_t{4} << 20;
constexpr int kLookMs = 100;
constexpr int kNotStarted = 127;

[[noreturn]] void become(char* const* argv, int output_fd, int inherited_fd, pid_t parent) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(128 + SIGTERM);
  std::signal(SIGTTOU, SIG_IGN);  // of a background group that shows its progress
  const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(output_fd, STDOUT_FILENO) < 0) _exit(kNotStarted);
  if (inherited_fd >= 0) fcntl(inherited_fd, F_SETFD, 0);
  execv("/proc/self/exe", argv);
  _exit(kNotStarted);
}

class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ <= 0) return;
    kill(-pid_, SIGKILL);
    wait();
  }
  void pass_on_interrupt() {
    if (told_ || !interrupt_flag().load(std::memory_order_relaxed)) return;
    told_ = true;
    kill(-pid_, SIGTERM);
  }
  int wait() {
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) pass_on_interrupt();
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  pid_t pid_;
  bool told_ = false;
};

std::string read_output(int fd, Child& child) {
  std::string output;
  char buffer[65536];
  while (true) {
    pollfd poll_for{fd, POLLIN, 0};
    child.pass_on_interrupt();
    if (poll(&poll_for, 1, kLookMs) <= 0) continue;
    const ssize_t got = read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return output;
    output.append(buffer, static_cast<std::size_t>(got));
    if (output.size() > kMaxOutputBytes) throw Error("answer_too_large", "a step says more than it may");
  }
}

}  // namespace

StepEnd run_step(const std::vector<std::string>& arguments, int inherited_fd) {
  std::vector<char*> argv;
  std::string program = "trustbridge";
  argv.push_back(program.data());
  std::vector<std::string> copies = arguments;
  for (std::string& argument : copies) argv.push_back(argument.data());
  argv.push_back(nullptr);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw error_from_errno(errno, "a pipe to a step");
  const Fd reading(ends[0]);
  Fd writing(ends[1]);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) throw error_from_errno(errno, "a process for a step");
  if (pid == 0) become(argv.data(), writing.get(), inherited_fd, parent);
  setpgid(pid, pid);
  Child child(pid);
  writing.reset();
  StepEnd end;
  end.output = read_output(reading.get(), child);
  end.exit_status = child.wait();
  return end;
}

}  // namespace tb::cli
