// For tests only: a world in which a hostile runtime would find everything, and what its attempts came to.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/json.h"
#include "sentinel/runtime/child.h"
#include "sentinel/runtime/kernel_facts.h"

namespace tb::sentinel::runtime {

inline const std::string kPrograms = TB_TEST_PROGRAMS;
constexpr uid_t kRuntimeUser = 61000;
constexpr std::uint64_t kScratchBytes = 4 << 20;
using Results = std::map<std::string, std::string>;

inline Fd listener(int family, int type, std::uint16_t& port) {
  Fd fd(socket(family, type | SOCK_CLOEXEC, 0));
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_addr = in6addr_loopback;
  sockaddr* address = family == AF_INET ? reinterpret_cast<sockaddr*>(&v4) : reinterpret_cast<sockaddr*>(&v6);
  socklen_t bytes = family == AF_INET ? sizeof v4 : sizeof v6;
  if (!fd || bind(fd.get(), address, bytes) != 0 || getsockname(fd.get(), address, &bytes) != 0) return Fd();
  if (type == SOCK_STREAM) listen(fd.get(), 16);
  port = ntohs(family == AF_INET ? v4.sin_port : v6.sin6_port);
  return fd;
}

inline Fd unix_listener(const std::string& name, bool abstract) {
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::size_t at = abstract ? 1 : 0;
  std::memcpy(address.sun_path + at, name.data(), name.size());
  const auto bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + at + name.size() + (abstract ? 0 : 1));
  EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), bytes), 0);
  listen(fd.get(), 16);
  return fd;
}

/// An address of this machine that is not loopback, or loopback where there is none.
inline std::string own_address() {
  ifaddrs* list = nullptr;
  std::string out = "127.0.0.1";
  if (getifaddrs(&list) != 0) return out;
  for (const ifaddrs* at = list; at != nullptr; at = at->ifa_next) {
    if (at->ifa_addr == nullptr || at->ifa_addr->sa_family != AF_INET) continue;
    char text[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(at->ifa_addr)->sin_addr, text, sizeof text);
    if (std::string_view(text) != "127.0.0.1") out = text;
  }
  freeifaddrs(list);
  return out;
}

class HostileWorld : public testing::Test {
 protected:
  void SetUp() override {
    place_ = testing::TempDir() + "tb-hostile-XXXXXX";
    ASSERT_NE(mkdtemp(place_.data()), nullptr);
    memory_ = "/dev/shm/tb-hostile-XXXXXX";
    ASSERT_NE(mkdtemp(memory_.data()), nullptr);
    // Open to all: what keeps the runtime out is to be the confinement, not the modes.
    for (const std::string& directory : {place_, memory_, memory_ + "/model", memory_ + "/outer"}) {
      mkdir(directory.c_str(), 0777);
      chmod(directory.c_str(), 0777);
    }
    ASSERT_TRUE(write_file_atomically(memory_ + "/model/model.gguf", "weights", 0666, false).has_value());
    ASSERT_TRUE(write_file_atomically(place_ + "/secret", "audit", 0666, false).has_value());
    chmod((memory_ + "/model/model.gguf").c_str(), 0666);
    chmod((place_ + "/secret").c_str(), 0666);
    // Copies, as other users may not read the build.
    std::filesystem::create_directory(place_ + "/bin");
    chmod((place_ + "/bin").c_str(), 0755);
    for (const char* program : {"/bin/hostile_runtime", "/bin/confined_init"}) {
      std::filesystem::copy_file(kPrograms + (program + 4), place_ + program);
      chmod((place_ + program).c_str(), 0755);
    }
    tcp_ = listener(AF_INET, SOCK_STREAM, tcp_port_);
    tcp6_ = listener(AF_INET6, SOCK_STREAM, tcp6_port_);
    udp_ = listener(AF_INET, SOCK_DGRAM, udp_port_);
    abstract_ = unix_listener(place_.substr(1), true);
    unix_ = unix_listener(place_ + "/socket", false);
    chmod((place_ + "/socket").c_str(), 0777);
    victim_ = fork();
    if (victim_ == 0) {
      pause();
      _exit(0);
    }
  }

