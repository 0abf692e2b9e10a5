// What fails beneath a store: a disk that is full, a database that another process holds, a server that went away.
// Reads go on where they can, writes say why they do not, nothing is broken, and all goes on by itself afterwards.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "base/crypto.h"
#include "sql/postgres_server_test.h"
#include "sql/sqlite.h"
#include "store/open.h"
#include "store/sql_store.h"
#include "tlog/chain.h"

namespace tb::store {
namespace {

template <typename F>
std::string reason_of(F&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.reason;
  }
  return "nothing";
}

Event event(const std::string& subject, const std::string& ballast = "") {
  Event out{.type = "e", .tenant = "", .actor = "test", .subject = subject};
  out.detail.set("ballast", ballast);
  return out;
}

/// The subjects of all events, whose chain must verify.
std::set<std::string> subjects(Store& store) {
  std::set<std::string> out;
  tlog::ChainHead head;
  for (const auto& stored : store.list_events({}, -1, 100000)) {
    tlog::verify_record(head, stored.line);
    out.insert(value_or_throw(Json::parse(stored.line)).find("subject")->as_string());
  }
  return out;
}

/// Appends events until the disk is full; the subjects of those that the store took.
std::set<std::string> fill(Store& store) {
  std::set<std::string> taken;
  for (int i = 0; i < 100000; ++i) {
    const std::string subject = "fill-" + std::to_string(i);
    const std::string reason = reason_of([&] { store.append_event(event(subject, std::string(20000, 'x'))); });
    if (reason != "nothing") {
      EXPECT_EQ(reason, "disk_full");
      return taken;
    }
    taken.insert(subject);
  }
  ADD_FAILURE() << "the disk was never full";
  return taken;
}

class StoreFaults : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(dir_); }
  void TearDown() override {
    if (mounted_) EXPECT_EQ(umount2(dir_.c_str(), MNT_DETACH), 0);
    std::filesystem::remove_all(dir_);
  }
  bool mounted_ = false;
  const std::string dir_ = testing::TempDir() + "tb-faults-" + random_token(8);
  const std::string path_ = dir_ + "/store.db";
};

TEST_F(StoreFaults, AFullDatabaseReadsOnAndRecovers) {
  std::set<std::string> taken;
  {
    SqlStore store([this] { return sql::open_sqlite(path_, {.max_pages = 100}); }, true, unix_ms_now);
    taken = fill(store);
    EXPECT_GT(taken.size(), 3U);
    EXPECT_EQ(subjects(store), taken);
    // Together, too: each is told, none is lost without a word.
    std::atomic<int> refused{0};
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        const std::string big(100000, 'x');
        if (reason_of([&] { store.append_event(event("group", big)); }) == "disk_full") ++refused;
      });
    }
    threads.clear();
    EXPECT_EQ(refused.load(), 4);
    EXPECT_EQ(subjects(store), taken);
    store.check();
  }
  const auto store = open_sqlite_store(path_);
  store->append_event(event("after"));
  taken.insert("after");
  EXPECT_EQ(subjects(*store), taken);
}

TEST_F(StoreFaults, AFullDiskReadsOnAndRecoversWhenThereIsRoom) {
  if (getuid() != 0 || mount("tmpfs", dir_.c_str(), "tmpfs", 0, "size=2m") != 0) {
    GTEST_SKIP() << "NOT TESTED: no disk of its own without root";
  }
  mounted_ = true;
  // So that there is something to remove; also while the store is open.
  std::ofstream(dir_ + "/other") << std::string(600000, 'x');
  const auto store = open_sqlite_store(path_);
  auto taken = fill(*store);
  EXPECT_GT(taken.size(), 3U);
  EXPECT_EQ(subjects(*store), taken);
  // As large as a page or more: a small one may still find room in a page that is there.
  EXPECT_EQ(reason_of([&] { store->append_event(event("no", std::string(100000, 'x'))); }), "disk_full");
  // A start on the full disk, as after a crash, can read.
  EXPECT_EQ(subjects(*open_sqlite_store(path_)), taken);
  std::filesystem::remove(dir_ + "/other");
  store->append_event(event("after"));
  taken.insert("after");
  EXPECT_EQ(subjects(*store), taken);
}

