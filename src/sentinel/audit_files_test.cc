#include "sentinel/audit_files.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>

#include <filesystem>
#include <fstream>

#include "base/json.h"

namespace tb::sentinel {
namespace {

constexpr UnixMs kNow = 1795651200000;
constexpr std::int64_t kDayMs = 86'400'000;

class AuditFilesTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "/audit-files-XXXXXX";
    dir_ = mkdtemp(pattern.data());
    place_ = {
        .directory = dir_ + "/audit", .state_dir = dir_, .frame = {"c1", "a1", true}, .clock = [this] { return now_; }};
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  AuditFiles open() { return AuditFiles(place_, {}); }
  std::string log_path() const { return place_.directory + "/audit.jsonl"; }
  static void write(AuditFiles& files, int records) {
    AuditBatch batch = files.begin();
    for (int i = 0; i < records; ++i) batch.add(R"({"ts":"2026-11-26T00:00:00.000Z","n":)" + std::to_string(i));
    value_or_throw(files.commit(batch));
  }
  std::string text(const std::string& name = "audit.jsonl") const {
    return value_or_throw(read_small_file(place_.directory + "/" + name, std::size_t{16} << 20));
  }
  /// All lines of all parts that are there.
  std::vector<std::string> lines() const {
    std::vector<std::string> out;
    const auto parts = tlog::list_segments(log_path());
    std::vector<std::string> paths;
    for (const auto first : parts.closed) paths.push_back(tlog::segment_path(log_path(), first));
    paths.push_back(log_path());
    for (const auto& path : paths) {
      tlog::LineReader reader(path);
      for (std::string line; reader.next(line);) out.push_back(line);
      EXPECT_FALSE(reader.has_partial());
    }
    return out;
  }
  static Json json(const std::string& line) { return value_or_throw(Json::parse(line)); }
  std::string event_of(std::size_t record) const {
    const Json line = json(lines().at(record));
    const Json* event = line.find("event");
    return event == nullptr ? "" : event->as_string();
  }
  /// What a witness does (C2SP tlog-witness): true if it signed.
  bool show(AuditFiles& files) {
    const auto request = files.to_submit();
    if (!request) return false;
    const auto checkpoint = tlog::verified_checkpoint(request->checkpoint, files.public_key());
    if (request->old_size != witness_size_) return false;
    EXPECT_TRUE(
        tlog::verify_consistency(witness_size_, witness_root_, checkpoint.size, checkpoint.root, request->consistency))
        << witness_size_ << " to " << checkpoint.size;
    witness_size_ = checkpoint.size;
    witness_root_ = checkpoint.root;
    signature_ = tlog::cosign(witness_, "w", request->checkpoint.text, 1);
    return true;
  }
  bool countersign(AuditFiles& files) {
    if (!show(files)) return false;
    files.countersigned(*signature_);
    return true;
  }

