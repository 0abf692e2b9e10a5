// spec: wire 1.2; C2SP tlog-tiles, tlog-checkpoint, tlog-proof
#include <filesystem>

#include "base/fs.h"
#include "controlplane/event_log.h"
#include "controlplane/service_test.h"
#include "tlog/chain.h"

namespace tb::controlplane {
namespace {

class LogTest : public ServiceTest {
 protected:
  void grow(int events) {
    for (int i = 0; i < events; ++i) store_->append_event({.type = "e", .tenant = "t1", .actor = "a", .subject = "s"});
  }
  tlog::Checkpoint checkpoint() {
    const auto response = get("/api/v1/log/checkpoint", auditor_);
    EXPECT_EQ(response.status, 200);
    return tlog::verified_checkpoint(tlog::Note::parse(response.body), identity());
  }
  const Ed25519PublicKey& identity() const { return keyring_.identity().public_key(); }
  std::string made_token(const std::string& role, const std::string& tenant) {
    return create_token(*store_, {.role = role, .tenant = tenant, .expires_in = ""}, now_).reveal();
  }
};

TEST_F(LogTest, TheCheckpointIsSignedAndIsOfAllEvents) {
  const tlog::Checkpoint first = checkpoint();
  EXPECT_EQ(first.origin, events_origin(identity()));
  EXPECT_EQ(first.size, 4U);
  tlog::Frontier tree;
  for (const auto& event : store_->list_events({}, -1, 100)) tree.append(tlog::leaf_hash(event.line));
  EXPECT_EQ(first.root, tree.root());
  EXPECT_EQ(get("/api/v1/log/checkpoint", provider_).body, get("/api/v1/log/checkpoint", operator_).body);
  EXPECT_EQ(get("/api/v1/log/checkpoint", "").status, 401);
  EXPECT_EQ(get("/api/v1/log/checkpoint?x=1", auditor_).status, 400);
}

TEST_F(LogTest, AProviderProvesItsOwnEventsOnly) {
  grow(3);
  store_->append_event({.type = "theirs", .tenant = "t2", .actor = "a", .subject = "s"});
  const auto events = store_->list_events({}, -1, 100);
  for (const auto& event : events) {
    const std::string target = "/api/v1/events/" + std::to_string(event.seq) + "/proof";
    const auto own = get(target, provider_);
    EXPECT_EQ(own.status, event.tenant == "t1" ? 200 : 404) << event.line;
    const auto response = get(target, auditor_);
    ASSERT_EQ(response.status, 200);
    const auto proof = tlog::InclusionProof::parse(response.body);
    EXPECT_EQ(proof.extra, event.line);
    EXPECT_EQ(tlog::verified_inclusion(proof, event.line, identity()).size, events.size());
    if (own.status == 200) EXPECT_EQ(own.body, response.body);
  }
  for (const auto* seq : {"8", "99", "-1", "x", "01", "9223372036854775808"}) {
    EXPECT_THAT(get("/api/v1/events/" + std::string(seq) + "/proof", auditor_).status, testing::AnyOf(400, 404)) << seq;
  }
}

TEST_F(LogTest, ConsistencyIsProvenToWhoKeptACheckpoint) {
  const tlog::Checkpoint old = checkpoint();
  grow(300);
  const auto response = get("/api/v1/log/consistency?from=" + std::to_string(old.size), provider_);
  ASSERT_EQ(response.status, 200);
  const auto proof = tlog::AddCheckpoint::parse(response.body);
  const auto now = tlog::verified_checkpoint(proof.checkpoint, identity());
  EXPECT_EQ(now.size, old.size + 300);
  EXPECT_TRUE(tlog::verify_consistency(old.size, old.root, now.size, now.root, proof.consistency));
  EXPECT_EQ(get("/api/v1/log/consistency?from=0", provider_).status, 200);
  for (const auto* query : {"", "?from=", "?from=305", "?from=-1", "?from=1&from=2", "?from=1&x=2", "?from=04"}) {
    EXPECT_EQ(get(std::string("/api/v1/log/consistency") + query, provider_).status, 400) << query;
  }
}

TEST_F(LogTest, TilesAndEntriesGiveTheTree) {
  grow(300);
  const tlog::Checkpoint now = checkpoint();
  ASSERT_EQ(now.size, 304U);
  const auto tile = [&](const std::string& path) { return get("/api/v1/log/tile/" + path, auditor_); };
  std::vector<std::string> lines;
  std::vector<Digest> leaves;
  for (const auto* part : {"000", "001.p/48"}) {
    const auto hashes = tile(std::string("0/") + part);
    const auto entries = tile(std::string("entries/") + part);
    ASSERT_EQ(hashes.status, 200);
    ASSERT_EQ(entries.status, 200);
    for (std::size_t at = 0; at < entries.body.size();) {
      const auto length = load_be16(reinterpret_cast<const std::uint8_t*>(entries.body.data()) + at);
      lines.push_back(entries.body.substr(at + 2, length));
      at += 2U + length;
    }
    for (std::size_t at = 0; at < hashes.body.size(); at += 32) {
      std::copy_n(hashes.body.begin() + static_cast<std::ptrdiff_t>(at), 32, leaves.emplace_back().begin());
    }
  }
  ASSERT_EQ(lines.size(), 304U);
  ASSERT_EQ(leaves.size(), 304U);
  tlog::Frontier tree;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(tlog::leaf_hash(lines[i]), leaves[i]);
    tree.append(leaves[i]);
  }
  EXPECT_EQ(tree.root(), now.root);
  EXPECT_EQ(tile("1/000.p/1").body.size(), 32U);
  EXPECT_EQ(tile("0/001.p/7").body.size(), 7U * 32) << "a partial tile of an older tree stays";
  for (const auto* path : {"0/001", "0/001.p/49", "0/002.p/1", "1/000", "1/000.p/2", "2/000.p/1", "entries/001", "0/1",
                           "8/000", "0/x000/000", "0/x001/000", "0/x001/x000/000", "0/x001/x000/000.p/3"}) {
    EXPECT_EQ(tile(path).status, 404) << path;
  }
}

TEST_F(LogTest, TilesAreForTokensOfNoTenant) {
  const std::string path = "/api/v1/log/tile/0/000.p/2";
  EXPECT_EQ(get(path, auditor_).status, 200);
  EXPECT_EQ(get(path, operator_).status, 200);
  EXPECT_EQ(get(path, provider_).status, 403);
  EXPECT_EQ(get(path, made_token("auditor", "t1")).status, 403);
  EXPECT_EQ(get(path, "").status, 401);
}

TEST_F(LogTest, ALongEventIsInTheTreeAndInNoBundle) {
  store::Event event{.type = "long", .tenant = "t1", .actor = "a", .subject = "s"};
  event.detail.set("text", std::string(70000, 'x'));
  store_->append_event(event);
  EXPECT_EQ(get("/api/v1/log/tile/entries/000.p/4", auditor_).status, 200);
  EXPECT_EQ(get("/api/v1/log/tile/entries/000.p/5", auditor_).status, 404);
  EXPECT_EQ(get("/api/v1/log/tile/0/000.p/5", auditor_).status, 200);
  const auto proof = tlog::InclusionProof::parse(get("/api/v1/events/4/proof", auditor_).body);
  EXPECT_EQ(tlog::verified_inclusion(proof, *proof.extra, identity()).size, 5U);
}

TEST_F(LogTest, VerifyTellsOfAnEarlierCheckpoint) {
  const tlog::Checkpoint earlier = checkpoint();
  grow(600);
  EXPECT_THAT(verify_events(*store_), testing::HasSubstr("604 records"));
  EXPECT_THAT(verify_events(*store_, earlier), testing::HasSubstr("604 records"));
  const auto reason = [&](tlog::Checkpoint changed) {
    try {
      verify_events(*store_, changed);
    } catch (const Error& error) {
      return error.reason;
    }
    return std::string("nothing");
  };
  tlog::Checkpoint other = earlier;
  other.root[0] ^= 1;
  EXPECT_EQ(reason(other), "log_forked");
  other = earlier;
  other.size = 605;
  EXPECT_EQ(reason(other), "log_forked");
}

TEST_F(LogTest, VerifyTakesAKeptCheckpointOfThisLogOnly) {
  std::filesystem::create_directories(dir_);
  const std::string path = dir_ + "/kept";
  const auto keep = [&](const tlog::Note& note) {
    value_or_throw(write_file_atomically(path, note.to_text(), 0600, true));
  };
  keep(tlog::Note::parse(get("/api/v1/log/checkpoint", auditor_).body));
  grow(2);
  EXPECT_THAT(verify_events_against(*store_, path, keyring_),
              testing::HasSubstr("continues the checkpoint of 4 records"));
  keep(tlog::sign_checkpoint({.origin = "other", .size = 0, .root = {}, .extensions = {}}, keyring_.identity()));
  EXPECT_THROW(verify_events_against(*store_, path, keyring_), Error);
  const auto stranger = Ed25519PrivateKey::generate();
  keep(tlog::sign_checkpoint({.origin = events_origin(identity()), .size = 0, .root = {}, .extensions = {}}, stranger));
  EXPECT_THROW(verify_events_against(*store_, path, keyring_), Error);
}

}  // namespace
}  // namespace tb::controlplane
