// For tests only: a real nginx over a directory, on loopback, started and ended by the test, unprivileged.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <thread>

#include "base/crypto.h"
#include "base/fs.h"

extern char** environ;

namespace tb::blob {

class Nginx {
 public:
  static bool installed() { return access("/usr/sbin/nginx", X_OK) == 0; }

  /// Serves root() at url(). Throws if it does not come up within ten seconds.
  explicit Nginx(const std::string& directory) : directory_(directory), port_(free_port()) {
    std::filesystem::create_directories(root());
    const std::string user = geteuid() == 0 ? "user root;\n" : "";
    value_or_throw(write_file_atomically(directory + "/nginx.conf",
                                         fmt::format(R"({user}daemon off;
worker_processes 2;
pid {dir}/nginx.pid;
error_log {dir}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  sendfile on;
  client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3;
  uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
  server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
)",
                                                     fmt::arg("user", user), fmt::arg("dir", directory),
                                                     fmt::arg("port", port_), fmt::arg("root", root())),
                                         0600, true));
    start();
  }
  ~Nginx() {
    kill(pid_, SIGTERM);
    waitpid(pid_, nullptr, 0);
  }
  Nginx(const Nginx&) = delete;
  Nginx& operator=(const Nginx&) = delete;

  std::string root() const { return directory_ + "/www"; }
  std::string url(const std::string& name) const { return fmt::format("http://127.0.0.1:{}/{}", port_, name); }

 private:
  static sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }

  static std::uint16_t free_port() {
    const Fd probe(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    bind(probe.get(), reinterpret_cast<sockaddr*>(&address), size);
    getsockname(probe.get(), reinterpret_cast<sockaddr*>(&address), &size);
    return ntohs(address.sin_port);
  }

  void start() {
    std::string program = "/usr/sbin/nginx", p = "-p", dir = directory_, c = "-c", conf = directory_ + "/nginx.conf",
                e = "-e", log = directory_ + "/error.log";
    char* arguments[] = {program.data(), p.data(), dir.data(), c.data(), conf.data(), e.data(), log.data(), nullptr};
    if (posix_spawn(&pid_, program.c_str(), nullptr, nullptr, arguments, environ) != 0) {
      throw Error("internal", "nginx cannot be started");
    }
    for (int attempt = 0; attempt < 500; ++attempt) {
      const Fd probe(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      const sockaddr_in address = loopback(port_);
      if (connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    throw Error("internal", "nginx does not answer: " + read_small_file(log).value_or("no log"));
  }

  std::string directory_;
  std::uint16_t port_;
  pid_t pid_ = -1;
};

}  // namespace tb::blob