  std::string dir_;
  AuditPlace place_;
  UnixMs now_ = kNow;
  const Ed25519PrivateKey witness_ = Ed25519PrivateKey::generate();
  std::uint64_t witness_size_ = 0;
  Digest witness_root_ = tlog::empty_root();
  std::optional<tlog::NoteSignature> signature_;
};

TEST_F(AuditFilesTest, OneChainAndOneOriginOverRestarts) {
  std::string origin;
  for (int run = 0; run < 3; ++run) {
    AuditFiles files = open();
    if (run == 0) origin = files.origin();
    EXPECT_EQ(files.origin(), origin);
    EXPECT_EQ(files.records(), static_cast<std::uint64_t>(run) * 2);
    write(files, 2);
  }
  EXPECT_EQ(tlog::verify_lines(text()).records, 6U);
  EXPECT_EQ(text("audit.pub"), to_base64url(open().public_key()) + "\n");
  EXPECT_EQ(std::filesystem::status(dir_ + "/audit-signing-key").permissions(), std::filesystem::perms(0600));
}

TEST_F(AuditFilesTest, OneWriterAtATime) {
  const AuditFiles first = open();
  EXPECT_THROW(open(), Error);
}

TEST_F(AuditFilesTest, ACheckpointIsOfWhatIsDurable) {
  AuditFiles files = open();
  ASSERT_TRUE(files.checkpoint());
  EXPECT_FALSE(std::filesystem::exists(log_path() + ".checkpoint")) << "of nothing there is none";
  write(files, 5);
  ASSERT_TRUE(files.checkpoint());
  const auto checkpoint =
      tlog::verified_checkpoint(tlog::Note::parse(text("audit.jsonl.checkpoint")), files.public_key());
  EXPECT_EQ(checkpoint.size, 5U);
  EXPECT_EQ(checkpoint.origin, files.origin());
}

TEST_F(AuditFilesTest, ABatchThatCannotBeWrittenLeavesNothing) {
  AuditFiles files = open();
  write(files, 3);
  const std::string before = text();
  rlimit old{};
  getrlimit(RLIMIT_FSIZE, &old);
  const rlimit small{before.size() + 100, old.rlim_max};
  signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &small);
  AuditBatch batch = files.begin();
  for (int i = 0; i < 100; ++i) batch.add(R"({"n":1)");
  const auto written = files.commit(batch);
  setrlimit(RLIMIT_FSIZE, &old);
  ASSERT_FALSE(written);
  EXPECT_EQ(text(), before);
  EXPECT_EQ(files.records(), 3U);
  write(files, 2);
  EXPECT_EQ(tlog::verify_lines(text()).records, 5U);
}

TEST_F(AuditFilesTest, ABatchMayBeWrittenPieceByPieceAndGivenUp) {
  AuditFiles files = open();
  write(files, 3);
  const std::string before = text();
  AuditBatch given_up = files.begin();
  given_up.add(R"({"n":1)");
  ASSERT_TRUE(files.write(given_up));
  given_up.add(R"({"n":2)");
  ASSERT_TRUE(files.write(given_up));
  EXPECT_GT(text().size(), before.size()) << "it waits in the file";
  EXPECT_EQ(files.records(), 3U);
  AuditBatch batch = files.begin();
  batch.add(R"({"n":3)");
  ASSERT_TRUE(files.write(batch));
  EXPECT_EQ(batch.bytes(), text().size() - before.size());
  batch.add(R"({"n":4)");
  ASSERT_TRUE(files.commit(batch));
  EXPECT_EQ(tlog::verify_lines(text()).records, 5U);
  EXPECT_EQ(json(lines().at(3)).find("n")->as_integer(), 3);
  EXPECT_EQ(files.records(), 5U);
}

TEST_F(AuditFilesTest, APieceThatCannotBeWrittenTakesTheOthersWithIt) {
  AuditFiles files = open();
  write(files, 3);
  const std::string before = text();
  AuditBatch batch = files.begin();
  batch.add(R"({"n":1)");
  ASSERT_TRUE(files.write(batch));
  rlimit old{};
  getrlimit(RLIMIT_FSIZE, &old);
  const rlimit small{text().size() + 100, old.rlim_max};
  signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &small);
  for (int i = 0; i < 100; ++i) batch.add(R"({"n":1)");
  const auto written = files.write(batch);
  setrlimit(RLIMIT_FSIZE, &old);
  ASSERT_FALSE(written);
  EXPECT_EQ(text(), before);
  write(files, 2);
  EXPECT_EQ(tlog::verify_lines(text()).records, 5U);
}

TEST_F(AuditFilesTest, PiecesThatAKilledProcessLeftAreRecords) {
  {
    AuditFiles files = open();
    write(files, 3);
    AuditBatch batch = files.begin();
    batch.add(R"({"n":1)");
    ASSERT_TRUE(files.write(batch));
  }
  AuditFiles files = open();
  EXPECT_EQ(files.records(), 4U);
  write(files, 1);
  EXPECT_EQ(tlog::verify_lines(text()).records, 5U);
}

