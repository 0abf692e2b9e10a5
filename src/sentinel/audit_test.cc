#include "sentinel/audit.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <random>

#include "base/json.h"
#include "base/test_scale.h"
#include "sentinel/proxy/filters.h"

namespace tb::sentinel {
namespace {

constexpr std::int64_t kWaitMs = 60'000;

AuditEntry entry(std::string path) {
  AuditEntry out;
  out.request_id = "r1";
  out.subject = "key-1";
  out.method = "POST";
  out.path = std::move(path);
  out.status = 200;
  out.outcome = Outcome::kComplete;
  return out;
}

/// Files of this process cannot grow beyond a size while this lives: the same as a full disk.
class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes) {
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit small{bytes, old_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
  }
  ~FullDisk() { setrlimit(RLIMIT_FSIZE, &old_); }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;

 private:
  rlimit old_{};
};

class AuditTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "/audit-XXXXXX";
    dir_ = mkdtemp(pattern.data());
    options_.place = {.directory = dir_ + "/audit", .state_dir = dir_, .frame = {"c1", "a1", true}};
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  std::string log() {
    return read_small_file(options_.place.directory + "/audit.jsonl", std::size_t{64} << 20).value();
  }
  std::vector<Json> records() {
    std::vector<Json> out;
    tlog::LineReader lines(options_.place.directory + "/audit.jsonl");
    for (std::string line; lines.next(line);) out.push_back(Json::parse(line).value());
    return out;
  }
  static void wait_until(const std::function<bool()>& holds) {
    const auto deadline = boot_ms_now() + kWaitMs;
    while (!holds()) {
      ASSERT_LT(boot_ms_now(), deadline);
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }
  std::string dir_;
  AuditOptions options_;
};

TEST_F(AuditTest, WhatWasAppendedIsDurableAfterAFlush) {
  AuditLog audit(options_);
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(audit.reserve());
    audit.append(entry("/v1/" + std::to_string(i)));
  }
  ASSERT_TRUE(audit.flush(kWaitMs));
  EXPECT_EQ(audit.view().records, 100U);
  EXPECT_EQ(audit.view().pending, 0U);
  EXPECT_EQ(tlog::verify_lines(log()).records, 100U);
  const auto all = records();
  for (std::size_t i = 0; i < 100; ++i) EXPECT_EQ(all.at(i).find("path")->as_string(), "/v1/" + std::to_string(i));
}

TEST_F(AuditTest, TheEndWritesWhatWaitsAndACheckpointOfIt) {
  options_.gather_ms = 600'000;
  {
    AuditLog audit(options_);
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(audit.reserve());
      audit.append(entry("/v1/a"));
    }
  }
  EXPECT_EQ(records().size(), 3U);
  const auto note = tlog::Note::parse(read_small_file(options_.place.directory + "/audit.jsonl.checkpoint").value());
  EXPECT_EQ(tlog::Checkpoint::parse(note.text).size, 3U);
}

TEST_F(AuditTest, CheckpointsComeByTimeAndOnDemand) {
  options_.checkpoint_ms = 50;
  AuditLog audit(options_);
  const std::string path = options_.place.directory + "/audit.jsonl.checkpoint";
  const auto size = [&]() -> std::uint64_t {
    const auto text = read_small_file(path);
    return text ? tlog::Checkpoint::parse(tlog::Note::parse(*text).text).size : 0;
  };
  for (std::uint64_t i = 1; i <= 3; ++i) {
    ASSERT_TRUE(audit.reserve());
    audit.append(entry("/v1/a"));
    wait_until([&] { return size() == i; });
  }
}

TEST_F(AuditTest, NoMorePlacesThanThereAre) {
  options_.most_pending = 3;
  options_.gather_ms = 600'000;
  AuditLog audit(options_);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(audit.reserve());
  EXPECT_FALSE(audit.writable());
  EXPECT_FALSE(audit.reserve());
  audit.give_back();
  EXPECT_TRUE(audit.reserve()) << "one came back unused";
  audit.append(entry("/v1/a"));
  EXPECT_FALSE(audit.reserve()) << "it is not durable yet";
  ASSERT_TRUE(audit.flush(kWaitMs));
  EXPECT_TRUE(audit.reserve());
}

