// A runtime that wants the weights out, and what else it should not have. One JSON line for each attempt:
//   {"attempt":"tcp4_host","error":"ENETUNREACH"}    error "" means that it got what it wanted
//
//   hostile_runtime NAME=VALUE...    the world outside, as attempts.h reads it; then:
//     serve=PORT | serve_unix=PATH   answers every request with 200 after the attempts, as a runtime would
//     fill=BYTES                     also writes to /tmp until it is refused, and says how much that was
//     forks=N                        also forks until it is refused, N times at most
//     daemon=SECONDS daemon_name=X   also leaves a daemon behind, in a session of its own
//     only=daemon|serve              makes no attempts
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "tests/hostile/attempts.h"

namespace {

using namespace hostile;

constexpr int kPatienceMs = 10'000;

void say(const std::string& attempt, const std::string& error) {
  std::printf("{\"attempt\":\"%s\",\"error\":\"%s\"}\n", attempt.c_str(), error.c_str());
  std::fflush(stdout);
}

std::string error_name(int error) {
  const char* name = error == 0 ? "" : strerrorname_np(error);
  return name == nullptr ? std::to_string(error) : name;
}

void make(const Named& named) {
  int ends[2];
  if (pipe(ends) != 0) std::abort();
  setenv("HOSTILE_REPORT", std::to_string(ends[1]).c_str(), 1);
  const pid_t pid = fork();
  if (pid == 0) {
    close(ends[0]);
    const int error = named.attempt();
    (void)!write(ends[1], &error, sizeof error);
    _exit(0);
  }
  close(ends[1]);
  int error = 0;
  pollfd wait{ends[0], POLLIN, 0};
  const bool answered =
      pid > 0 && poll(&wait, 1, kPatienceMs) == 1 && read(ends[0], &error, sizeof error) == sizeof error;
  close(ends[0]);
  if (pid > 0) {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }
  say(named.name, answered ? error_name(error) : "ENDED");
}

void fill(std::size_t most) {
  const int fd = open("/tmp/filled", O_CREAT | O_WRONLY, 0600);
  static char block[65536];
  std::memset(block, 'w', sizeof block);
  std::size_t written = 0;
  int error = 0;
  while (written < most) {
    const ssize_t put = write(fd, block, sizeof block);
    if (put <= 0) {
      error = errno;
      break;
    }
    written += static_cast<std::size_t>(put);
  }
  close(fd);
  unlink("/tmp/filled");
  say("fill_" + std::to_string(written), error_name(error));
}

void fork_many(int most) {
  int made = 0;
  int error = 0;
  int gate[2];
  if (pipe(gate) != 0) std::abort();
  for (; made < most; ++made) {
    const pid_t pid = fork();
    if (pid == 0) {
      close(gate[1]);
      char byte = 0;
      (void)!read(gate[0], &byte, 1);
      _exit(0);
    }
    if (pid < 0) {
      error = errno;
      break;
    }
  }
  close(gate[1]);
  while (wait(nullptr) > 0) {
  }
  say("forks_" + std::to_string(made), error_name(error));
}

/// Two forks and a session of its own: what a process does that wants to be nobody's.
void leave_daemon(unsigned seconds, const std::string& name) {
  if (fork() == 0) {
    setsid();
    prctl(PR_SET_PDEATHSIG, 0);
    for (int number : {SIGTERM, SIGHUP, SIGINT}) signal(number, SIG_IGN);
    if (fork() != 0) _exit(0);
    prctl(PR_SET_NAME, name.c_str());
    close(1);
    close(2);
    sleep(seconds);
    _exit(0);
  }
  wait(nullptr);
  say("daemon", "");
}

[[noreturn]] void serve(int port, const std::string& path) {
  const int listener = socket(path.empty() ? AF_INET : AF_UNIX, SOCK_STREAM, 0);
  const int on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(static_cast<std::uint16_t>(port));
  v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  sockaddr_un local{};
  local.sun_family = AF_UNIX;
  std::strncpy(local.sun_path, path.c_str(), sizeof local.sun_path - 1);
  const int bound = path.empty() ? bind(listener, reinterpret_cast<sockaddr*>(&v4), sizeof v4)
                                 : bind(listener, reinterpret_cast<sockaddr*>(&local), sizeof local);
  if (bound != 0 || listen(listener, 64) != 0) say("serve", error_name(errno));
  while (true) {
    const int fd = accept(listener, nullptr, nullptr);
    if (fd < 0) continue;
    char buffer[4096];
    (void)!read(fd, buffer, sizeof buffer);
    constexpr std::string_view kAnswer =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
    (void)!write(fd, kAnswer.data(), kAnswer.size());
    close(fd);
  }
}

}  // namespace

int main(int argc, char** argv) {
  World world;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const std::size_t equals = argument.find('=');
    world[argument.substr(0, equals)] = argument.substr(equals + 1);
  }
  signal(SIGPIPE, SIG_IGN);
  if (!world.contains("only")) {
    for (const auto& list : {network_attempts(world), file_attempts(world), kernel_attempts(world)}) {
      for (const Named& named : list) make(named);
    }
  }
  if (world.contains("fill")) fill(std::stoull(world["fill"]));
  if (world.contains("forks")) fork_many(std::stoi(world["forks"]));
  if (world.contains("daemon"))
    leave_daemon(static_cast<unsigned>(std::stoi(world["daemon"])), told(world, "daemon_name"));
  say("done", "");
  if (world.contains("serve") || world.contains("serve_unix")) serve(number(world, "serve"), told(world, "serve_unix"));
  pause();
}