TEST_F(AuditFilesTest, AnEndThatACrashCutIsRepairedAndTold) {
  std::string whole;
  {
    AuditFiles files = open();
    write(files, 4);
    ASSERT_TRUE(files.checkpoint());
    write(files, 3);
    whole = text();
  }
  const std::size_t durable = [&] {  // what the checkpoint covers
    std::size_t at = 0;
    for (int i = 0; i < 4; ++i) at = whole.find('\n', at) + 1;
    return at;
  }();
  for (std::size_t bytes = durable; bytes < whole.size(); bytes += 17) {
    std::ofstream(log_path(), std::ios::trunc | std::ios::binary) << whole.substr(0, bytes);
    const bool torn = whole[bytes - 1] != '\n';
    AuditFiles files = open();
    const auto now = lines();
    EXPECT_EQ(tlog::verify_lines(text()).records, files.records());
    EXPECT_GE(files.records(), 4U);
    EXPECT_EQ(event_of(now.size() - 1), torn ? "end_repaired" : "") << bytes;
    if (torn) {
      EXPECT_EQ(json(now.back()).find("dropped_bytes")->as_integer(),
                static_cast<std::int64_t>(bytes - whole.rfind('\n', bytes - 1) - 1));
    }
  }
}

TEST_F(AuditFilesTest, GarbageOfOneCommitIsKeptAside) {
  {
    AuditFiles files = open();
    write(files, 2);
  }
  const std::string garbage = std::string(5000, '\0') + "\n{}\nx";
  std::ofstream(log_path(), std::ios::app | std::ios::binary) << garbage;
  AuditFiles files = open();
  EXPECT_EQ(files.records(), 3U);
  EXPECT_EQ(event_of(2), "end_repaired");
  EXPECT_EQ(text("dropped-2-" + std::to_string(kNow)), garbage);
}

TEST_F(AuditFilesTest, ALogThatIsNotWhatWasSignedIsSetAsideAndTheGapIsRecorded) {
  const auto with = [&](const std::function<void()>& spoil, const std::string& what) {
    SCOPED_TRACE(what);
    std::filesystem::remove_all(place_.directory);
    std::filesystem::remove(dir_ + "/audit-signing-key");
    witness_size_ = 0;
    witness_root_ = tlog::empty_root();
    std::string origin;
    {
      AuditFiles files = open();
      origin = files.origin();
      write(files, 6);
      ASSERT_TRUE(countersign(files));
      write(files, 2);
      ASSERT_TRUE(files.checkpoint());
    }
    spoil();
    AuditFiles files = open();
    EXPECT_NE(files.origin(), origin);
    EXPECT_EQ(files.records(), 1U);
    EXPECT_EQ(files.countersigned_records(), 0U);
    const Json record = json(lines().at(0));
    EXPECT_EQ(record.find("event")->as_string(), "origin_begun");
    EXPECT_EQ(record.find("previous_origin")->as_string(), what == "key" ? "" : origin);
    const int expected = what == "key" ? 0 : what == "no note" ? 6 : 8;
    EXPECT_EQ(record.find("records_signed")->as_integer(), expected);
    EXPECT_TRUE(std::filesystem::exists(place_.directory + "/ended-" + std::to_string(kNow) + "/audit.pub"))
        << "nothing is deleted";
  };
  const auto lines_of = [&](int count) {
    std::string all = text();
    std::size_t at = 0;
    for (int i = 0; i < count; ++i) at = all.find('\n', at) + 1;
    return all.substr(0, at);
  };
  with([&] { std::ofstream(log_path(), std::ios::trunc) << lines_of(5); }, "shorter than countersigned");
  with([&] { std::ofstream(log_path(), std::ios::trunc) << lines_of(7); }, "shorter than its own checkpoint");
  with([&] { std::ofstream(log_path(), std::ios::trunc) << lines_of(7) << "{\"ts\""; },
       "shorter by one, which the record of a repair must not make up for");
  with([&] { std::ofstream(log_path(), std::ios::trunc) << lines_of(5) << "{\"ts\""; }, "shorter and torn");
  with([&] { std::filesystem::remove(log_path()); }, "gone");
  with(
      [&] {
        std::string all = text();
        all[all.find("\"n\":3") + 4] = '9';
        std::ofstream(log_path(), std::ios::trunc) << all;
      },
      "changed");
  with([&] { std::ofstream(log_path(), std::ios::trunc) << "something else\n"; }, "foreign");
  with([&] { std::ofstream(log_path() + ".checkpoint", std::ios::trunc) << "nothing\n"; }, "no note");
  with([&] { std::filesystem::remove(dir_ + "/audit-signing-key"); }, "key");
  with(
      [&] {  // a rewritten chain that is valid in itself
        tlog::ChainHead head;
        std::string all;
        for (int i = 0; i < 9; ++i) {
          Json other = Json::object();
          other.set("n", i);
          all += tlog::append_record(head, other) + "\n";
        }
        std::ofstream(log_path(), std::ios::trunc) << all;
      },
      "rewritten");
}