TEST_F(AuditTest, WhatCouldNotBeRecordedIsCounted) {
  AuditLog audit(options_);
  audit.count_unrecorded();
  audit.count_unrecorded();
  wait_until([&] { return audit.view().unrecorded == 0 && audit.view().records >= 1; });
  std::int64_t told = 0;
  for (const Json& record : records()) {
    EXPECT_EQ(record.find("event")->as_string(), "refused_unrecorded");
    told += record.find("requests")->as_integer();
  }
  EXPECT_EQ(told, 2);
}

TEST_F(AuditTest, AFullDiskRefusesRequestsAndLosesNothing) {
  AuditLog audit(options_);
  ASSERT_TRUE(audit.reserve());
  audit.append(entry("/before"));
  ASSERT_TRUE(audit.flush(kWaitMs));
  const std::size_t bytes = log().size();
  {
    const FullDisk full(bytes + 100);
    for (int i = 0; i < 5; ++i) {
      ASSERT_TRUE(audit.reserve()) << "a request that was under way before";
    }
    for (int i = 0; i < 5; ++i) audit.append(entry("/during"));
    wait_until([&] { return !audit.writable(); });
    EXPECT_FALSE(audit.reserve());
    audit.count_unrecorded();
    EXPECT_FALSE(audit.flush(50));
    EXPECT_EQ(log().size(), bytes) << "no half record stays";
    EXPECT_FALSE(audit.view().writable);
    EXPECT_EQ(audit.view().pending, 5U);
  }
  ASSERT_TRUE(audit.flush(kWaitMs));
  wait_until([&] { return audit.view().unrecorded == 0 && audit.writable(); });
  EXPECT_TRUE(audit.reserve());
  EXPECT_EQ(tlog::verify_lines(log()).records, 7U);
  EXPECT_EQ(records().front().find("path")->as_string(), "/before");
}

TEST_F(AuditTest, ADiskThatStaysFullDoesNotHoldTheEnd) {
  options_.give_up_ms = 100;
  std::optional<FullDisk> full;
  {
    AuditLog audit(options_);
    ASSERT_TRUE(audit.reserve());
    audit.append(entry("/before"));
    ASSERT_TRUE(audit.flush(kWaitMs));
    full.emplace(log().size());
    ASSERT_TRUE(audit.reserve());
    audit.append(entry("/lost"));
  }
  full.reset();
  EXPECT_EQ(tlog::verify_lines(log()).records, 1U);
}

TEST_F(AuditTest, ANewOriginMayBeginUnderWay) {
  AuditLog audit(options_);
  const std::string origin = audit.view().origin;
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(audit.reserve());
    audit.append(entry("/v1/a"));
    ASSERT_TRUE(audit.flush(kWaitMs));
    if (i == 0) {
      audit.begin_new_origin(17);
      wait_until([&] { return audit.view().origin != origin; });
    }
  }
  const auto all = records();
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].find("event")->as_string(), "origin_begun");
  EXPECT_EQ(all[0].find("records_found")->as_integer(), 1);
  EXPECT_EQ(all[0].find("records_signed")->as_integer(), 17);
  EXPECT_EQ(all[1].find("path")->as_string(), "/v1/a");
}

TEST_F(AuditTest, WhoCountsSeesEachRecordOnceWithItsNumber) {
  std::vector<std::pair<std::uint64_t, std::string>> seen;  // by the writer's thread, read when it has ended
  std::string origin, told;
  options_.on_durable = [&](const std::string& of, std::uint64_t first, std::span<const AuditEntry> entries) {
    told = of;
    for (const AuditEntry& each : entries) seen.emplace_back(first++, each.path);
  };
  {
    AuditLog audit(options_);
    origin = audit.view().origin;
    audit.count_unrecorded();  // a record of its own among them
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(audit.reserve());
      audit.append(entry("/v1/" + std::to_string(i)));
      ASSERT_TRUE(audit.flush(kWaitMs));
    }
  }
  EXPECT_EQ(told, origin);
  ASSERT_EQ(seen.size(), 3U);
  const auto all = records();
  for (const auto& [seq, path] : seen) EXPECT_EQ(all.at(seq).find("path")->as_string(), path);
}