  void TearDown() override {
    kill(victim_, SIGKILL);
    waitpid(victim_, nullptr, 0);
    std::filesystem::remove_all(place_);
    std::filesystem::remove_all(memory_);
  }

  std::vector<std::string> command(std::vector<std::string> more = {}) const {
    char name[256] = {};
    gethostname(name, sizeof name - 1);
    std::vector<std::string> out = {
        place_ + "/bin/hostile_runtime",         "host_ip=" + own_address(),
        "tcp_port=" + std::to_string(tcp_port_), "tcp6_port=" + std::to_string(tcp6_port_),
        "udp_port=" + std::to_string(udp_port_), "abstract_name=" + place_.substr(1),
        "unix_path=" + place_ + "/socket",       "state_dir=" + place_,
        "outer_memory=" + memory_ + "/outer",    "model_path=" + memory_ + "/model/model.gguf",
        "secret_file=" + place_ + "/secret",     "victim_pid=" + std::to_string(victim_),
        "host_name=" + std::string(name)};
    out.insert(out.end(), more.begin(), more.end());
    return out;
  }

  ConfineRequest request(std::vector<std::string> more = {}) const {
    const bool root = geteuid() == 0;
    return {.arguments = command(std::move(more)),
            .model_path = memory_ + "/model",
            .address = {.host = "127.0.0.1", .port = 9},
            .uid = root ? kRuntimeUser : geteuid(),
            .own_user = root,
            .shared_user = !root,
            .read_paths = {place_ + "/bin"},
            .scratch_bytes = kScratchBytes};
  }

  ChildSpec confined(const ConfineRequest& request, const KernelFacts& facts) const {
    return {.arguments = request.arguments,
            .environment = {"PATH=/usr/bin:/bin"},
            .uid = request.uid,
            .confinement = std::make_shared<Confinement>(plan_confinement(request, facts)),
            .init_program = place_ + "/bin/confined_init"};
  }

  /// What the attempts of one run said, up to its "done".
  static Results results_of(Child& child) {
    Results out;
    std::string text;
    const std::int64_t deadline = boot_ms_now() + 120'000;
    while (!out.contains("done") && boot_ms_now() < deadline) {
      pollfd wait{child.output_fd(), POLLIN, 0};
      poll(&wait, 1, 100);
      char buffer[4096];
      const ssize_t got = read(child.output_fd(), buffer, sizeof buffer);
      if (got > 0) text.append(buffer, static_cast<std::size_t>(got));
      if (got == 0) break;
      for (std::size_t end = text.find('\n'); end != std::string::npos; end = text.find('\n')) {
        const auto json = Json::parse(text.substr(0, end));
        text.erase(0, end + 1);
        if (!json) continue;
        out[json->find("attempt")->as_string()] = json->find("error")->as_string();
      }
    }
    EXPECT_TRUE(out.contains("done")) << "ended early: " << child.ended().value_or("it runs") << " " << text;
    return out;
  }

  /// Of the user that this is, with what this machine can do.
  ChildSpec confined(const ConfineRequest& request) const { return confined(request, find_kernel_facts(request.uid)); }

  static Results run(const ChildSpec& spec) {
    try {
      Child child(spec);
      return results_of(child);
    } catch (const Error& error) {
      ADD_FAILURE() << error.story();
      return {};
    }
  }

  std::string place_, memory_;
  Fd tcp_, tcp6_, udp_, abstract_, unix_;
  std::uint16_t tcp_port_ = 0, tcp6_port_ = 0, udp_port_ = 0;
  pid_t victim_ = -1;
};

}  // namespace tb::sentinel::runtime
