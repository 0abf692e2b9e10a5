// A PostgreSQL server for one test program: a cluster in a directory of its own, reached by a unix socket only, with
// fsync as it is in earnest, gone with the program that started it. Root cannot run one, so root's belongs to nobody.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/crypto.h"
#include "base/error.h"
#include "sql/postgres.h"

namespace tb::sql {

class PostgresServer {
 public:
  /// Where Debian keeps the newest version's programs; empty: there are none, and tests that need them are skipped.
  static std::string programs() {
    std::string newest;
    std::error_code none;
    for (const auto& version : std::filesystem::directory_iterator("/usr/lib/postgresql", none)) {
      const std::string bin = version.path() / "bin";
      if (std::filesystem::exists(bin + "/initdb") && bin > newest) newest = bin;
    }
    return newest;
  }
  static constexpr const char* kMissing = "NOT TESTED: no PostgreSQL under /usr/lib/postgresql (package postgresql)";

  PostgresServer() {
    std::filesystem::create_directories(dir_);
    if (getuid() == 0) EXPECT_EQ(chown(dir_.c_str(), kNobody, kNobody), 0);
    const pid_t initdb = spawn({programs() + "/initdb", "-D", dir_ + "/data", "-U", "tb", "--auth=trust", "-E", "UTF8",
                                "--locale=C.UTF-8", "--no-instructions", "--no-sync"});
    int status = 0;
    waitpid(initdb, &status, 0);
    EXPECT_EQ(status, 0) << "initdb failed, see " << dir_ << "/log";
    start();
  }
  ~PostgresServer() {
    stop();
    std::filesystem::remove_all(dir_);
  }
  PostgresServer(const PostgresServer&) = delete;
  PostgresServer& operator=(const PostgresServer&) = delete;

  /// Returns when it answers.
  void start() {
    // Immediate shutdown when the test dies.
    server_ = spawn({programs() + "/postgres", "-D", dir_ + "/data", "-c", "listen_addresses=", "-c",
                     "unix_socket_directories=" + dir_, "-c", "shared_buffers=16MB"});
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::minutes(2);
    for (;;) {
      try {
        open_postgres(url("postgres"));
        return;
      } catch (const Error& error) {
        if (std::chrono::steady_clock::now() > give_up) throw;
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      }
    }
  }
  /// SIGINT: ends all sessions. SIGQUIT: as a crash.
  void stop(int signal = SIGINT) {
    if (server_ <= 0) return;
    kill(server_, signal);
    waitpid(server_, nullptr, 0);
    server_ = 0;
  }

  SecretString url(const std::string& database) const {
    return SecretString("postgresql://tb@/" + database + "?host=" + dir_);
  }
  std::string make_database() {
    const std::string name = "db" + to_hex(as_bytes(random_token(6)));
    open_postgres(url("postgres"))->execute("CREATE DATABASE " + name);
    return name;
  }

 private:
  static constexpr uid_t kNobody = 65534;

  pid_t spawn(const std::vector<std::string>& command) const {
    std::vector<std::string> words = {"setpriv", "--pdeathsig", "QUIT"};
    if (getuid() == 0) {
      for (const auto* word : {"--reuid=65534", "--regid=65534", "--clear-groups"}) words.emplace_back(word);
    }
    words.insert(words.end(), command.begin(), command.end());
    std::vector<char*> argv;
    for (auto& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    const std::string log = dir_ + "/log";
    const pid_t child = fork();
    if (child == 0) {
      const int out = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0666);
      dup2(out, 1);
      dup2(out, 2);
      if (chdir("/") == 0) execvp(argv[0], argv.data());
      _exit(127);
    }
    return child;
  }

  // Short: a socket's path has 107 bytes.
  const std::string dir_ = "/tmp/tb-pg-" + random_token(6);
  pid_t server_ = 0;
};

/// One server for all tests of a program that are content with a database of their own.
inline PostgresServer& shared_postgres_server() {
  static PostgresServer server;
  return server;
}

}  // namespace tb::sql
