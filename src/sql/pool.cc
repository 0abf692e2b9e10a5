// Loans are counted before they are opened, so that opening, which may take seconds, holds no lock.
#include "sql/pool.h"

#include <algorithm>

#include "base/crypto.h"
#include "base/error.h"

namespace tb::sql {
namespace {

using std::chrono::milliseconds;
constexpr milliseconds kFirstWait{50};
constexpr milliseconds kLongestWait{2000};
constexpr std::chrono::seconds kLoanWait{10};

/// Up to a quarter more, so that nodes that lost one server do not ask it in step.
milliseconds jittered(milliseconds wait) {
  std::uint8_t byte[1];
  random_bytes(byte);
  return wait + wait * byte[0] / 1024;
}

}  // namespace

std::unique_ptr<Connection> PatientOpener::open() {
  {
    const std::lock_guard lock(mutex_);
    if (Time::now() < not_before_) {
      throw Error("database_unavailable", "the database could not be reached, and is asked again in a moment");
    }
  }
  try {
    auto db = open_();
    const std::lock_guard lock(mutex_);
    wait_ = milliseconds(0);
    not_before_ = {};
    return db;
  } catch (const Error& error) {
    if (error.reason == "database_unavailable") {
      const std::lock_guard lock(mutex_);
      wait_ = std::clamp(wait_ * 2, kFirstWait, kLongestWait);
      not_before_ = Time::now() + jittered(wait_);
    }
    throw;
  }
}

Pool::Loan Pool::take() {
  std::unique_lock lock(mutex_);
  if (!given_back_.wait_for(lock, kLoanWait, [this] { return lent_ < limit_; })) {
    throw Error("database_busy", "all connections to the database are in use");
  }
  ++lent_;
  if (!idle_.empty()) {
    auto db = std::move(idle_.back());
    idle_.pop_back();
    return {*this, std::move(db)};
  }
  lock.unlock();
  std::unique_ptr<Connection> db;
  try {
    db = opener_.open();
  } catch (...) {
    give_back(nullptr);
    throw;
  }
  return {*this, std::move(db)};
}

void Pool::give_back(std::unique_ptr<Connection> db) {
  {
    const std::lock_guard lock(mutex_);
    --lent_;
    if (db != nullptr && db->usable()) idle_.push_back(std::move(db));
  }
  given_back_.notify_one();
}

void Pool::drop_idle() {
  std::vector<std::unique_ptr<Connection>> idle;
  const std::lock_guard lock(mutex_);
  idle.swap(idle_);
}

}  // namespace tb::sql
