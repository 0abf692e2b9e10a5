// Who commits, and what happens when a change, a transaction or the server fails.
#include "store/commit_queue.h"

#include <algorithm>

#include "base/error.h"

namespace tb::store {
namespace {

/// Bounds how long the first of a group waits for the last.
constexpr std::size_t kMaxGroup = 64;
/// Of a change whose transaction was rolled back to let another one pass.
constexpr int kMaxAttempts = 5;

constexpr std::string_view kConflict = "database_conflict";

bool is_unavailable(const Error& error) {
  return error.reason == "database_unavailable";
}

}  // namespace

void CommitQueue::run(Body body) {
  Entry own{.body = std::move(body), .error = nullptr, .conflicted = false, .done = false, .turn = {}};
  std::unique_lock lock(mutex_);
  queue_.push_back(&own);
  own.turn.wait(lock, [&] { return own.done || (!committing_ && queue_.front() == &own); });
  if (!own.done) {
    committing_ = true;
    const auto end = queue_.begin() + static_cast<std::ptrdiff_t>(std::min(queue_.size(), kMaxGroup));
    const std::vector<Entry*> group(queue_.begin(), end);
    queue_.erase(queue_.begin(), end);
    lock.unlock();
    commit_group(group);
    lock.lock();
    committing_ = false;
    for (Entry* entry : group) {
      entry->done = true;
      entry->turn.notify_one();
    }
    pass_on();
  }
  if (own.error) std::rethrow_exception(own.error);
}

std::size_t CommitQueue::waiting() const {
  const std::lock_guard lock(mutex_);
  return queue_.size();
}

void CommitQueue::with_connection(const std::function<void(sql::Connection&)>& action) {
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [this] { return !committing_; });
  committing_ = true;
  lock.unlock();
  std::exception_ptr error;
  try {
    action(connection());
  } catch (...) {
    error = std::current_exception();
  }
  lock.lock();
  committing_ = false;
  pass_on();
  lock.unlock();
  if (error) std::rethrow_exception(error);
}

void CommitQueue::pass_on() {
  idle_.notify_one();
  if (!queue_.empty()) queue_.front()->turn.notify_one();
}

sql::Connection& CommitQueue::connection() {
  if (db_ == nullptr || !db_->usable()) {
    db_.reset();
    db_ = opener_.open();
  }
  return *db_;
}

std::unique_ptr<sql::Transaction> CommitQueue::begin() {
  try {
    return std::make_unique<sql::Transaction>(connection());
  } catch (const Error& error) {
    if (!is_unavailable(error) || db_ == nullptr) throw;
  }
  // The connection was lost while it was idle, which shows only now.
  return std::make_unique<sql::Transaction>(connection());
}

void CommitQueue::count_into(obs::Counter& groups, obs::Counter& changes) {
  groups_ = &groups;
  changes_ = &changes;
}

void CommitQueue::commit_group(Group group) {
  if (obs::Counter* groups = groups_) groups->add();
  if (obs::Counter* changes = changes_) changes->add(group.size());
  const bool together = group.size() > 1 && commit_together(group);
  for (Entry* entry : group) {
    if (!together || entry->conflicted) commit_alone(*entry);
  }
}

bool CommitQueue::commit_together(Group group) {
  // To each its own copy: they are thrown, and die, on different threads.
  const auto all_failed = [&](const Error& error) {
    for (Entry* entry : group) entry->error = std::make_exception_ptr(error);
    return true;
  };
  std::unique_ptr<sql::Transaction> transaction;
  try {
    transaction = begin();
  } catch (const Error& error) {
    return all_failed(error);
  } catch (const std::exception&) {
    return false;
  }
  bool committing = false;
  try {
    db_->execute("SAVEPOINT change");
    for (Entry* entry : group) {
      entry->error = nullptr;
      entry->conflicted = false;
      Change change(*db_);
      try {
        entry->body(change);
      } catch (const Error& error) {
        entry->error = std::current_exception();
        entry->conflicted = error.reason == kConflict;
      } catch (...) {
        entry->error = std::current_exception();
      }
      const bool keep = change.kept() && entry->error == nullptr;
      // One script, one round trip: the next change has its savepoint. One that is rolled back to stays.
      db_->execute(keep ? "RELEASE SAVEPOINT change; SAVEPOINT change" : "ROLLBACK TO SAVEPOINT change");
    }
    committing = true;
    transaction->commit();
    return true;
  } catch (const Error& error) {
    // Run again, changes might happen twice.
    return committing && is_unavailable(error) && all_failed(error);
  } catch (const std::exception&) {
    return false;
  }
}

void CommitQueue::commit_alone(Entry& entry) {
  for (int attempt = 1;; ++attempt) {
    bool committing = false;
    entry.error = nullptr;
    try {
      const auto transaction = begin();
      Change change(*db_);
      entry.body(change);
      committing = true;
      if (change.kept()) transaction->commit();
      return;
    } catch (const Error& error) {
      entry.error = std::current_exception();
      const bool again = error.reason == kConflict || (is_unavailable(error) && !committing && attempt == 1);
      if (!again || attempt == kMaxAttempts) return;
    } catch (...) {
      entry.error = std::current_exception();
      return;
    }
  }
}

}  // namespace tb::store
