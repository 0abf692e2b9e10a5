// A key never leaves without its event: the log fails under the whole service, and no answer holds a key.
#include <filesystem>

#include "controlplane/service_test.h"
#include "jose/p256.h"
#include "sql/sqlite.h"

namespace tb::controlplane {
namespace {

class AuthorizeFaults : public ServiceTest {
 protected:
  AuthorizeFaults() : AuthorizeFaults(testing::TempDir() + "tb-faults-" + random_token(8) + ".db") {}
  explicit AuthorizeFaults(const std::string& path) : ServiceTest(path), path_(path) {}
  ~AuthorizeFaults() override {
    for (const auto* more : {"", "-wal", "-shm"}) std::filesystem::remove(path_ + more);
  }

  Json asked(const std::string& lease_id = "") {
    Json body = authorize_body("c");
    body.set("key_release_jwk", jose::PrivateKey::generate().public_key().to_jwk());
    if (!lease_id.empty()) body.set("lease_id", lease_id);
    return body;
  }

  const std::string path_;
};

TEST_F(AuthorizeFaults, NoKeyAndNoLeaseWithoutTheEvent) {
  register_asset("m");
  const std::string token = create_contract("c");
  for (const auto* fault : {"BEFORE INSERT ON event", "BEFORE UPDATE ON event_tree"}) {
    sql::open_sqlite(path_)->execute(std::string("CREATE TRIGGER fault ") + fault +
                                     " BEGIN SELECT RAISE(ABORT, 'fault'); END");
    const auto refused = authorize(token, asked());
    EXPECT_EQ(refused.status, 500) << refused.body;
    EXPECT_EQ(refused.body.find("wrapped_key"), std::string::npos);
    EXPECT_TRUE(store_->list_leases("t1", "c", "", 10).empty()) << fault;
    sql::open_sqlite(path_)->execute("DROP TRIGGER fault");
  }
  const auto granted = authorize(token, asked());
  ASSERT_EQ(granted.status, 200) << granted.body;
  const std::string lease_id = text_of(granted, "lease_id");
  // A renewal that would carry a key is no different.
  sql::open_sqlite(path_)->execute(
      "CREATE TRIGGER fault BEFORE INSERT ON event BEGIN SELECT RAISE(ABORT, 'fault'); END");
  EXPECT_EQ(authorize(token, asked(lease_id)).status, 500);
  EXPECT_EQ(store_->list_leases("t1", "c", "", 10)[0].generation, 1);
}

}  // namespace
}  // namespace tb::controlplane
