// spec: wire 1.2, audit/checkpoints; C2SP tlog-witness
#include "sentinel/audit_witness.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/clock.h"

namespace tb::sentinel {
namespace {

constexpr std::int64_t kWaitMs = 60'000;

/// As controlplane/handle_audit.cc judges, unless a test has it answer something else.
class Witness {
 public:
  http::ClientResponse answer(const std::string& target, const std::string& body) {
    const std::scoped_lock lock(mutex_);
    target_ = target;
    ++asked_;
    if (instead_) return instead_(body);
    const auto request = tlog::AddCheckpoint::parse(body);
    const auto checkpoint = tlog::Checkpoint::parse(request.checkpoint.text);
    auto& known = logs_[checkpoint.origin];
    if (request.old_size != known.size)
      return {.status = 409, .headers = {}, .body = std::to_string(known.size) + "\n"};
    if (!tlog::verify_consistency(known.size, known.root, checkpoint.size, checkpoint.root, request.consistency)) {
      return {.status = 422, .headers = {}, .body = "{}"};
    }
    known = {checkpoint.size, checkpoint.root};
    if (std::exchange(lose_, false)) throw Error("network_unreachable", "the answer was lost");
    return {.status = 200, .headers = {}, .body = sign(request.checkpoint.text)};
  }
  std::string sign(const std::string& text) const {
    return tlog::cosign(key_, tlog::keyed_origin(key_.public_key(), "witness"), text, 1795651200).to_line();
  }
  Ed25519PublicKey key() const { return key_.public_key(); }
  void say(std::function<http::ClientResponse(const std::string&)> instead) {
    const std::scoped_lock lock(mutex_);
    instead_ = std::move(instead);
  }
  void lose_an_answer() {
    const std::scoped_lock lock(mutex_);
    lose_ = true;
  }
  void forget(const std::string& origin, std::uint64_t size) {
    const std::scoped_lock lock(mutex_);
    logs_[origin].size = size;
  }
  int asked() const {
    const std::scoped_lock lock(mutex_);
    return asked_;
  }
  std::string target() const {
    const std::scoped_lock lock(mutex_);
    return target_;
  }