TEST_F(AuditFilesTest, ALogOfAVersionThatSignedNothingIsContinued) {
  std::filesystem::create_directories(place_.directory);
  std::filesystem::permissions(place_.directory, std::filesystem::perms(0700));
  tlog::ChainHead head;
  Json old = Json::object();
  old.set("n", 1);
  std::ofstream(log_path()) << tlog::append_record(head, old) << "\n";
  AuditFiles files = open();
  write(files, 1);
  EXPECT_EQ(tlog::verify_lines(text()).records, 2U);
}

TEST_F(AuditFilesTest, PartsAreClosedBySizeAndByDay) {
  place_.segment_bytes = 1000;
  AuditFiles files = open();
  ASSERT_TRUE(files.rotate_if_due());
  write(files, 3);
  ASSERT_TRUE(files.rotate_if_due()) << "not due";
  EXPECT_TRUE(tlog::list_segments(log_path()).closed.empty());
  write(files, 10);
  ASSERT_TRUE(files.rotate_if_due());
  ASSERT_TRUE(files.rotate_if_due()) << "an empty part is not closed";
  EXPECT_EQ(tlog::list_segments(log_path()).closed, std::vector<std::uint64_t>{0});
  write(files, 1);
  now_ += kDayMs;
  ASSERT_TRUE(files.rotate_if_due());
  EXPECT_EQ(tlog::list_segments(log_path()).closed, (std::vector<std::uint64_t>{0, 13}));
  EXPECT_EQ(text(), "");
  write(files, 1);
  tlog::ChainHead head;
  for (const auto& line : lines()) tlog::verify_record(head, line);
  EXPECT_EQ(head.records, 15U);
}

TEST_F(AuditFilesTest, ARestartGoesOnInPartsWhereverItStopped) {
  place_.segment_bytes = 1;
  {
    AuditFiles files = open();
    for (int i = 0; i < 3; ++i) {
      write(files, 2);
      ASSERT_TRUE(files.rotate_if_due());
    }
  }
  const auto whole_after = [&](const std::function<void()>& crash, std::uint64_t records) {
    crash();
    AuditFiles files = open();
    EXPECT_EQ(files.records(), records);
    write(files, 1);
    ASSERT_TRUE(files.rotate_if_due());
    tlog::ChainHead head;
    for (const auto& line : lines()) tlog::verify_record(head, line);
    EXPECT_EQ(head.records, records + 1);
  };
  whole_after([] {}, 6);
  whole_after([&] { std::filesystem::remove(log_path()); }, 7);  // between the cut and the next part
  whole_after(
      [&] {  // between closing the part and its cut
        std::filesystem::remove(log_path());
        std::filesystem::remove(tlog::cut_path(log_path(), 8));
      },
      8);
}

