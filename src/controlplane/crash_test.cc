// kill -9 between any two steps of a request: a process of its own does it and is killed at the first point, the
// second, and so on until it comes through. After each kill the database holds the whole change or none of it, the
// chain of events verifies, and the same request again succeeds.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <filesystem>
#include <functional>
#include <set>
#include <thread>

#include "api/asset.h"
#include "api/authorize.h"
#include "base/crypto.h"
#include "controlplane/admin.h"
#include "controlplane/killing_connection_test.h"
#include "controlplane/routes.h"
#include "jose/proof.h"
#include "sql/postgres_server_test.h"
#include "sql/sqlite.h"
#include "store/sql_store.h"
#include "tlog/chain.h"

namespace tb::controlplane {
namespace {

constexpr const char* kBase = "https://cp.example";
constexpr const char* kAuthorize = "/api/v1/license/authorize";
constexpr int kSeats = 3;

/// The control plane on a database, without a socket.
class Plane {
 public:
  Plane(sql::Opener open, const std::string& dir)
      : store_(std::move(open), true, unix_ms_now),
        keyring_(kek_from_hex(std::string(64, '1')), store_),
        blobs_(dir),
        hints_(store_, {}),
        deps_{.store = store_,
              .keyring = keyring_,
              .blobs = blobs_,
              .public_url = public_url_,
              .hints = hints_,
              .clock = unix_ms_now,
              .log = {},
              .metrics = metrics_,
              .rate_limits = rate_limits_,
              .attestation_trust = attestation_trust_},
        router_(make_router(deps_)) {
    public_url_.set(kBase);
  }

  http::Response post(const std::string& path, const std::string& token, const std::string& body,
                      const std::string& proof = "") {
    http::Request request;
    request.method = "POST";
    request.target = request.path = path;
    request.headers.set("Authorization", "Bearer " + token);
    if (!proof.empty()) request.headers.set("DPoP", proof);
    try {
      const auto match = router_.match(request.method, path);
      request.params = match.params;
      router_.gate()(request, *match.route);
      request.body = body;
      return match.route->handler(request);
    } catch (const Error& error) {
      return http::problem(error);
    }
  }
  store::Store& store() { return store_; }

 private:
  store::SqlStore store_;
  Keyring keyring_;
  BlobFiles blobs_;
  PublicUrl public_url_;
  HintBoard hints_;
  obs::Metrics metrics_;
  RateLimits rate_limits_{{.per_second = 0}};
  attest::Trust attestation_trust_;
  Deps deps_;
  http::Router router_;
};

std::string text_of(const http::Response& response, std::string_view name) {
  const Json json = value_or_throw(Json::parse(response.body));
  const Json* member = json.find(name);
  return member != nullptr && member->is_string() ? member->as_string() : "(none)";
}

/// What one sentinel holds between its requests.
struct Sentinel {
  std::shared_ptr<const jose::PrivateKey> key = std::make_shared<const jose::PrivateKey>(jose::PrivateKey::generate());
  std::string lease_id, renewal_token;
};

std::string proof_of(const Sentinel& sentinel, const std::string& path, const std::string& token) {
  return jose::sign_proof(*sentinel.key, {.method = "POST",
                                          .url = kBase + path,
                                          .issued_at_seconds = unix_ms_now() / 1000,
                                          .jti = random_token(16),
                                          .token = token});
}

std::string authorize_body(const Sentinel& sentinel) {
  api::AuthorizeRequest request{.contract_id = "c", .asset_id = "m", .hw_id = "hw", .client_version = "1"};
  if (sentinel.lease_id.empty()) {
    request.key_release_jwk = jose::PrivateKey::generate().public_key().to_jwk();
  } else {
    request.lease_id = sentinel.lease_id;
    request.renewal_token = SecretString(sentinel.renewal_token);
  }
  return request.to_json().dump();
}

std::string register_body(const std::string& asset_id) {
  api::RegisterRequest request;
  request.asset_id = asset_id;
  request.blob_urls = {.ciphertext = "https://models.example/m.tbenc", .manifest = "https://models.example/m.json"};
  request.metadata = {.chunk_bytes = 1024, .plaintext_bytes = 0, .sha256_ciphertext = std::string(64, 'a')};
  request.decryption_key = random_key();
  return request.to_json().dump();
}

std::string contract_body(const std::string& contract_id) {
  return R"({"contract_id":")" + contract_id +
         R"(","consumer":"x","asset_ids":["m"],"not_after":"2099-01-01T00:00:00Z","max_seats":)" +
         std::to_string(kSeats) + "}";
}

