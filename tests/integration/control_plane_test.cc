// The real control plane, started as a process of its own and driven over its socket: first start, restart, TLS, tokens
// made beside the running service, an asset's way from upload to a signed range, and what a stop leaves behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "api/asset.h"
#include "api/authorize.h"
#include "base/crypto.h"
#include "base/fs.h"
#include "control_plane_process.h"
#include "http/client.h"
#include "jose/proof.h"
#include "jose/sealed_key.h"

namespace tb {
namespace {

class ControlPlaneProcess : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(dir_); }
  void TearDown() override {
    service_.reset();
    std::filesystem::remove_all(dir_);
  }

  std::string read(const std::string& name) const { return read_small_file(dir_ + "/" + name).value_or(std::string()); }
  Arguments command(const Arguments& more) const {
    Arguments all = {TB_CONTROL_PLANE, "--data-dir", dir_ + "/data"};
    if (std::ranges::find(more, "--addr") == more.end()) all.insert(all.end(), {"--addr", "127.0.0.1:0"});
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  /// Runs a command to its end; its first output line.
  std::string output_of(const Arguments& more, int expected_status = 0) const {
    Process process(command(more), dir_ + "/out", dir_ + "/err");
    EXPECT_EQ(process.wait(), expected_status) << read("err");
    const std::string text = read("out");
    return text.substr(0, text.find('\n'));
  }
  /// Starts the service and waits until it says where it listens.
  std::string start(const Arguments& more = {}) {
    std::filesystem::remove(dir_ + "/service.err");
    service_ = std::make_unique<Process>(command(more), dir_ + "/service.out", dir_ + "/service.err");
    for (int i = 0; i < 600; ++i) {
      const std::string log = read("service.err");
      const std::size_t at = log.find("\"url\":\"");
      if (at != std::string::npos) return log.substr(at + 7, log.find('"', at + 7) - at - 7);
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    ADD_FAILURE() << "the control plane did not start: " << read("service.err");
    return "";
  }
  http::ClientResponse send(const std::string& method, const std::string& url, const std::string& token,
                            const std::string& body = "", const http::Headers& headers = {}) {
    http::ClientRequest request;
    request.method = method;
    request.url = SecretUrl(url);
    request.headers = headers;
    if (!token.empty()) request.bearer = SecretString(token);
    if (!body.empty()) request.body = body;
    try {
      return client_->send(request);
    } catch (const Error& error) {
      return {.status = 0, .headers = {}, .body = error.reason + ": " + error.story()};
    }
  }
  /// As a sentinel posts: with a proof of `key` for this request.
  http::ClientResponse prove(const jose::PrivateKey& key, const std::string& url, const std::string& token,
                             const std::string& body) {
    return send("POST", url, token, body, proof_headers(key, url, token));
  }
  static std::string text_of(const http::ClientResponse& response, std::string_view name) {
    const Json json = value_or_throw(Json::parse(response.body));
    const Json* member = json.find(name);
    return member == nullptr ? "(none)" : member->is_string() ? member->as_string() : member->dump();
  }

  const std::string dir_ = testing::TempDir() + "tb-control-plane-" + random_token(8);
  std::unique_ptr<Process> service_;
  std::unique_ptr<http::Client> client_ = std::make_unique<http::Client>(http::ClientConfig());
};

TEST_F(ControlPlaneProcess, AnAssetGoesFromUploadToASignedRangeAndSurvivesARestart) {
  const std::string provider = output_of({"token", "create", "--role", "provider", "--tenant", "acme"});
  std::string base = start();
  const std::string object = std::string(32 + 20 + 10, 'c');
  const std::string assets = "/api/v1/assets/m/blobs/";
  ASSERT_EQ(
      send("PUT", base + assets + "ciphertext", provider, object.substr(0, 40), {{"Content-Range", "bytes 0-39/62"}})
          .status,
      202)
      << read("service.err");
  ASSERT_EQ(
      send("PUT", base + assets + "ciphertext", provider, object.substr(40), {{"Content-Range", "bytes 40-61/62"}})
          .status,
      201);
  ASSERT_EQ(send("PUT", base + assets + "manifest", provider, "{}").status, 201);

  api::RegisterRequest registration;
  registration.asset_id = "m";
  registration.blob_urls = {.ciphertext = "store:m/model.tbenc", .manifest = "store:m/model.manifest.json"};
  registration.metadata = {.chunk_bytes = 1024, .plaintext_bytes = 10, .sha256_ciphertext = sha256_hex(object)};
  const FileKey key = random_key();
  registration.decryption_key = key.clone();
  const std::string body = registration.to_json().dump();
  ASSERT_EQ(send("POST", base + "/api/v1/assets/register", provider, body).status, 201);

  const http::ClientResponse contract =
      send("POST", base + "/api/v1/contracts", provider,
           R"({"contract_id":"c","consumer":"x","asset_ids":["m"],"not_after":"2099-01-01T00:00:00Z"})");
  ASSERT_EQ(contract.status, 201) << contract.body;
  const std::string activation = text_of(contract, "activation_token");

  ASSERT_EQ(service_->stop(), 0) << read("service.err");
  base = start();
  EXPECT_EQ(send("POST", base + "/api/v1/assets/register", provider, body).status, 200);

  const auto one_time = jose::PrivateKey::generate();
  api::AuthorizeRequest asked{.contract_id = "c", .asset_id = "m", .hw_id = "hw", .client_version = "1"};
  asked.key_release_jwk = one_time.public_key().to_jwk();
  const auto sentinel = jose::PrivateKey::generate();
  const std::string authorize = base + "/api/v1/license/authorize";
  const auto released = prove(sentinel, authorize, activation, asked.to_json().dump());
  ASSERT_EQ(released.status, 200) << released.body;
  const auto outcome = api::parse_authorize_answer(released.body, {});
  const auto& answer = std::get<api::AuthorizeAnswer>(outcome);
  const FileKey opened = jose::open_key(one_time, *answer.wrapped_key, {{"lease_id", *answer.lease_id}});
  EXPECT_TRUE(equal_constant_time(opened.reveal(), key.reveal()));

  const auto part = send("GET", answer.sas_url.reveal(), "", "", {{"Range", "bytes=30-33"}});
  EXPECT_EQ(part.status, 206);
  EXPECT_EQ(part.body, object.substr(30, 4));
  EXPECT_EQ(part.headers.get("Content-Range"), "bytes 30-33/62");
  EXPECT_EQ(send("GET", answer.sas_url.reveal() + "x", "").status, 403);

  EXPECT_EQ(send("POST", base + "/api/v1/contracts/c/suspend", provider).status, 200);
  const auto denied = prove(sentinel, authorize, activation, asked.to_json().dump());
  EXPECT_EQ(denied.status, 403);
  EXPECT_EQ(text_of(denied, "reason"), "contract_suspended");

  // Tokens of the console work at once, and revoked ones end at once.
  const std::string auditor = output_of({"token", "create", "--role", "auditor"});
  EXPECT_EQ(send("GET", base + "/api/v1/events", auditor).status, 200);
  EXPECT_EQ(send("GET", base + "/api/v1/events", auditor + "x").status, 401);

  const std::string log = read("service.err");
  for (const auto& secret : {provider, activation, to_hex(key.reveal()), std::string("sig=")}) {
    EXPECT_EQ(log.find(secret), std::string::npos) << "the log holds a secret";
  }
}

// A sentinel of the first implementation: it sends the kept fields alone and reads the kept fields alone.
TEST_F(ControlPlaneProcess, AnOldSentinelWorksUnderTheOperatorsFlag) {
  const std::string provider = output_of({"token", "create", "--role", "provider", "--tenant", "acme"});
  const std::string base = start({"--allow-unauthenticated-sentinels", "true"});
  const std::string object = std::string(32, 'h');
  const std::string assets = base + "/api/v1/assets/m/blobs/";
  ASSERT_EQ(send("PUT", assets + "ciphertext", provider, object).status, 201);
  ASSERT_EQ(send("PUT", assets + "manifest", provider, "{}").status, 201);
  const std::string key_hex(64, '5');
  const auto registered = send(
      "POST", base + "/api/v1/assets/register", provider,
      R"({"asset_id":"m","blob_urls":{"ciphertext":"store:m/model.tbenc","manifest":"store:m/model.manifest.json"},)"
      R"("metadata":{"format":"tbenc/v1","algo":"aes-256-gcm-chunked","chunk_bytes":1024,"plaintext_bytes":0,)"
      R"("sha256_ciphertext":")" +
          sha256_hex(object) + R"("},"decryption_key_hex":")" + key_hex + R"("})");
  ASSERT_EQ(registered.status, 201) << registered.body;
  const auto contract =
      send("POST", base + "/api/v1/contracts", provider,
           R"({"contract_id":"old","consumer":"x","asset_ids":["m"],"not_after":"2099-01-01T00:00:00Z",)"
           R"("key_release":"plain","authentication":"none"})");
  ASSERT_EQ(contract.status, 201) << contract.body;
  EXPECT_EQ(text_of(contract, "activation_token"), "(none)");

  const auto answer = send("POST", base + "/api/v1/license/authorize", "",
                           R"({"contract_id":"old","asset_id":"m","hw_id":"host","client_version":"0.0.1"})");
  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(text_of(answer, "status"), "authorized");
  EXPECT_EQ(text_of(answer, "decryption_key_hex"), key_hex);
  EXPECT_TRUE(from_rfc3339(text_of(answer, "expires_at")).has_value());
  EXPECT_EQ(send("GET", text_of(answer, "sas_url"), "").body, object);
  EXPECT_EQ(send("GET", text_of(answer, "manifest_url"), "").body, "{}");
}