TEST_F(AuditTest, ManyThreadsOneChain) {
  {
    options_.shares_a_core = true;
    AuditLog audit(options_);
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        for (int n = 0; n < 500; ++n) {
          while (!audit.reserve()) std::this_thread::yield();
          audit.append(entry("/v1/a"));
          audit.advance();
        }
      });
    }
  }
  EXPECT_EQ(tlog::verify_lines(log()).records, 2000U);
}

TEST_F(AuditTest, BodiesAreHashedUnderAKeyThatStays) {
  const auto digest = [](BodyHash hash) {
    hash.update(as_bytes("yes"));
    return to_hex(hash.finish());
  };
  std::string first;
  {
    const AuditLog audit(options_);
    first = digest(audit.body_hash("r1"));
    EXPECT_NE(first, digest(audit.body_hash("r2")));
    EXPECT_NE(first, sha256_hex("yes"));
  }
  EXPECT_EQ(first, digest(AuditLog(options_).body_hash("r1"))) << "the key file must stay the same";
  options_.place.frame.keyed = false;
  EXPECT_EQ(digest(AuditLog(options_).body_hash("r1")), sha256_hex("yes")) << "the kept form";
}

TEST_F(AuditTest, BodiesAreHashedByTheHandful) {
  const auto body = [](int i, char c) { return std::string(static_cast<std::size_t>(i * 37 % 3000), c); };
  for (const bool keyed : {true, false}) {
    for (const bool helped : {true, false}) {
      std::filesystem::remove_all(options_.place.directory);
      std::filesystem::remove(dir_ + "/audit-signing-key");
      options_.place.frame.keyed = keyed;
      options_.shares_a_core = helped;
      AuditLog audit(options_);
      for (int i = 0; i < 300; ++i) {
        AuditEntry one = entry("/v1/a");
        one.request_id = "r" + std::to_string(i);
        const std::string request = body(i, 'q'), response = body(i + 1, 's');
        UnhashedBodies bodies{.request = as_bytes(request), .response = as_bytes(response)};
        if (i % 7 == 0) bodies.response.reset();
        ASSERT_TRUE(audit.reserve());
        audit.append(one, bodies);
        if (i % 20 == 0) audit.advance();
      }
      ASSERT_TRUE(audit.flush(kWaitMs));
      EXPECT_EQ(tlog::verify_lines(log()).records, 300U);
      const auto all = records();
      for (int i = 0; i < 300; ++i) {
        const Json& record = all.at(static_cast<std::size_t>(i));
        const std::string id = "r" + std::to_string(i);
        ASSERT_EQ(record.find("request_id")->as_string(), id) << "they keep their order";
        const auto digest = [&](const std::string& text) {
          BodyHash hash = audit.body_hash(id);
          hash.update(as_bytes(text));
          return to_hex(hash.finish());
        };
        ASSERT_EQ(record.find("req_sha256")->as_string(), digest(body(i, 'q'))) << id;
        const Json* response = record.find("resp_sha256");
        ASSERT_EQ(response == nullptr, i % 7 == 0);
        if (response != nullptr) ASSERT_EQ(response->as_string(), digest(body(i + 1, 's'))) << id;
      }
    }
  }
}

TEST_F(AuditTest, BodiesThatWaitForADiskAreBounded) {
  AuditLog audit(options_);
  const std::string text(4096, 'x');
  constexpr int kRecords = 5'000;  // 40 MiB of bodies
  {
    const FullDisk full(100);
    for (int i = 0; i < kRecords; ++i) {
      // Whoever has a place may use it, whether the log can be written or not.
      (void)audit.reserve();
      audit.append(entry("/v1/a"), {.request = as_bytes(text), .response = as_bytes(text)});
    }
    wait_until([&] { return !audit.writable(); });
  }
  ASSERT_TRUE(audit.flush(kWaitMs));
  BodyHash hash = audit.body_hash("r1");
  hash.update(as_bytes(text));
  const std::string digest = to_hex(hash.finish());
  const auto all = records();
  ASSERT_EQ(all.size(), std::size_t{kRecords});
  for (const Json& record : all) {
    ASSERT_EQ(record.find("req_sha256")->as_string(), digest);
    ASSERT_EQ(record.find("resp_sha256")->as_string(), digest);
  }
}

