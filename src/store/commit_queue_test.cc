// Groups of changes against a connection that fails when it is told to: who is harmed, what runs again, what does not.
#include "store/commit_queue.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <thread>

#include "base/crypto.h"
#include "base/error.h"
#include "sql/sqlite.h"

namespace tb::store {
namespace {

/// SQLite, with a fault for each script that `faults` has a reason for, and a count of the commits.
struct Faults {
  std::map<std::string, std::vector<std::string>> of;  ///< by script: reasons, used up from the back
  int commits = 0;
  int opened = 0;
  bool usable = true;
};

class FaultyConnection final : public sql::Connection {
 public:
  FaultyConnection(const std::string& path, Faults& faults) : db_(sql::open_sqlite(path)), faults_(faults) {}
  sql::Dialect dialect() const override { return db_->dialect(); }
  sql::Statement prepare(std::string_view sql) override { return db_->prepare(sql); }
  void execute(const std::string& sql) override {
    fail(sql);
    db_->execute(sql);
    if (sql == "COMMIT") ++faults_.commits;
  }
  void begin_exclusive() override {
    fail("BEGIN");
    db_->begin_exclusive();
  }
  void begin_snapshot() override { db_->begin_snapshot(); }
  bool usable() const override { return faults_.usable; }
  std::int64_t schema_version() override { return db_->schema_version(); }
  void set_schema_version(std::int64_t version) override { db_->set_schema_version(version); }

 private:
  void fail(const std::string& sql) {
    auto& reasons = faults_.of[sql];
    if (reasons.empty()) return;
    const std::string reason = reasons.back();
    reasons.pop_back();
    if (reason == "database_unavailable") faults_.usable = false;
    throw Error(reason, "as the test wants it");
  }
  std::unique_ptr<sql::Connection> db_;
  Faults& faults_;
};

class CommitQueueTest : public testing::Test {
 protected:
  CommitQueueTest() {
    std::filesystem::create_directories(dir_);
    sql::open_sqlite(path_)->execute("CREATE TABLE item (name TEXT PRIMARY KEY) STRICT");
  }
  ~CommitQueueTest() override { std::filesystem::remove_all(dir_); }

  static void insert(Change& change, const std::string& name) {
    change.db().prepare("INSERT INTO item (name) VALUES (?)").bind(name).run();
    change.commit();
  }
  std::set<std::string> items() const {
    const auto db = sql::open_sqlite(path_);
    auto rows = db->prepare("SELECT name FROM item");
    std::set<std::string> out;
    while (rows.step()) out.insert(rows.text(0));
    return out;
  }
  std::string reason_of(CommitQueue::Body body) {
    try {
      queue_.run(std::move(body));
    } catch (const Error& error) {
      return error.reason;
    }
    return "nothing";
  }
  /// Runs `bodies` as one group: they wait while another change holds the queue. Their reasons, in order.
  std::vector<std::string> run_as_group(std::vector<CommitQueue::Body> bodies, std::function<void()> before = [] {}) {
    std::vector<std::string> reasons(bodies.size());
    std::vector<std::jthread> threads;
    queue_.run([&](Change&) {
      for (std::size_t i = 0; i < bodies.size(); ++i) {
        threads.emplace_back([&, i] { reasons[i] = reason_of(bodies[i]); });
        while (queue_.waiting() != i + 1) std::this_thread::yield();
      }
      faults_.commits = 0;
      before();
    });
    threads.clear();
    return reasons;
  }

