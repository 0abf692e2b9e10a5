// A database connection that kills its process between two statements. Everything that the control plane remembers goes
// through a connection, so a kill before each statement and after each commit is a kill between any two steps of a
// request, and the program needs no hook for it.
#pragma once

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <string>

#include "sql/connection.h"

namespace tb::controlplane {

/// How many more points this process lives through; negative: it is not killed. One for all connections.
class Lifetime {
 public:
  void set(int points) { left_ = points; }
  void pass() {
    if (left_ < 0) return;
    if (left_-- == 0) kill(getpid(), SIGKILL);
  }

 private:
  std::atomic<int> left_{-1};
};

class KillingConnection final : public sql::Connection {
 public:
  KillingConnection(std::unique_ptr<sql::Connection> inner, Lifetime& life) : inner_(std::move(inner)), life_(life) {}

  sql::Dialect dialect() const override { return inner_->dialect(); }
  bool usable() const override { return inner_->usable(); }
  std::int64_t schema_version() override { return inner_->schema_version(); }
  void set_schema_version(std::int64_t version) override { inner_->set_schema_version(version); }

  // A statement is prepared right before it runs.
  sql::Statement prepare(std::string_view sql) override {
    life_.pass();
    return inner_->prepare(sql);
  }
  void execute(const std::string& sql) override {
    life_.pass();
    inner_->execute(sql);
    // Committed, and nobody has heard of it.
    life_.pass();
  }
  void begin_exclusive() override {
    life_.pass();
    inner_->begin_exclusive();
    life_.pass();
  }
  void begin_snapshot() override { inner_->begin_snapshot(); }

 private:
  std::unique_ptr<sql::Connection> inner_;
  Lifetime& life_;
};

}  // namespace tb::controlplane