TEST_F(AuditTest, TheFilterHashesShortBodiesLaterAndLongOnesAsTheyPass) {
  AuditLog audit(options_);
  const auto filter = proxy::audit_filter(audit);
  const std::vector<std::size_t> sizes{0, 1, 4095, 4096, 4097, 100'000};
  for (const std::size_t size : sizes) {
    for (const std::size_t piece : {std::size_t{1000}, std::size_t{1} << 20}) {
      proxy::Exchange exchange;
      exchange.request_id = "r1";
      exchange.request.method = "POST";
      exchange.request.target = "/" + std::to_string(size);
      auto visit = filter->visit(exchange);
      ASSERT_FALSE(visit->on_request(exchange));
      const std::string text(size, 'b');
      for (std::size_t at = 0; at < size; at += piece) {
        visit->on_request_chunk(exchange, as_bytes(std::string_view(text).substr(at, piece)));
        visit->on_response_chunk(exchange, as_bytes(std::string_view(text).substr(at, piece)));
      }
      visit->on_end(exchange);
      filter->after_round();
    }
  }
  ASSERT_TRUE(audit.flush(kWaitMs));
  const auto all = records();
  ASSERT_EQ(all.size(), 2 * sizes.size());
  for (const Json& record : all) {
    BodyHash hash = audit.body_hash("r1");
    hash.update(as_bytes(std::string(std::stoul(record.find("path")->as_string().substr(1)), 'b')));
    const std::string digest = to_hex(hash.finish());
    EXPECT_EQ(record.find("req_sha256")->as_string(), digest);
    EXPECT_EQ(record.find("resp_sha256")->as_string(), digest);
  }
}

TEST_F(AuditTest, AKeyFileThatIsNoneIsRefused) {
  std::ofstream(dir_ + "/audit-key") << "zz\n";
  std::filesystem::permissions(dir_ + "/audit-key", std::filesystem::perms(0600));
  EXPECT_THROW(AuditLog{options_}, Error);
  std::filesystem::remove(dir_ + "/audit-key");
  std::ofstream(dir_ + "/audit-signing-key") << "zz\n";
  std::filesystem::permissions(dir_ + "/audit-signing-key", std::filesystem::perms(0600));
  EXPECT_THROW(AuditLog{options_}, Error);
}

TEST_F(AuditTest, TheFilterRefusesWhatItCannotRecord) {
  options_.most_pending = 1;
  AuditLog audit(options_);
  const auto filter = proxy::audit_filter(audit);
  proxy::Exchange served, refused;
  served.request_id = refused.request_id = "r";
  served.model = "tiny";
  served.usage = meter::TokenUsage{.input_tokens = 1, .output_tokens = 2};
  served.request.method = "POST";
  served.request.target = "/v1/completions?secret=1";
  auto first = filter->visit(served);
  EXPECT_FALSE(first->on_request(served));
  auto second = filter->visit(refused);
  const auto refusal = second->on_request(refused);
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->status, 503);
  EXPECT_EQ(refusal->code, "audit_unavailable");
  second->on_end(refused);
  auto third = filter->visit(refused);
  third.reset();  // a connection that failed in an unforeseen way
  first->on_request_chunk(served, as_bytes("in"));
  first->on_response_chunk(served, as_bytes("out"));
  first->on_end(served);
  first.reset();
  ASSERT_TRUE(audit.flush(kWaitMs));
  EXPECT_TRUE(audit.reserve()) << "all places came back";
  wait_until([&] { return audit.view().unrecorded == 0; });
  std::vector<Json> all = records();
  ASSERT_EQ(all.size(), 2U);
  if (all[0].find("event") != nullptr) std::swap(all[0], all[1]);
  EXPECT_EQ(all[0].find("path")->as_string(), "/v1/completions");
  EXPECT_EQ(all[0].find("model")->as_string(), "tiny");
  EXPECT_EQ(all[0].find("usage")->find("output_tokens")->as_integer(), 2);
  EXPECT_EQ(all[1].find("requests")->as_integer(), 1);
}

