// For the tests of this folder: a client that writes raw bytes, a server that answers with raw bytes, and throwaway
// certificates.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>

#include "base/fs.h"

namespace tb::http::test {

inline sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

/// A TCP connection to a server on loopback.
class RawClient {
 public:
  explicit RawClient(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const sockaddr_in address = loopback(port);
    connected_ = ::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  bool connected() const { return connected_; }
  /// False if the peer has closed.
  bool write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }
  /// What comes until the peer closes; "(timeout)" is appended if it does not within 20 s.
  std::string read_to_end() {
    while (fill()) {
    }
    return std::exchange(held_, {});
  }
  /// One answer with a Content-Length: head and body.
  std::string read_answer(bool head_only = false) {
    std::size_t end = std::string::npos;
    while ((end = held_.find("\r\n\r\n")) == std::string::npos) {
      if (!fill()) return std::exchange(held_, {});
    }
    end += 4;
    const std::string_view name = "Content-Length: ";
    const std::size_t at = held_.substr(0, end).find(name);
    if (!head_only && at != std::string::npos) end += std::strtoul(held_.c_str() + at + name.size(), nullptr, 10);
    while (held_.size() < end && fill()) {
    }
    std::string answer = held_.substr(0, end);
    held_.erase(0, end);
    return answer;
  }
  void shut_down_writing() { ::shutdown(fd_.get(), SHUT_WR); }
  int fd() const { return fd_.get(); }

 private:
  bool fill() {
    pollfd wait{fd_.get(), POLLIN, 0};
    if (::poll(&wait, 1, 20'000) <= 0) {
      held_ += "(timeout)";
      return false;
    }
    char buffer[65536];
    const ssize_t n = ::recv(fd_.get(), buffer, sizeof buffer, 0);
    if (n <= 0) return false;
    held_.append(buffer, static_cast<std::size_t>(n));
    return true;
  }

  Fd fd_;
  bool connected_ = false;
  std::string held_;
};

/// Accepts connections one after the other and lets `serve` do with each as it likes.
class RawServer {
 public:
  explicit RawServer(std::function<void(int fd)> serve)
      : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), serve_(std::move(serve)) {
    sockaddr_in address = loopback(0);
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listener_.get(), 16), 0);
    socklen_t bytes = sizeof address;
    EXPECT_EQ(::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &bytes), 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] {
      for (;;) {
        const Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!fd) return;
        serve_(fd.get());
      }
    });
  }
  ~RawServer() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
  }
  std::uint16_t port() const { return port_; }
  std::string url(std::string_view path = "/") const {
    return "http://127.0.0.1:" + std::to_string(port_) + std::string(path);
  }
  /// Reads one request's head.
  static std::string read_head(int fd) {
    std::string head;
    char c = 0;
    while (!head.ends_with("\r\n\r\n") && ::recv(fd, &c, 1, 0) == 1) head += c;
    return head;
  }
  static void write(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
  }
  /// Waits until the peer closes.
  static void wait_for_end(int fd) {
    char buffer[4096];
    while (::recv(fd, buffer, sizeof buffer, 0) > 0) {
    }
  }

 private:
  Fd listener_;
  std::uint16_t port_ = 0;
  std::function<void(int)> serve_;
  std::thread thread_;
};

/// A directory of its own that goes with the object.
class TempDir {
 public:
  TempDir() {
    std::string pattern = testing::TempDir() + "tb-http-XXXXXX";
    path_ = ::mkdtemp(pattern.data());
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

/// A CA, a server certificate for localhost and 127.0.0.1, a client certificate, and a CA that nobody trusts.
struct Certificates {
  TempDir dir;
  Certificates() {
    make_ca("ca");
    make_ca("other-ca");
    make_leaf("server", "ca", "subjectAltName=DNS:localhost,IP:127.0.0.1");
    make_leaf("client", "ca", "extendedKeyUsage=clientAuth");
    make_leaf("stranger", "other-ca", "extendedKeyUsage=clientAuth");
  }
  std::string cert(const std::string& name) const { return dir.file(name + ".crt"); }
  std::string key(const std::string& name) const { return dir.file(name + ".key"); }

 private:
  static void run(const std::string& command) {
    ASSERT_EQ(std::system((command + " >/dev/null 2>&1").c_str()), 0) << command;
  }
  void make_ca(const std::string& name) {
    run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=" + name + " -keyout " +
        key(name) + " -out " + cert(name));
  }
  void make_leaf(const std::string& name, const std::string& ca, const std::string& extension) {
    run("openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=" + name + " -keyout " + key(name) +
        " -out " + dir.file(name + ".csr"));
    ASSERT_TRUE(write_file_atomically(dir.file(name + ".ext"), extension + "\n", 0600, true));
    run("openssl x509 -req -in " + dir.file(name + ".csr") + " -CA " + cert(ca) + " -CAkey " + key(ca) +
        " -CAcreateserial -days 2 -extfile " + dir.file(name + ".ext") + " -out " + cert(name));
    ::chmod(key(name).c_str(), 0600);
  }
};

inline const Certificates& certificates() {
  static const Certificates kCertificates;
  return kCertificates;
}

}  // namespace tb::http::test
