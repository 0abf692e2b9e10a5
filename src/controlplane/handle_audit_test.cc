// spec: wire 1.2; C2SP tlog-witness (add-checkpoint), tlog-cosignature
#include "controlplane/event_log.h"
#include "controlplane/service_test.h"
#include "tlog/chain.h"

namespace tb::controlplane {
namespace {

/// A sentinel's audit log, kept whole so that any proof can be made.
class AuditLogOf {
 public:
  explicit AuditLogOf(int salt = 0) : salt_(salt) {}

  void grow_to(std::uint64_t size) {
    while (leaves_.size() < size) {
      leaves_.push_back(tlog::leaf_hash(std::to_string(salt_) + " record " + std::to_string(leaves_.size())));
    }
  }
  tlog::NodeReader reader() const {
    return [this](unsigned height, std::uint64_t index) {
      tlog::Frontier part;
      for (std::uint64_t i = index << height; i < (index + 1) << height; ++i) part.append(leaves_[i]);
      return part.root();
    };
  }
  tlog::Checkpoint checkpoint(std::uint64_t size, const std::string& origin) const {
    return {.origin = origin, .size = size, .root = tlog::root_at(size, reader()), .extensions = {}};
  }
  std::vector<Digest> consistency(std::uint64_t from, std::uint64_t to) const {
    return tlog::consistency_proof(from, to, reader());
  }

 private:
  int salt_;
  std::vector<Digest> leaves_;
};

class AuditTest : public ServiceTest {
 protected:
  void SetUp() override {
    register_asset("m");
    Json more = Json::object();
    more.set("key_release", "plain");
    token_ = create_contract("c", more);
    lease_id_ = text_of(authorize(token_, authorize_body("c")), "lease_id");
    log_.grow_to(40);
  }

  std::string target(bool with_key = true, const std::string& lease_id = "") const {
    std::string out = "/api/v1/audit/checkpoints?contract_id=c&lease_id=" + (lease_id.empty() ? lease_id_ : lease_id);
    return with_key ? out + "&key=" + to_base64url(key_.public_key()) : out;
  }
  tlog::AddCheckpoint request(std::uint64_t from, std::uint64_t to) const {
    return {.old_size = from,
            .consistency = log_.consistency(from, to),
            .checkpoint = tlog::sign_checkpoint(log_.checkpoint(to, origin_), key_)};
  }
  http::Response submit(const tlog::AddCheckpoint& body) {
    return post_as_holder(lease_id_, target(), token_, body.to_text());
  }
  int count(std::string_view type) {
    int out = 0;
    for (const auto& event : store_->list_events({}, -1, 1000)) {
      if (event.line.find("\"type\":\"" + std::string(type) + "\"") != std::string::npos) ++out;
    }
    return out;
  }