/// What a process that is killed had reached, seen from outside.
struct Progress {
  std::atomic<std::uint64_t> appended, durable;
  std::atomic<std::int64_t> appended_boot_ms[1 << 16];
};

// A crash at any moment: what was said to be durable is there, what is missing is bounded, the chain holds, and the log
// is continued under the same origin.
TEST_F(AuditTest, KilledAtRandomMomentsItLosesNoMoreThanItSays) {
  constexpr int kKills = 200;
  constexpr std::size_t kMostPending = 512;
  options_.most_pending = kMostPending;
  options_.checkpoint_ms = 5;
  options_.place.segment_bytes = 200'000;
  void* memory = mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  auto* progress = new (memory) Progress;
  std::mt19937 random(20261126);
  std::uint64_t before = 0, most_lost = 0, records = 0, repaired = 0;
  std::int64_t oldest_lost_ms = 0;
  std::string origin;
  for (int kill_number = 0; kill_number < kKills; ++kill_number) {
    progress->appended = progress->durable = 0;
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      AuditLog audit(options_);
      const std::uint64_t at_start = audit.view().records;
      for (std::uint64_t i = 0;; ++i) {
        progress->durable = audit.view().records - at_start;
        if (!audit.reserve()) {
          usleep(100);
          --i;
          continue;
        }
        audit.append(entry("/v1/" + std::to_string(i)));
        progress->appended_boot_ms[i % std::size(progress->appended_boot_ms)] = boot_ms_now();
        progress->appended = i + 1;
        if (i % 16 == 0) usleep(50);
      }
    }
    while (progress->appended == 0) usleep(200);
    usleep(std::uniform_int_distribution<useconds_t>(0, 25'000)(random));
    const std::uint64_t said_durable = progress->durable;
    const std::int64_t killed = boot_ms_now();
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    const std::uint64_t appended = progress->appended;

    const AuditFiles files(options_.place, {});
    if (kill_number == 0) origin = files.origin();
    ASSERT_EQ(files.origin(), origin) << "after kill " << kill_number;
    std::uint64_t found = files.records() - before;
    const auto last = [&] {
      const auto parts = tlog::list_segments(options_.place.directory + "/audit.jsonl");
      std::string line, out;
      tlog::LineReader lines(options_.place.directory + "/audit.jsonl");
      while (lines.next(line)) out = line;
      return out;
    }();
    if (found > 0 && last.find("\"event\":\"end_repaired\"") != std::string::npos) {
      --found;
      ++repaired;
    }
    ASSERT_GE(found, said_durable) << "after kill " << kill_number;
    ASSERT_LE(found, appended + 1) << "the child counts a record after it appended it";
    if (found < appended) {
      most_lost = std::max(most_lost, appended - found);
      ASSERT_LE(appended - found, kMostPending);
      oldest_lost_ms = std::max(
          oldest_lost_ms, killed - progress->appended_boot_ms[found % std::size(progress->appended_boot_ms)].load());
    }
    before = files.records();
    records = before;
  }
  // The whole log, all parts of it, from the first record to the last.
  tlog::ChainHead head;
  const auto parts = tlog::list_segments(options_.place.directory + "/audit.jsonl");
  std::vector<std::string> paths;
  for (const auto first : parts.closed)
    paths.push_back(tlog::segment_path(options_.place.directory + "/audit.jsonl", first));
  paths.push_back(options_.place.directory + "/audit.jsonl");
  for (const auto& path : paths) {
    tlog::LineReader lines(path);
    for (std::string line; lines.next(line);) ASSERT_NO_THROW(tlog::verify_record(head, line));
  }
  EXPECT_EQ(head.records, records);
  EXPECT_GT(most_lost, 0U) << "nothing was under way when it was killed: this shows nothing";
  munmap(memory, sizeof(Progress));
  std::printf("%d kills: %lu records in %zu parts, at most %lu lost, the oldest %ld ms old, %lu ends repaired\n",
              kKills, records, paths.size(), most_lost, oldest_lost_ms, repaired);
}

}  // namespace
}  // namespace tb::sentinel