 private:
  struct Known {
    std::uint64_t size = 0;
    Digest root = tlog::empty_root();
  };
  const Ed25519PrivateKey key_ = Ed25519PrivateKey::generate();
  mutable std::mutex mutex_;
  std::map<std::string, Known> logs_;
  std::function<http::ClientResponse(const std::string&)> instead_;
  std::string target_;
  bool lose_ = false;
  int asked_ = 0;
};

class AuditWitnessTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "/audit-witness-XXXXXX";
    dir_ = mkdtemp(pattern.data());
    options_.place = {.directory = dir_ + "/audit", .state_dir = dir_, .frame = {"c1", "a1", true}};
    quick_ = {.contract_id = "c1", .every_ms = 5, .max_retry_ms = 5, .refused_ms = 5};
    sources_ = {.post = [this](const std::string& target, std::string body, const std::string&,
                               std::stop_token) { return witness_.answer(target, body); },
                .lease_id = [] { return "l1"; },
                .control_plane_key = [this] { return std::optional(witness_.key()); }};
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  void append(AuditLog& audit, int records) {
    for (int i = 0; i < records; ++i) {
      ASSERT_TRUE(audit.reserve());
      audit.append({.request_id = "r", .path = "/v1/a"});
    }
    ASSERT_TRUE(audit.flush(kWaitMs));
  }
  static void wait_until(const std::function<bool()>& holds) {
    const auto deadline = boot_ms_now() + kWaitMs;
    while (!holds()) {
      ASSERT_LT(boot_ms_now(), deadline);
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }
  std::string kept() { return read_small_file(dir_ + "/audit/audit.jsonl.checkpoint-countersigned").value_or(""); }

  std::string dir_;
  AuditOptions options_;
  WitnessOptions quick_;
  AuditWitness::Sources sources_;
  Witness witness_;
};

TEST_F(AuditWitnessTest, WhatGrowsIsCountersignedAndKept) {
  AuditLog audit(options_);
  AuditWitness shown(audit, quick_, sources_, {});
  for (int i = 0; i < 4; ++i) {
    append(audit, 7);
    wait_until([&] { return audit.view().countersigned == audit.view().records; });
  }
  const auto note = tlog::Note::parse(kept());
  const tlog::NoteKey known[] = {{.name = tlog::keyed_origin(witness_.key(), "witness"),
                                  .type = tlog::SignatureType::kCosignature,
                                  .key = witness_.key()}};
  EXPECT_EQ(tlog::verify(note, known).front().time_seconds, 1795651200U);
  EXPECT_EQ(tlog::verified_checkpoint(note, audit.files().public_key()).size, 28U);
  EXPECT_EQ(witness_.target(),
            "/api/v1/audit/checkpoints?contract_id=c1&lease_id=l1&key=" + to_base64url(audit.files().public_key()));
  EXPECT_EQ(shown.state().fault, "");
}

TEST_F(AuditWitnessTest, NothingIsAskedWithoutALeaseOrNews) {
  AuditLog audit(options_);
  std::atomic<bool> has_lease = false;
  sources_.lease_id = [&] { return has_lease ? "l1" : ""; };
  {
    AuditWitness shown(audit, quick_, sources_, {});
    shown.finish(1000);
  }
  EXPECT_EQ(witness_.asked(), 0);
  has_lease = true;
  AuditWitness shown(audit, quick_, sources_, {});
  wait_until([&] { return shown.state().answers == 1; });
  shown.finish(1000);
  EXPECT_EQ(witness_.asked(), 1) << "registered while it was empty, and then nothing was new";
}

TEST_F(AuditWitnessTest, TheLastRecordsGoOutAtTheEnd) {
  AuditLog audit(options_);
  quick_.every_ms = 3'600'000;
  AuditWitness shown(audit, quick_, sources_, {});
  wait_until([&] { return shown.state().answers == 1; });
  append(audit, 3);
  shown.finish(kWaitMs);
  EXPECT_EQ(audit.view().countersigned, 3U);
}

TEST_F(AuditWitnessTest, ASlowControlPlaneHoldsNobody) {
  AuditLog audit(options_);
  sources_.post = [](const std::string&, const std::string&, const std::string&,
                     const std::stop_token& stop) -> http::ClientResponse {
    std::mutex mutex;
    std::unique_lock lock(mutex);
    std::condition_variable_any().wait(lock, stop, [] { return false; });
    throw Error("cancelled", "stopped");
  };
  AuditWitness shown(audit, quick_, sources_, {});
  append(audit, 100);
  EXPECT_EQ(audit.view().records, 100U);
  shown.finish(10);
}

TEST_F(AuditWitnessTest, ALostAnswerIsFoundAgain) {
  AuditLog audit(options_);
  AuditWitness shown(audit, quick_, sources_, {});
  for (int i = 0; i < 3; ++i) {
    witness_.lose_an_answer();
    append(audit, 3);
    wait_until([&] { return audit.view().countersigned == audit.view().records; });
  }
}

TEST_F(AuditWitnessTest, RestartsGoOnWhereTheControlPlaneIs) {
  for (int run = 1; run <= 3; ++run) {
    AuditLog audit(options_);
    append(audit, 5);
    AuditWitness shown(audit, quick_, sources_, {});
    wait_until([&] { return audit.view().countersigned == static_cast<std::uint64_t>(run) * 5; });
  }
}

TEST_F(AuditWitnessTest, WhatIsNotSignedByThePinnedKeyIsNotKept) {
  AuditLog audit(options_);
  append(audit, 2);
  const auto other = Ed25519PrivateKey::generate();
  const auto says = [&](const std::function<std::string(const std::string& text)>& line) {
    witness_.say([line](const std::string& body) {
      return http::ClientResponse{
          .status = 200, .headers = {}, .body = line(tlog::AddCheckpoint::parse(body).checkpoint.text)};
    });
    AuditWitness shown(audit, quick_, sources_, {});
    wait_until([&] { return shown.state().answers >= 2; });
    EXPECT_NE(shown.state().fault, "");
  };
  const std::string name = tlog::keyed_origin(witness_.key(), "witness");
  says([](const std::string&) { return ""; });
  says([](const std::string&) { return "<html>"; });
  says([&](const std::string& text) { return tlog::cosign(other, name, text, 1).to_line(); });
  says([&](const std::string& text) {
    auto line = tlog::cosign(other, name, text, 1);
    line.key_id = tlog::NoteKey{name, tlog::SignatureType::kCosignature, witness_.key()}.id();
    return line.to_line();
  });
  says([&](const std::string& text) { return witness_.sign(text + "more\n"); });
  EXPECT_EQ(kept(), "");
  EXPECT_EQ(audit.view().countersigned, 0U);
  witness_.say({});
  sources_.control_plane_key = [] { return std::optional<Ed25519PublicKey>(); };
  {
    AuditWitness shown(audit, quick_, sources_, {});
    wait_until([&] { return shown.state().answers >= 2; });
  }
  EXPECT_EQ(kept(), "") << "no key is pinned";
}

TEST_F(AuditWitnessTest, ALyingControlPlaneChangesNothing) {
  AuditLog audit(options_);
  append(audit, 2);
  for (const auto& [status, body] : {std::pair{409, "2\n"},
                                     {409, "x\n"},
                                     {409, "-1"},
                                     {409, ""},
                                     {422, "{}"},
                                     {403, "{}"},
                                     {404, "<html>"},
                                     {500, ""},
                                     {302, ""},
                                     {200, "1"}}) {
    witness_.say(
        [=](const std::string&) { return http::ClientResponse{.status = status, .headers = {}, .body = body}; });
    AuditWitness shown(audit, quick_, sources_, {});
    const int before = witness_.asked();
    wait_until([&] { return witness_.asked() >= before + 3; });
    wait_until([&] { return shown.state().fault != ""; });
    append(audit, 1);
  }
  EXPECT_EQ(audit.view().countersigned, 0U);
  witness_.say({});
  AuditWitness shown(audit, quick_, sources_, {});
  wait_until([&] { return audit.view().countersigned == audit.view().records; });
}

TEST_F(AuditWitnessTest, ALogThatTheControlPlaneKnowsMoreOfBeginsAnew) {
  AuditLog audit(options_);
  const std::string origin = audit.view().origin;
  append(audit, 2);
  witness_.forget(origin, 40);
  AuditWitness shown(audit, quick_, sources_, {});
  wait_until([&] { return audit.view().origin != origin; });
  wait_until([&] { return audit.view().countersigned >= 1; });
  append(audit, 3);
  wait_until([&] { return audit.view().countersigned == audit.view().records; });
}

TEST_F(AuditWitnessTest, NewOriginsAreNotBegunAtWill) {
  AuditLog audit(options_);
  append(audit, 2);
  witness_.say([](const std::string&) { return http::ClientResponse{.status = 409, .headers = {}, .body = "9000\n"}; });
  quick_.refused_ms = 3'600'000;
  const std::string origin = audit.view().origin;
  AuditWitness shown(audit, quick_, sources_, {});
  wait_until([&] { return shown.state().answers >= 2; });
  shown.finish(1000);
  append(audit, 1);
  int ended = 0;
  for (const auto& entry : std::filesystem::directory_iterator(dir_ + "/audit")) {
    ended += entry.path().filename().string().starts_with("ended-") ? 1 : 0;
  }
  EXPECT_EQ(ended, 1);
}

}  // namespace
}  // namespace tb::sentinel
