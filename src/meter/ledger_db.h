// The ledger's database, and how it is shared: a writer of requests and the reporters, one at a time.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "sql/connection.h"

namespace tb::meter {

class LedgerDb {
 public:
  /// Takes the schema's steps. Throws what the database throws, "database_newer".
  explicit LedgerDb(std::unique_ptr<sql::Connection> db);

  /// `f(db)` with nobody beside it.
  template <typename F>
  auto with(F&& f) {
    const std::scoped_lock lock(mutex_);
    return f(*db_);
  }
  /// The same, in one transaction.
  template <typename F>
  auto change(F&& f) {
    const std::scoped_lock lock(mutex_);
    sql::Transaction transaction(*db_);
    if constexpr (std::is_void_v<decltype(f(*db_))>) {
      f(*db_);
      transaction.commit();
    } else {
      auto out = f(*db_);
      transaction.commit();
      return out;
    }
  }

 private:
  std::mutex mutex_;
  std::unique_ptr<sql::Connection> db_;
};

}  // namespace tb::meter