class Crash : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(dir_);
    if (std::string_view(GetParam()) == "postgres") {
      if (sql::PostgresServer::programs().empty()) GTEST_SKIP() << sql::PostgresServer::kMissing;
      auto& server = sql::shared_postgres_server();
      url_ = server.url(server.make_database());
    }
    Plane plane(opener(), dir_);
    provider_ =
        create_token(plane.store(), {.role = "provider", .tenant = "t", .expires_in = ""}, unix_ms_now()).reveal();
    ASSERT_EQ(plane.post("/api/v1/assets/register", provider_, register_body("m")).status, 201);
    const auto contract = plane.post("/api/v1/contracts", provider_, contract_body("c"));
    ASSERT_EQ(contract.status, 201) << contract.body;
    activation_ = text_of(contract, "activation_token");
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  sql::Opener opener() const {
    return [this] { return url_ ? sql::open_postgres(*url_) : sql::open_sqlite(dir_ + "/store.db"); };
  }

  /// True if it was killed. `life` begins to count where `request` sets it going.
  bool killed(int points, const std::function<void(Plane&)>& request) const {
    const pid_t child = fork();
    if (child == 0) {
      Lifetime life;
      Plane plane([&] { return std::make_unique<KillingConnection>(opener()(), life); }, dir_);
      life.set(points);
      request(plane);
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 0) << status;
    return WIFSIGNALED(status);
  }

  /// Kills `request` at each of its points; `check` looks at what is left and asks again.
  void kill_everywhere(const std::function<void(Plane&)>& request, const std::function<void(Plane&)>& check) {
    int point = 0;
    for (bool was_killed = true; was_killed && !HasFailure(); ++point) {
      was_killed = killed(point, request);
      Plane plane(opener(), dir_);
      check_events(plane);
      check(plane);
      check_events(plane);
    }
    RecordProperty("points", point);
    // BEGIN, a statement or two, the event with its leaf, COMMIT.
    EXPECT_GE(point, 10);
  }

  std::int64_t count(const std::string& what) const {
    const auto db = opener()();
    auto row = db->prepare("SELECT count(*) FROM " + what);
    row.step();
    return row.integer(0);
  }

  /// The chain verifies, and each event tells of what is there, and the other way round.
  void check_events(Plane& plane) const {
    tlog::ChainHead head;
    std::map<std::string, std::int64_t> events;
    for (const auto& stored : plane.store().list_events({}, -1, 1'000'000)) {
      tlog::verify_record(head, stored.line);
      ++events[value_or_throw(Json::parse(stored.line)).find("type")->as_string()];
    }
    EXPECT_EQ(plane.store().event_tree().size(), head.records);
    EXPECT_EQ(count("asset WHERE deleted = 0 AND wrapped IS NOT NULL"), events["asset_registered"]);
    EXPECT_EQ(count("asset"), events["asset_registered"]);
    EXPECT_EQ(count("contract"), events["contract_created"]);
    EXPECT_EQ(count("contract_asset"), events["contract_created"]);
    EXPECT_EQ(count("lease"), events["license_released"]);
    EXPECT_EQ(count("lease WHERE state = 'superseded'"), events["lease_superseded"]);
    EXPECT_EQ(count("lease WHERE state = 'released'"), events["lease_released"]);
    EXPECT_EQ(count("used_jwk"), events["license_released"]);
    EXPECT_EQ(count("used_proof"), events["license_released"] + events["lease_renewed"] + events["lease_released"]);
    EXPECT_EQ(events["lease_cloned"], 0);
    EXPECT_LE(count("lease WHERE state = 'active'"), kSeats);
  }

  http::Response authorize(Plane& plane, const Sentinel& sentinel, const std::string& body) const {
    return plane.post(kAuthorize, activation_, body, proof_of(sentinel, kAuthorize, activation_));
  }
  void take_seat(Plane& plane, Sentinel& sentinel) const {
    sentinel.lease_id.clear();
    const auto answer = authorize(plane, sentinel, authorize_body(sentinel));
    ASSERT_EQ(answer.status, 200) << answer.body;
    sentinel.lease_id = text_of(answer, "lease_id");
    sentinel.renewal_token = text_of(answer, "renewal_token");
  }

  const std::string dir_ = testing::TempDir() + "tb-crash-" + random_token(8);
  std::optional<SecretString> url_;
  std::string provider_, activation_;
};

