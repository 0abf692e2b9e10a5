// Changes of many callers, committed in groups. A commit waits for the disk, whatever it holds; so whoever finds no one
// committing takes all changes that wait, runs each in a savepoint of one transaction, commits once, and tells every
// caller its own result. No caller hears of its change before it is on the disk.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "obs/metrics.h"
#include "sql/connection.h"
#include "sql/pool.h"

namespace tb::store {

/// What a verb that writes works on.
class Change {
 public:
  explicit Change(sql::Connection& db) : db_(db) {}
  sql::Connection& db() { return db_; }
  /// Keeps what was done: without it, it is undone when the verb returns.
  void commit() { kept_ = true; }
  bool kept() const { return kept_; }

 private:
  sql::Connection& db_;
  bool kept_ = false;
};

class CommitQueue {
 public:
  using Body = std::function<void(Change&)>;

  explicit CommitQueue(sql::PatientOpener& opener) : opener_(opener) {}

  /// Runs `body` in a transaction, maybe on another caller's thread, maybe more than once: after a conflict with
  /// another transaction, or because another change of its group failed together with the transaction. Returns after
  /// the commit. Throws what `body` threw, which then has changed nothing; "database_unavailable" if the server went
  /// away, when it may have changed something or not.
  void run(Body body);

  /// From now on each group that is committed, and each change in it, is counted; the counters outlive this.
  void count_into(obs::Counter& groups, obs::Counter& changes);

  /// Callers whose changes wait now.
  std::size_t waiting() const;

  /// Runs `action` on the queue's own connection, while nothing is committed.
  void with_connection(const std::function<void(sql::Connection&)>& action);

 private:
  struct Entry {
    Body body;
    std::exception_ptr error;
    bool conflicted = false;  ///< within its group: to be run again, alone
    bool done = false;
    std::condition_variable turn;
  };
  using Group = std::span<Entry* const>;

  /// Wakes whoever may go next; mutex_ is held.
  void pass_on();
  void commit_group(Group group);
  /// All in one transaction. False if that did not come about and each is to be run alone.
  bool commit_together(Group group);
  void commit_alone(Entry& entry);
  /// Opened again if it is lost.
  sql::Connection& connection();
  std::unique_ptr<sql::Transaction> begin();

  sql::PatientOpener& opener_;
  mutable std::mutex mutex_;  ///< of queue_ and committing_; the connection is the committing caller's
  std::deque<Entry*> queue_;
  bool committing_ = false;
  std::condition_variable idle_;  ///< for with_connection: committing_ has become false
  std::unique_ptr<sql::Connection> db_;
  std::atomic<obs::Counter*> groups_ = nullptr;
  std::atomic<obs::Counter*> changes_ = nullptr;
};

}  // namespace tb::store
