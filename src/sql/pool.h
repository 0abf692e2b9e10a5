// Connections for many threads, opened as they are needed, and opened again after the server went away.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "sql/connection.h"

namespace tb::sql {

using Opener = std::function<std::unique_ptr<Connection>()>;

/// An opener that does not ask a server again at once that could not be reached: between attempts it fails without
/// asking, for 50 ms at first and 2 s at most. Thread-safe.
class PatientOpener {
 public:
  explicit PatientOpener(Opener open) : open_(std::move(open)) {}
  /// Throws what the opener throws; "database_unavailable" while it waits.
  std::unique_ptr<Connection> open();

 private:
  using Time = std::chrono::steady_clock;
  Opener open_;
  std::mutex mutex_;
  std::chrono::milliseconds wait_{0};
  Time::time_point not_before_;
};

/// At most `limit` connections. Thread-safe; must outlive its loans.
class Pool {
 public:
  Pool(PatientOpener& opener, std::size_t limit) : opener_(opener), limit_(limit) {}

  /// One connection for one thread, given back at the end, or closed if it is not usable any more.
  class Loan {
   public:
    Loan(Pool& pool, std::unique_ptr<Connection> db) : pool_(pool), db_(std::move(db)) {}
    ~Loan() { pool_.give_back(std::move(db_)); }
    Loan(const Loan&) = delete;
    Loan& operator=(const Loan&) = delete;
    Connection& operator*() { return *db_; }

   private:
    Pool& pool_;
    std::unique_ptr<Connection> db_;
  };
  /// Waits for a free one; after 10 s "database_busy". Throws what opening throws.
  Loan take();
  /// Closes those that nobody uses: after one has shown that the server went away.
  void drop_idle();

 private:
  void give_back(std::unique_ptr<Connection> db);

  PatientOpener& opener_;
  const std::size_t limit_;
  std::mutex mutex_;
  std::condition_variable given_back_;
  std::size_t lent_ = 0;
  std::vector<std::unique_ptr<Connection>> idle_;
};

}  // namespace tb::sql