TEST_P(Crash, ARegistrationIsWholeOrNotThere) {
  int assets = 0;
  std::string body;
  const auto next = [&] { body = register_body(fmt::format("m{}", assets++)); };
  next();
  kill_everywhere([&](Plane& plane) { plane.post("/api/v1/assets/register", provider_, body); },
                  [&](Plane& plane) {
                    const auto again = plane.post("/api/v1/assets/register", provider_, body);
                    EXPECT_TRUE(again.status == 200 || again.status == 201) << again.body;
                    EXPECT_EQ(count("asset"), assets + 1);
                    next();
                  });
}

TEST_P(Crash, AContractIsWholeOrNotThere) {
  int contracts = 0;
  kill_everywhere(
      [&](Plane& plane) { plane.post("/api/v1/contracts", provider_, contract_body(fmt::format("c{}", contracts))); },
      [&](Plane& plane) {
        const auto again = plane.post("/api/v1/contracts", provider_, contract_body(fmt::format("c{}", contracts)));
        // Its activation token was told to nobody: the provider asks for another one.
        EXPECT_TRUE(again.status == 201 || again.status == 409) << again.body;
        const std::string path = fmt::format("/api/v1/contracts/c{}/activation-token", contracts++);
        EXPECT_EQ(plane.post(path, provider_, "{}").status, 200);
      });
}

TEST_P(Crash, ASeatIsTakenOnceOrNotAtAll) {
  Sentinel sentinel;
  // The very same bytes, proof and all, would be refused once they have served: a client signs anew.
  std::string body = authorize_body(sentinel);
  kill_everywhere([&](Plane& plane) { authorize(plane, sentinel, body); },
                  [&](Plane& plane) {
                    Sentinel again = sentinel;
                    take_seat(plane, again);
                    EXPECT_EQ(count("lease WHERE state = 'active'"), 1);
                    body = authorize_body(sentinel);
                  });
}

TEST_P(Crash, ARenewalIsTakenOnceOrNotAtAllAndItsRepetitionIsNoClone) {
  Sentinel sentinel;
  {
    Plane plane(opener(), dir_);
    take_seat(plane, sentinel);
  }
  kill_everywhere([&](Plane& plane) { authorize(plane, sentinel, authorize_body(sentinel)); },
                  [&](Plane& plane) {
                    const auto again = authorize(plane, sentinel, authorize_body(sentinel));
                    ASSERT_EQ(again.status, 200) << again.body;
                    EXPECT_EQ(text_of(again, "lease_id"), sentinel.lease_id);
                    sentinel.renewal_token = text_of(again, "renewal_token");
                    EXPECT_EQ(count("lease WHERE state = 'active'"), 1);
                  });
}

TEST_P(Crash, AReleaseIsWholeOrNotThere) {
  constexpr const char* kRelease = "/api/v1/license/release";
  Sentinel sentinel;
  const auto release = [&](Plane& plane) {
    const std::string body = api::ReleaseRequest{.contract_id = "c", .lease_id = sentinel.lease_id}.to_json().dump();
    return plane.post(kRelease, activation_, body, proof_of(sentinel, kRelease, activation_)).status;
  };
  {
    Plane plane(opener(), dir_);
    take_seat(plane, sentinel);
  }
  kill_everywhere([&](Plane& plane) { release(plane); },
                  [&](Plane& plane) {
                    const bool was_done = count("lease WHERE state = 'active'") == 0;
                    EXPECT_EQ(release(plane), was_done ? 404 : 200);
                    EXPECT_EQ(count("lease WHERE state = 'active'"), 0);
                    take_seat(plane, sentinel);
                  });
}

/// Many at once are committed together: the points lie between the changes of one transaction, too.
TEST_P(Crash, WhatIsCommittedInAGroupIsWholeOrNotThere) {
  for (int point = 5; point < 125 && !HasFailure(); point += 8) {
    killed(point, [&](Plane& plane) {
      std::vector<std::jthread> threads;
      for (int t = 0; t < 6; ++t) {
        threads.emplace_back([&] {
          const Sentinel own;
          authorize(plane, own, authorize_body(own));
        });
      }
    });
    Plane plane(opener(), dir_);
    check_events(plane);
    for (const auto& lease : plane.store().list_leases("t", "c", "", 1000)) {
      if (lease.state != api::LeaseState::kActive) continue;
      plane.store().end_lease("t", "c", lease.lease_id, api::LeaseState::kEvicted, unix_ms_now(),
                              {.type = "lease_evicted", .tenant = "t", .actor = "test", .subject = "c"});
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, Crash, testing::Values("sqlite", "postgres"),
                         [](const auto& backend) { return std::string(backend.param); });

}  // namespace
}  // namespace tb::controlplane