TEST_F(AuditFilesTest, AMissingPartIsAGap) {
  place_.segment_bytes = 1;
  {
    AuditFiles files = open();
    for (int i = 0; i < 3; ++i) {
      write(files, 2);
      ASSERT_TRUE(files.rotate_if_due());
      if (i == 0) ASSERT_TRUE(countersign(files));
    }
  }
  std::filesystem::remove(tlog::segment_path(log_path(), 2));
  AuditFiles files = open();
  EXPECT_EQ(event_of(0), "origin_begun");
}

TEST_F(AuditFilesTest, ACutThatAnotherKeySignedIsNotBelieved) {
  place_.segment_bytes = 1;
  std::string origin;
  {
    AuditFiles files = open();
    origin = files.origin();
    write(files, 2);
    ASSERT_TRUE(files.rotate_if_due());
  }
  const std::string path = tlog::cut_path(log_path(), 2);
  tlog::Cut cut = tlog::Cut::parse(value_or_throw(read_small_file(path)));
  cut.checkpoint = tlog::sign_checkpoint(tlog::Checkpoint::parse(cut.checkpoint.text), witness_);
  value_or_throw(write_file_atomically(path, cut.to_text(), 0600, true));
  AuditFiles files = open();
  EXPECT_NE(files.origin(), origin);
  EXPECT_EQ(event_of(0), "origin_begun");
}

TEST_F(AuditFilesTest, EveryGrowthIsProvenToTheWitnessAlsoOverRestarts) {
  place_.segment_bytes = 700;
  std::optional<AuditFiles> files;
  files.emplace(place_, obs::Log());
  ASSERT_TRUE(countersign(*files)) << "an empty log is registered, too";
  EXPECT_FALSE(files->to_submit()) << "the witness has all";
  for (int round = 0; round < 40; ++round) {
    write(*files, round % 4 + 1);
    ASSERT_TRUE(files->rotate_if_due());
    if (round % 3 == 0) {
      files.reset();
      files.emplace(place_, obs::Log());
    }
    if (round % 2 == 0) {
      ASSERT_TRUE(countersign(*files)) << round;
      EXPECT_EQ(files->countersigned_records(), files->records());
    }
  }
  const auto note = tlog::Note::parse(text("audit.jsonl.checkpoint-countersigned"));
  EXPECT_EQ(note.signatures.size(), 2U);
}

TEST_F(AuditFilesTest, RecordsThatComeWhileTheWitnessThinksAreProvenNextTime) {
  AuditFiles files = open();
  write(files, 5);
  ASSERT_TRUE(show(files));
  write(files, 6);
  EXPECT_EQ(tlog::Checkpoint::parse(files.to_submit()->checkpoint.text).size, 5U) << "the same until it is settled";
  files.countersigned(*signature_);
  EXPECT_EQ(files.countersigned_records(), 5U);
  ASSERT_TRUE(countersign(files));
  EXPECT_EQ(files.countersigned_records(), 11U);
}

TEST_F(AuditFilesTest, AnAnswerThatWasLostIsFoundAgain) {
  place_.segment_bytes = 400;
  std::optional<AuditFiles> files;
  files.emplace(place_, obs::Log());
  const auto lost_then = [&](int more, bool restart) {
    write(*files, 3);
    ASSERT_TRUE(show(*files)) << "signed, and we never hear of it";
    write(*files, more);
    ASSERT_TRUE(files->rotate_if_due());
    if (restart) {
      files.reset();
      files.emplace(place_, obs::Log());
    }
    if (!countersign(*files)) {
      ASSERT_EQ(files->witness_is_at(witness_size_), AuditFiles::WitnessView::kContinue);
      ASSERT_TRUE(countersign(*files));
    }
    if (files->to_submit()) ASSERT_TRUE(countersign(*files));
    EXPECT_EQ(files->countersigned_records(), files->records());
  };
  lost_then(0, false);
  lost_then(4, false);
  lost_then(4, true);
  lost_then(0, true);
}