  const Ed25519PrivateKey key_ = Ed25519PrivateKey::generate();
  const std::string origin_ = tlog::keyed_origin(key_.public_key(), "audit");
  AuditLogOf log_;
  std::string token_, lease_id_;
};

TEST_F(AuditTest, ALogThatGrowsIsCountersigned) {
  std::uint64_t before = 0;
  for (const std::uint64_t size : {3U, 3U, 4U, 40U}) {
    const auto body = request(before, size);
    const auto response = submit(body);
    ASSERT_EQ(response.status, 200) << response.body;
    tlog::Note note = body.checkpoint;
    for (auto& line : tlog::parse_signature_lines(response.body)) note.signatures.push_back(line);
    const tlog::NoteKey witness[] = {{.name = witness_name(keyring_.identity().public_key()),
                                      .type = tlog::SignatureType::kCosignature,
                                      .key = keyring_.identity().public_key()}};
    const auto verified = tlog::verify(note, witness);
    ASSERT_EQ(verified.size(), 1U);
    EXPECT_EQ(verified[0].time_seconds, static_cast<std::uint64_t>(now_ / 1000));
    before = size;
    now_ += 1000;
  }
  EXPECT_EQ(count("audit_log_registered"), 1);
  EXPECT_EQ(count("audit_checkpoint"), 2) << "the same checkpoint again is no change";
  const Json list = body_of(get("/api/v1/contracts/c/audit-logs", provider_));
  EXPECT_EQ(list.find("items")->as_array()[0].find("size")->as_integer(), 40);
  EXPECT_EQ(get("/api/v1/contracts/c/audit-logs", other_provider_).status, 404);
}

TEST_F(AuditTest, TheKeyIsNeededOnceAndOnlyThatOneCounts) {
  EXPECT_EQ(post_as_holder(lease_id_, target(false), token_, request(0, 3).to_text()).status, 404);
  EXPECT_EQ(submit(request(0, 3)).status, 200);
  EXPECT_EQ(post_as_holder(lease_id_, target(false), token_, request(3, 4).to_text()).status, 200);
  // Another key under the same origin, and another origin under the same key.
  const auto other = Ed25519PrivateKey::generate();
  auto body = request(4, 5);
  body.checkpoint = tlog::sign_checkpoint(log_.checkpoint(5, origin_), other);
  EXPECT_EQ(submit(body).status, 403);
  body.checkpoint = tlog::sign_checkpoint(log_.checkpoint(5, "another/origin"), key_);
  EXPECT_EQ(submit(body).status, 404);
  EXPECT_EQ(post_as_holder(lease_id_, target(false) + "&key=AAAA", token_, body.to_text()).status, 404);
}

TEST_F(AuditTest, AnotherSizeIsAnsweredWithTheKnownOne) {
  EXPECT_EQ(submit(request(2, 3)).body, "0\n");
  ASSERT_EQ(submit(request(0, 10)).status, 200);
  for (const auto& body : {request(0, 12), request(9, 12), request(11, 12), request(3, 4)}) {
    const auto response = submit(body);
    EXPECT_EQ(response.status, 409);
    EXPECT_EQ(response.body, "10\n");
    EXPECT_EQ(response.headers.get("Content-Type"), "text/x.tlog.size");
  }
  auto backwards = request(10, 12);
  backwards.old_size = 13;
  EXPECT_EQ(submit(backwards).status, 400);
}

TEST_F(AuditTest, AForkIsRefusedAndKept) {
  ASSERT_EQ(submit(request(0, 10)).status, 200);
  AuditLogOf other(1);
  other.grow_to(12);
  tlog::AddCheckpoint fork{
      .old_size = 10, .consistency = {}, .checkpoint = tlog::sign_checkpoint(other.checkpoint(10, origin_), key_)};
  EXPECT_EQ(submit(fork).status, 409);
  EXPECT_EQ(count("audit_fork"), 1);
  const auto events = store_->list_events({}, -1, 1000);
  const Json event = value_or_throw(Json::parse(events.back().line));
  EXPECT_EQ(event.find("detail")->find("submitted")->as_string(), fork.checkpoint.to_text());
  EXPECT_EQ(event.find("detail")->find("countersigned")->as_string(), request(0, 10).checkpoint.to_text());
  // It grows, but out of another past.
  fork.consistency = other.consistency(10, 12);
  fork.checkpoint = tlog::sign_checkpoint(other.checkpoint(12, origin_), key_);
  EXPECT_EQ(submit(fork).status, 422);
  EXPECT_EQ(count("audit_proof_refused"), 1);
  auto missing = request(10, 12);
  missing.consistency.pop_back();
  EXPECT_EQ(submit(missing).status, 422);
  EXPECT_EQ(submit(request(10, 12)).status, 200) << "the log itself goes on";
}

TEST_F(AuditTest, OnlyTheContractsCredentialAndLeasesCount) {
  const std::string other = create_contract("d");
  const auto text = request(0, 3).to_text();
  EXPECT_EQ(post_as_holder(lease_id_, target(), other, text).status, 403);
  EXPECT_EQ(post_as_holder(lease_id_, target(), provider_, text).status, 403);
  EXPECT_EQ(post_as_holder(lease_id_, target(), "", text).status, 403);
  EXPECT_EQ(post_as_holder(lease_id_, target(true, "no-such-lease"), token_, text).status, 404);
  EXPECT_EQ(post_as_holder(lease_id_, "/api/v1/audit/checkpoints?contract_id=c", token_, text).status, 400);
  EXPECT_EQ(post_as_holder(lease_id_, "/api/v1/audit/checkpoints?lease_id=l", token_, text).status, 400);
  EXPECT_EQ(post_as_holder(lease_id_, target() + "&more=1", token_, text).status, 400);
  EXPECT_EQ(post_as_holder(lease_id_, target(), token_, "old 0\n").status, 422);
  EXPECT_EQ(count("audit_log_registered"), 0);
  EXPECT_EQ(post_as_holder(lease_id_, target(), token_, text).status, 200);
}

}  // namespace
}  // namespace tb::controlplane
