#include "bench/service.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include "base/fs.h"
#include "bench/cost.h"
#include "bench/http_load.h"

namespace tb::bench {
namespace {

std::string flag_of(std::string name) {
  for (char& c : name) {
    if (c == '_') c = '-';
  }
  return "--" + name;
}

/// The port in the log's line about listening, or 0.
std::uint16_t port_in(const std::string& log) {
  constexpr std::string_view kMark = "\"url\":\"http://127.0.0.1:";
  const std::size_t at = log.find(kMark);
  if (at == std::string::npos) return 0;
  std::uint16_t port = 0;
  std::from_chars(log.data() + at + kMark.size(), log.data() + log.size(), port);
  return port;
}

bool is_ready(std::uint16_t port) {
  const std::vector<Shot> shots = {{.bytes = "GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"}};
  return send_all({.port = port}, shots, [](std::size_t, std::string_view) {}).bad.empty();
}

}  // namespace

Service::Service(const std::string& program, const std::string& directory,
                 const std::map<std::string, std::string>& flags) {
  std::vector<std::string> words = {program, "--addr", "127.0.0.1:0", "--log-level", "info"};
  for (const auto& [name, value] : flags) words.insert(words.end(), {flag_of(name), value});
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const std::string log = directory + "/service.log";
  unlink(log.c_str());
  const double start = seconds_now();
  pid_ = fork();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int out = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(out, 1);
    dup2(out, 2);
    execv(argv[0], argv.data());
    _exit(127);
  }
  while (port_ == 0) {
    port_ = port_in(read_small_file(log).value_or(std::string()));
    if (port_ != 0) break;
    if (waitpid(pid_, nullptr, WNOHANG) == pid_ || seconds_now() - start > 60) {
      throw std::runtime_error("the control plane did not start: " + read_small_file(log).value_or(std::string()));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  while (!is_ready(port_)) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  ready_seconds_ = seconds_now() - start;
}

Service::~Service() {
  kill(pid_, SIGTERM);
  waitpid(pid_, nullptr, 0);
}

std::string Service::base_url() const {
  return fmt::format("http://127.0.0.1:{}", port_);
}

double Service::cpu_seconds() const {
  const std::string stat = value_or_throw(read_small_file(fmt::format("/proc/{}/stat", pid_)));
  // Fields 14 and 15; the second is a name in parentheses.
  const char* at = stat.c_str() + stat.rfind(')') + 1;
  double ticks = 0;
  for (int field = 3; field <= 15; ++field) {
    while (*at == ' ') ++at;
    if (field >= 14) ticks += std::strtod(at, nullptr);
    while (*at != ' ' && *at != '\0') ++at;
  }
  return ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
}

double Service::resident_mib() const {
  const std::string status = value_or_throw(read_small_file(fmt::format("/proc/{}/status", pid_)));
  const std::size_t at = status.find("VmRSS:");
  if (at == std::string::npos) throw std::runtime_error("the control plane has ended");
  return std::strtod(status.c_str() + at + 6, nullptr) / 1024;
}

}  // namespace tb::bench