TEST_F(AuditFilesTest, ARestoredLogIsShownBeforeAnythingIsAdded) {
  {
    AuditFiles files = open();
    write(files, 4);
    ASSERT_TRUE(countersign(files));
    EXPECT_FALSE(files.to_submit());
  }
  AuditFiles files = open();
  const auto request = files.to_submit();
  ASSERT_TRUE(request);
  EXPECT_EQ(request->old_size, 4U);
  EXPECT_TRUE(request->consistency.empty());
  EXPECT_EQ(files.witness_is_at(7), AuditFiles::WitnessView::kLogIsShorter);
  ASSERT_TRUE(countersign(files));
  EXPECT_FALSE(files.to_submit());
}

TEST_F(AuditFilesTest, AWitnessThatForgotIsShownAllAgain) {
  place_.segment_bytes = 400;
  AuditFiles files = open();
  write(files, 4);
  ASSERT_TRUE(countersign(files));
  const auto early = std::pair(witness_size_, witness_root_);
  write(files, 5);
  ASSERT_TRUE(files.rotate_if_due());
  ASSERT_TRUE(countersign(files));
  write(files, 2);
  std::tie(witness_size_, witness_root_) = early;  // restored from a backup
  EXPECT_FALSE(show(files));
  ASSERT_EQ(files.witness_is_at(4), AuditFiles::WitnessView::kContinue);
  ASSERT_TRUE(countersign(files));
  EXPECT_EQ(files.countersigned_records(), 11U);
}

TEST_F(AuditFilesTest, AWitnessThatContradictsItselfOrKnowsMore) {
  AuditFiles files = open();
  write(files, 4);
  ASSERT_TRUE(countersign(files));
  write(files, 1);
  ASSERT_TRUE(files.to_submit());
  EXPECT_EQ(files.witness_is_at(4), AuditFiles::WitnessView::kContradiction) << "that is what we said";
  EXPECT_EQ(files.witness_is_at(6), AuditFiles::WitnessView::kLogIsShorter);
}

TEST_F(AuditFilesTest, OldPartsGoOnlyWhenTheyAreCountersigned) {
  place_.segment_bytes = 1;
  place_.retention_ms = kDayMs;
  AuditFiles files = open();
  for (int i = 0; i < 3; ++i) {
    write(files, 2);
    ASSERT_TRUE(files.rotate_if_due());
  }
  now_ = unix_ms_now() + 10 * kDayMs;
  EXPECT_EQ(files.retire(), 0U) << "nobody has countersigned";
  // The witness has seen four of six records: the parts that these fill may go, the third may not.
  witness_size_ = 0;
  ASSERT_TRUE(countersign(files));
  now_ = unix_ms_now();
  EXPECT_EQ(files.retire(), 0U) << "not old enough";
  now_ += 10 * kDayMs;
  write(files, 2);
  ASSERT_TRUE(files.rotate_if_due());
  EXPECT_EQ(files.retire(), 3U);
  EXPECT_EQ(tlog::list_segments(log_path()).closed, std::vector<std::uint64_t>{6});
  EXPECT_EQ(tlog::list_segments(log_path()).cuts, (std::vector<std::uint64_t>{6, 8}));
}

TEST_F(AuditFilesTest, ALogWhoseOldPartsAreGoneGoesOn) {
  place_.segment_bytes = 1;
  place_.retention_ms = kDayMs;
  std::string origin;
  {
    AuditFiles files = open();
    origin = files.origin();
    for (int i = 0; i < 3; ++i) {
      write(files, 2);
      ASSERT_TRUE(files.rotate_if_due());
    }
    ASSERT_TRUE(countersign(files));
    now_ = unix_ms_now() + 10 * kDayMs;
    ASSERT_EQ(files.retire(), 3U);
  }
  for (int run = 0; run < 2; ++run) {
    AuditFiles files = open();
    EXPECT_EQ(files.origin(), origin);
    EXPECT_EQ(files.records(), 6U + static_cast<std::uint64_t>(run));
    write(files, 1);
    ASSERT_TRUE(countersign(files));
  }
  EXPECT_EQ(open().records(), 8U);
  EXPECT_EQ(open().countersigned_records(), 8U);
}

}  // namespace
}  // namespace tb::sentinel