TEST_F(ControlPlaneProcess, ABackupRestoredElsewhereAuthorizesAsBefore) {
  const std::string provider = output_of({"token", "create", "--role", "provider", "--tenant", "acme"});
  const std::string auditor = output_of({"token", "create", "--role", "auditor"});
  std::string base = start();
  const std::string object = std::string(32 + 20 + 10, 'c');
  ASSERT_EQ(send("PUT", base + "/api/v1/assets/m/blobs/ciphertext", provider, object).status, 201);
  ASSERT_EQ(send("PUT", base + "/api/v1/assets/m/blobs/manifest", provider, "{}").status, 201);
  api::RegisterRequest registration;
  registration.asset_id = "m";
  registration.blob_urls = {.ciphertext = "store:m/model.tbenc", .manifest = "store:m/model.manifest.json"};
  registration.metadata = {.chunk_bytes = 1024, .plaintext_bytes = 10, .sha256_ciphertext = sha256_hex(object)};
  const FileKey key = random_key();
  registration.decryption_key = key.clone();
  ASSERT_EQ(send("POST", base + "/api/v1/assets/register", provider, registration.to_json().dump()).status, 201);
  const auto contract =
      send("POST", base + "/api/v1/contracts", provider,
           R"({"contract_id":"c","consumer":"x","asset_ids":["m"],"not_after":"2099-01-01T00:00:00Z","max_seats":2})");
  ASSERT_EQ(contract.status, 201) << contract.body;
  const std::string activation = text_of(contract, "activation_token");
  const auto authorize = [&](const std::string& hw_id) {
    const auto one_time = jose::PrivateKey::generate();
    api::AuthorizeRequest asked{.contract_id = "c", .asset_id = "m", .hw_id = hw_id, .client_version = "1"};
    asked.key_release_jwk = one_time.public_key().to_jwk();
    const auto released =
        prove(jose::PrivateKey::generate(), base + "/api/v1/license/authorize", activation, asked.to_json().dump());
    EXPECT_EQ(released.status, 200) << released.body;
    if (released.status != 200) return;
    const auto outcome = api::parse_authorize_answer(released.body, {});
    const auto& answer = std::get<api::AuthorizeAnswer>(outcome);
    const FileKey opened = jose::open_key(one_time, *answer.wrapped_key, {{"lease_id", *answer.lease_id}});
    EXPECT_TRUE(equal_constant_time(opened.reveal(), key.reveal()));
  };
  authorize("hw-1");
  const std::string identity = output_of({"identity"});

  const std::string backup = dir_ + "/backup";
  EXPECT_THAT(output_of({"backup", "--out", backup}), testing::StartsWith("backed up ")) << "while the service runs";
  output_of({"backup", "--out", backup}, 7);
  EXPECT_EQ(std::filesystem::status(backup).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  const std::string kek = read("data/keys/kek").substr(0, 64);
  ASSERT_EQ(kek.size(), 64U);
  const std::string content = value_or_throw(read_small_file(backup, 16 << 20));
  for (const auto& secret : {kek, std::string(as_text(value_or_throw(from_hex(kek)))), to_hex(key.reveal()),
                             std::string(as_text(key.reveal())), provider, activation}) {
    EXPECT_EQ(content.find(secret), std::string::npos) << "a secret stands in the backup in clear";
  }
  ASSERT_EQ(service_->stop(), 0);

  output_of({"restore", "--in", backup}, 7);
  EXPECT_THAT(read("err"), testing::HasSubstr("--force"));
  for (const auto* name : {"", "-wal", "-shm"}) {
    std::filesystem::remove(dir_ + "/data/control-plane.db" + name);
  }
  std::filesystem::rename(dir_ + "/data/keys/kek", dir_ + "/kek");
  EXPECT_THAT(output_of({"restore", "--in", backup}), testing::StartsWith("restored "));
  EXPECT_THAT(read("err"), testing::HasSubstr("put back the key file")) << "the KEK is missing, and that is told";
  std::filesystem::rename(dir_ + "/kek", dir_ + "/data/keys/kek");

  base = start();
  EXPECT_EQ(output_of({"identity"}), identity);
  authorize("hw-2");
  const auto leases = send("GET", base + "/api/v1/contracts/c/leases", provider);
  EXPECT_THAT(leases.body, testing::AllOf(testing::HasSubstr("hw-1"), testing::HasSubstr("hw-2")));
  EXPECT_THAT(send("GET", base + "/api/v1/events", auditor).body, testing::HasSubstr("database_restored"));
  EXPECT_THAT(output_of({"events", "verify"}), testing::HasSubstr("records, head"));
  ASSERT_EQ(service_->stop(), 0);
  EXPECT_THAT(output_of({"restore", "--in", backup, "--force"}), testing::StartsWith("restored "));
  EXPECT_THAT(read("err"), testing::Not(testing::HasSubstr("put back the key file")));
}

TEST_F(ControlPlaneProcess, WithoutItsKekItDoesNotStart) {
  const std::string first = output_of({"identity"});
  EXPECT_EQ(first.size(), 43U);
  EXPECT_EQ(output_of({"identity"}), first);
  std::filesystem::remove(dir_ + "/data/keys/kek");
  output_of({"identity"}, 5);
  EXPECT_THAT(read("err"), testing::HasSubstr("hint: put back the key file"));
}

TEST_F(ControlPlaneProcess, BadConfigurationNamesAllFaultsAndEndsWithTwo) {
  output_of({"--addr", "0.0.0.0:0", "--url-seconds", "9999", "--log-level", "loud"}, 2);
  for (const auto* part : {"TB_CP_ADDR", "TB_CP_URL_SECONDS", "TB_CP_LOG_LEVEL"}) {
    EXPECT_THAT(read("err"), testing::HasSubstr(part));
  }
  output_of({"--no-such-flag"}, 2);
  output_of({"token", "create", "--role", "king"}, 2);
  EXPECT_FALSE(std::filesystem::exists(dir_ + "/data/control-plane.db-journal"));
}

TEST_F(ControlPlaneProcess, ACallerThatAsksTooOftenIsToldToWaitAndOthersAreNot) {
  const std::string token = output_of({"token", "create", "--role", "provider", "--tenant", "t1"});
  const std::string base = start({"--rate-limit", "1", "--rate-limit-burst", "3"});
  int refused = 0;
  for (int i = 0; i < 50 && refused == 0; ++i) {
    const auto answer = send("GET", base + "/api/v1/contracts", token);
    if (answer.status != 429) continue;
    ++refused;
    EXPECT_EQ(text_of(answer, "code"), "rate_limited");
    EXPECT_EQ(answer.headers.get("Retry-After"), "1");
  }
  EXPECT_EQ(refused, 1);
  EXPECT_EQ(send("GET", base + "/api/v1/contracts", "another").status, 401);
  EXPECT_EQ(send("GET", base + "/healthz", "").status, 200);
}

TEST_F(ControlPlaneProcess, TlsWithTheOperatorsCertificate) {
  const std::string make =
      "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj "
      "/CN=localhost -addext subjectAltName=IP:127.0.0.1 -keyout '" +
      dir_ + "/key.pem' -out '" + dir_ + "/cert.pem' 2>/dev/null && chmod 600 '" + dir_ + "/key.pem'";
  ASSERT_EQ(std::system(make.c_str()), 0);
  const std::string base = start({"--tls-cert-path", dir_ + "/cert.pem", "--tls-key-path", dir_ + "/key.pem"});
  ASSERT_TRUE(base.starts_with("https://")) << base;
  EXPECT_THAT(send("GET", base + "/healthz", "").body, testing::StartsWith("tls_failed")) << "an unknown authority";
  http::ClientConfig config;
  config.ca_path = dir_ + "/cert.pem";
  client_ = std::make_unique<http::Client>(config);
  EXPECT_EQ(send("GET", base + "/healthz", "").status, 200);
}

}  // namespace
}  // namespace tb