  const std::string dir_ = testing::TempDir() + "tb-commits-" + random_token(8);
  const std::string path_ = dir_ + "/test.db";
  Faults faults_;
  sql::PatientOpener opener_{[this]() -> std::unique_ptr<sql::Connection> {
    ++faults_.opened;
    faults_.usable = true;
    return std::make_unique<FaultyConnection>(path_, faults_);
  }};
  CommitQueue queue_{opener_};
};

using Reasons = std::vector<std::string>;

TEST_F(CommitQueueTest, ThoseThatWaitAreCommittedTogether) {
  const auto reasons = run_as_group(
      {[](Change& c) { insert(c, "a"); }, [](Change& c) { insert(c, "b"); }, [](Change& c) { insert(c, "c"); }});
  EXPECT_EQ(reasons, Reasons(3, "nothing"));
  EXPECT_EQ(faults_.commits, 1);
  EXPECT_EQ(items(), (std::set<std::string>{"a", "b", "c"}));
}

TEST_F(CommitQueueTest, AChangeThatFailsHarmsNobody) {
  const auto reasons = run_as_group({[](Change& c) { insert(c, "a"); },
                                     [](Change& c) {
                                       insert(c, "half");
                                       throw Error("asset_in_use", "");
                                     },
                                     [](Change& c) { insert(c, "a"); }, [](Change& c) { insert(c, "d"); }});
  EXPECT_EQ(reasons, (Reasons{"nothing", "asset_in_use", "database_failed", "nothing"}));
  EXPECT_EQ(faults_.commits, 1);
  EXPECT_EQ(items(), (std::set<std::string>{"a", "d"}));
}

TEST_F(CommitQueueTest, WhatDoesNotReachCommitIsUndone) {
  const auto half = [](Change& c) { c.db().execute("INSERT INTO item VALUES ('half')"); };
  EXPECT_EQ(run_as_group({half, [](Change& c) { insert(c, "b"); }}), Reasons(2, "nothing"));
  EXPECT_EQ(reason_of(half), "nothing");
  EXPECT_EQ(items(), std::set<std::string>{"b"});
}

TEST_F(CommitQueueTest, ATransactionThatIsGoneIsMadeUpForOneByOne) {
  // As SQLite does by itself when the disk is full.
  const auto reasons = run_as_group({[](Change& c) { insert(c, "a"); },
                                     [](Change& c) {
                                       c.db().execute("ROLLBACK");
                                       throw Error("disk_full", "");
                                     },
                                     [](Change& c) { insert(c, "c"); }});
  EXPECT_EQ(reasons, (Reasons{"nothing", "disk_full", "nothing"}));
  EXPECT_EQ(items(), (std::set<std::string>{"a", "c"}));
}

TEST_F(CommitQueueTest, ACommitThatFailsIsTriedForEachAlone) {
  const auto reasons = run_as_group({[](Change& c) { insert(c, "a"); }, [](Change& c) { insert(c, "b"); }},
                                    [&] { faults_.of["COMMIT"] = {"disk_full", "disk_full"}; });
  EXPECT_EQ(reasons, (Reasons{"disk_full", "nothing"}));
  EXPECT_EQ(items(), std::set<std::string>{"b"});
}

TEST_F(CommitQueueTest, WhatMayHaveBeenCommittedIsNotRunAgain) {
  int runs = 0;
  const auto counted = [&](Change& c) {
    ++runs;
    insert(c, "x" + std::to_string(runs));
  };
  const auto lose = [&] { faults_.of["COMMIT"] = {"database_unavailable"}; };
  EXPECT_EQ(run_as_group({counted, counted}, lose), Reasons(2, "database_unavailable"));
  EXPECT_EQ(runs, 2);
  lose();
  EXPECT_EQ(reason_of(counted), "database_unavailable");
  EXPECT_EQ(runs, 3);
  EXPECT_EQ(reason_of(counted), "nothing") << "and the next caller finds a new connection";
}

TEST_F(CommitQueueTest, AConnectionThatDiedWhileIdleIsReplacedUnheard) {
  EXPECT_EQ(reason_of([](Change& c) { insert(c, "a"); }), "nothing");
  faults_.of["BEGIN"] = {"database_unavailable"};
  EXPECT_EQ(reason_of([](Change& c) { insert(c, "b"); }), "nothing");
  EXPECT_EQ(faults_.opened, 2);
  const auto reasons = run_as_group({[](Change& c) { insert(c, "c"); }, [](Change& c) { insert(c, "d"); }},
                                    [&] { faults_.of["SAVEPOINT change"] = {"database_unavailable"}; });
  EXPECT_EQ(reasons, Reasons(2, "nothing")) << "nothing was committed when it died";
  EXPECT_EQ(items(), (std::set<std::string>{"a", "b", "c", "d"}));
}

TEST_F(CommitQueueTest, AServerThatStaysAwayIsUnavailableToAll) {
  EXPECT_EQ(reason_of([](Change& c) { insert(c, "a"); }), "nothing");
  const Reasons away(2, "database_unavailable");
  EXPECT_EQ(run_as_group({[](Change& c) { insert(c, "b"); }, [](Change& c) { insert(c, "c"); }},
                         [&] { faults_.of["BEGIN"] = away; }),
            away);
  EXPECT_EQ(reason_of([](Change& c) { insert(c, "d"); }), "nothing");
  EXPECT_EQ(items(), (std::set<std::string>{"a", "d"}));
}

TEST_F(CommitQueueTest, ConflictsAreRunAgainAFewTimes) {
  faults_.of["COMMIT"] = {"database_conflict", "database_conflict"};
  EXPECT_EQ(reason_of([](Change& c) { insert(c, "a"); }), "nothing");
  int runs = 0;
  EXPECT_EQ(reason_of([&](Change&) {
              ++runs;
              throw Error("database_conflict", "");
            }),
            "database_conflict");
  EXPECT_EQ(runs, 5);
  EXPECT_EQ(run_as_group({[](Change& c) { insert(c, "b"); }, [](Change& c) { insert(c, "c"); }},
                         [&] { faults_.of["COMMIT"] = {"database_conflict"}; }),
            Reasons(2, "nothing"));
  bool first = true;
  EXPECT_EQ(run_as_group({[&](Change& c) {
                            if (std::exchange(first, false)) throw Error("database_conflict", "");
                            insert(c, "d");
                          },
                          [](Change& c) { insert(c, "e"); }}),
            Reasons(2, "nothing"));
  EXPECT_EQ(items(), (std::set<std::string>{"a", "b", "c", "d", "e"}));
}

TEST_F(CommitQueueTest, CountsGroupsAndChangesOnceItIsAsked) {
  run_as_group({[](Change& c) { insert(c, "a"); }});
  obs::Counter groups, changes;
  queue_.count_into(groups, changes);
  EXPECT_EQ(reason_of([](Change& c) { insert(c, "b"); }), "nothing");
  EXPECT_EQ(groups.value(), 1U);
  EXPECT_EQ(changes.value(), 1U);
  run_as_group({[](Change& c) { insert(c, "c"); }, [](Change& c) { insert(c, "d"); }});
  EXPECT_EQ(changes.value() - groups.value(), 1U) << "two of them shared a commit";
}

TEST_F(CommitQueueTest, WithConnectionLetsOthersGoOnAfterwards) {
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i) {
        if (t == 0) {
          queue_.with_connection([](sql::Connection& db) { db.prepare("SELECT 1 FROM item").step(); });
        } else {
          queue_.run([&](Change& c) { insert(c, std::to_string(t * 100 + i)); });
        }
      }
    });
  }
  threads.clear();
  EXPECT_EQ(items().size(), 60U);
  EXPECT_THROW(queue_.with_connection([](sql::Connection&) { throw Error("internal", ""); }), Error);
  EXPECT_EQ(reason_of([](Change& c) { insert(c, "last"); }), "nothing");
}

}  // namespace
}  // namespace tb::store
