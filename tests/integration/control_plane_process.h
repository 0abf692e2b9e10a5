// A real control plane as a process of its own, with a folder for its data and output.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/fs.h"
#include "base/json.h"
#include "http/client.h"
#include "jose/proof.h"

namespace tb {

using Arguments = std::vector<std::string>;

/// A child with its output in files; ended when it goes out of scope.
class Process {
 public:
  Process(const Arguments& arguments, const std::string& out_path, const std::string& err_path) {
    pid_ = fork();
    if (pid_ == 0) {
      const int out = open(out_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
      const int err = open(err_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
      dup2(out, 1);
      dup2(err, 2);
      std::vector<char*> argv;
      for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
      argv.push_back(nullptr);
      execv(argv[0], argv.data());
      _exit(127);
    }
    pidfd_ = Fd(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));
  }
  ~Process() {
    if (pid_ > 0) stop();
  }
  int wait() {
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  int stop() {
    kill(pid_, SIGTERM);
    return wait();
  }
  /// May be called while another thread waits: by a descriptor, which never names another process, as a number would
  /// once this one has been waited for.
  void kill_now() const { syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0); }

 private:
  pid_t pid_ = -1;
  Fd pidfd_;
};

/// As a sentinel posts: with a proof of `key` for this very request.
inline http::Headers proof_headers(const jose::PrivateKey& key, const std::string& url, const std::string& token) {
  return {{"DPoP", jose::sign_proof(key, {.method = "POST",
                                          .url = url,
                                          .issued_at_seconds = unix_ms_now() / 1000,
                                          .jti = random_token(16),
                                          .token = token})}};
}

class ControlPlaneNode {
 public:
  /// `settings`: flags of every command of this node.
  ControlPlaneNode(std::string dir, Arguments settings) : dir_(std::move(dir)), settings_(std::move(settings)) {
    std::filesystem::create_directories(dir_);
  }

  std::string read(const std::string& name) const { return read_small_file(dir_ + "/" + name).value_or(std::string()); }
  /// Runs a command to its end; its first output line.
  std::string output_of(const Arguments& more, int expected_status = 0) const {
    Process process(command(more), dir_ + "/out", dir_ + "/err");
    EXPECT_EQ(process.wait(), expected_status) << read("err");
    const std::string text = read("out");
    return text.substr(0, text.find('\n'));
  }
  /// Starts the service and waits until it says where it listens.
  void start() {
    std::filesystem::remove(dir_ + "/service.err");
    service_ = std::make_unique<Process>(command({}), dir_ + "/service.out", dir_ + "/service.err");
    for (int i = 0; i < 6000; ++i) {
      const std::string log = read("service.err");
      const std::size_t at = log.find("\"url\":\"");
      if (at != std::string::npos) {
        base_ = log.substr(at + 7, log.find('"', at + 7) - at - 7);
        return;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    ADD_FAILURE() << "the control plane did not start: " << read("service.err");
  }
  int stop() { return std::exchange(service_, nullptr)->stop(); }
  /// As a machine that loses its power, but for what the kernel still writes.
  void kill() {
    service_->kill_now();
    std::exchange(service_, nullptr)->wait();
  }
  const std::string& base_url() const { return base_; }
  std::uint16_t port() const {
    return static_cast<std::uint16_t>(std::strtoul(base_.c_str() + base_.rfind(':') + 1, nullptr, 10));
  }
  http::ClientResponse send(const std::string& method, const std::string& path, const std::string& token,
                            const std::string& body = "", const http::Headers& headers = {}) {
    http::ClientRequest request;
    request.method = method;
    request.url = SecretUrl(base_ + path);
    request.headers = headers;
    if (!token.empty()) request.bearer = SecretString(token);
    if (!body.empty()) request.body = body;
    try {
      return http::Client(http::ClientConfig()).send(request);
    } catch (const Error& error) {
      return {.status = 0, .headers = {}, .body = error.reason + ": " + error.story()};
    }
  }
  http::ClientResponse prove(const jose::PrivateKey& key, const std::string& path, const std::string& token,
                             const std::string& body) {
    return send("POST", path, token, body, proof_headers(key, base_ + path, token));
  }
  static std::string text_of(const http::ClientResponse& response, std::string_view name) {
    const auto json = Json::parse(response.body);
    const Json* member = json ? json->find(name) : nullptr;
    return member == nullptr ? "(none)" : member->is_string() ? member->as_string() : member->dump();
  }

  Arguments command(const Arguments& more) const {
    Arguments all = {TB_CONTROL_PLANE, "--data-dir", dir_ + "/data", "--addr", "127.0.0.1:0"};
    all.insert(all.end(), settings_.begin(), settings_.end());
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }

 private:
  const std::string dir_;
  const Arguments settings_;
  std::unique_ptr<Process> service_;
  std::string base_;
};

}  // namespace tb