TEST_F(StoreFaults, ADatabaseHeldByAnotherProcessIsBusy) {
  SqlStore store([this] { return sql::open_sqlite(path_, {.busy_timeout_ms = 1}); }, true, unix_ms_now);
  store.append_event(event("one"));
  const auto other = sql::open_sqlite(path_);
  {
    const sql::Transaction held(*other);
    EXPECT_EQ(reason_of([&] { store.append_event(event("two")); }), "database_busy");
    EXPECT_TRUE(reason_info("database_busy").retryable);
    EXPECT_EQ(subjects(store), std::set<std::string>{"one"});
  }
  store.append_event(event("three"));
  EXPECT_EQ(subjects(store), (std::set<std::string>{"one", "three"}));
}

/// A server that these tests may stop; each has a database of its own.
class ServerFaults : public testing::Test {
 protected:
  static void TearDownTestSuite() { server_.reset(); }
  void SetUp() override {
    if (sql::PostgresServer::programs().empty()) GTEST_SKIP() << sql::PostgresServer::kMissing;
    if (!server_) server_ = std::make_unique<sql::PostgresServer>();
    store_ = open_postgres_store(server_->url(server_->make_database()));
  }
  /// The same store again, in a while.
  void wait_until_it_answers() {
    for (int i = 0; i < 2000; ++i) {
      if (reason_of([&] { store_->check(); }) == "nothing") return;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    ADD_FAILURE() << "the store did not come back";
  }
  static inline std::unique_ptr<sql::PostgresServer> server_;
  std::unique_ptr<Store> store_;
};

TEST_F(ServerFaults, AServerThatIsDownIsUnavailableAndComesBackWithoutARestart) {
  store_->append_event(event("one"));
  EXPECT_EQ(subjects(*store_), std::set<std::string>{"one"});
  server_->stop();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(reason_of([&] { store_->append_event(event("no")); }), "database_unavailable");
    EXPECT_EQ(reason_of([&] { subjects(*store_); }), "database_unavailable");
    EXPECT_EQ(reason_of([&] { store_->check(); }), "database_unavailable");
  }
  server_->start();
  wait_until_it_answers();
  store_->append_event(event("two"));
  EXPECT_EQ(subjects(*store_), (std::set<std::string>{"one", "two"}));
}

TEST_F(ServerFaults, ARestartBetweenTwoRequestsIsHeardByNobody) {
  store_->append_event(event("one"));
  store_->check();
  server_->stop();
  server_->start();
  store_->append_event(event("two"));
  EXPECT_EQ(subjects(*store_), (std::set<std::string>{"one", "two"}));
}

TEST_F(ServerFaults, ACrashOfTheServerLosesNothingAcknowledged) {
  std::mutex mutex;
  std::set<std::string> acknowledged;
  std::set<std::string> reasons;
  std::atomic<bool> end{false};
  std::vector<std::jthread> threads;
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; !end; ++i) {
        const std::string subject = std::to_string(t) + "-" + std::to_string(i);
        const std::string reason = reason_of([&] { store_->append_event(event(subject)); });
        const std::lock_guard lock(mutex);
        if (reason == "nothing") {
          acknowledged.insert(subject);
        } else {
          reasons.insert(reason);
        }
      }
    });
  }
  const auto wait_for_more = [&](std::size_t count) {
    for (std::size_t now = 0; now < count;) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      const std::lock_guard lock(mutex);
      now = acknowledged.size();
    }
  };
  for (int round = 1; round <= 3; ++round) {
    wait_for_more(static_cast<std::size_t>(round) * 100);
    server_->stop(SIGQUIT);
    server_->start();
    wait_until_it_answers();
    std::size_t before = 0;
    {
      const std::lock_guard lock(mutex);
      before = acknowledged.size();
    }
    wait_for_more(before + 10);
  }
  end = true;
  threads.clear();
  EXPECT_THAT(reasons, testing::IsSubsetOf({"database_unavailable"}));
  EXPECT_TRUE(std::ranges::includes(subjects(*store_), acknowledged));
}

}  // namespace
}  // namespace tb::store
