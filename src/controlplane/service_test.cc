// The fixture of the handlers' tests.
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "api/upload.h"
#include "base/crypto.h"
#include "controlplane/service_test.h"
#include "jose/proof.h"
#include "store/open.h"

namespace tb::controlplane {

ServiceTest::ServiceTest(const std::string& database)
    : dir_(testing::TempDir() + "tb-service-" + random_token(8)),
      store_(store::open_sqlite_store(database, [this] { return now_; })),
      keyring_(kek_from_hex(std::string(64, '1')), *store_),
      blobs_(dir_),
      hints_(*store_, {}, {.look_ms = 5, .wait_ms = 600'000, .max_waiters = 3}),
      deps_(deps_with(keyring_)),
      router_(make_router(deps_)),
      key_(random_key()) {
  public_url_.set("https://cp.example");
  provider_ = create_token(*store_, {.role = "provider", .tenant = "t1", .expires_in = ""}, now_).reveal();
  other_provider_ = create_token(*store_, {.role = "provider", .tenant = "t2", .expires_in = ""}, now_).reveal();
  operator_ = create_token(*store_, {.role = "operator", .tenant = "", .expires_in = ""}, now_).reveal();
  auditor_ = create_token(*store_, {.role = "auditor", .tenant = "", .expires_in = "1h"}, now_).reveal();
}

Deps ServiceTest::deps_with(const Keyring& keyring) {
  return {.store = *store_,
          .keyring = keyring,
          .blobs = blobs_,
          .public_url = public_url_,
          .hints = hints_,
          .clock = [this] { return now_; },
          .log = {},
          .metrics = metrics_,
          .rate_limits = rate_limits_,
          .attestation_trust = attestation_trust_};
}

ServiceTest::~ServiceTest() {
  std::filesystem::remove_all(dir_);
}

namespace {

/// One JSON line: by which route, and what came.
void record(const http::Route& route, const http::Response& response) {
  const char* path = std::getenv("TB_RECORD_ANSWERS");
  if (path == nullptr) return;
  Json line = Json::object();
  line.set("method", route.method);
  line.set("pattern", route.pattern);
  line.set("status", response.status);
  line.set("content_type", response.headers.get("Content-Type"));
  // Tiles are bytes, and the record is text.
  const bool octets = response.headers.get("Content-Type") == "application/octet-stream";
  line.set("body", octets ? std::string() : response.body);
  std::ofstream(path, std::ios::app) << line.dump() << "\n";
}

}  // namespace

http::Response ServiceTest::call(Call c) {
  const http::Route* route = nullptr;
  http::Response response = answer(c, route);
  if (route != nullptr && !response.late) record(*route, response);
  return response;
}

http::Response ServiceTest::answer(Call& c, const http::Route*& route) {
  http::Request request;
  request.method = c.method;
  request.target = c.target;
  const std::size_t mark = c.target.find('?');
  request.path = c.target.substr(0, mark);
  request.headers = c.headers;
  if (!c.token.empty()) request.headers.set("Authorization", "Bearer " + c.token);
  request.client_cert_sha256 = c.client_cert_sha256;
  try {
    if (mark != std::string::npos) request.query = value_or_throw(http::Query::parse(c.target.substr(mark + 1)));
    auto match = router_.match(c.method, request.path);
    if (match.route == nullptr) return http::text(match.allow.empty() ? 404 : 405, "");
    request.params = match.params;
    route = match.route;
    router_.gate()(request, *match.route);
    if (c.body.size() > match.route->body_limit_bytes) throw Error("body_too_large", "the body is too large");
    request.body = std::move(c.body);
    return match.route->handler(request);
  } catch (const Error& error) {
    return http::problem(error);
  }
}

Json ServiceTest::body_of(const http::Response& response) {
  return value_or_throw(Json::parse(response.body));
}

std::string ServiceTest::text_of(const http::Response& response, std::string_view name) {
  const Json json = body_of(response);
  const Json* member = json.find(name);
  if (member == nullptr) return "(none)";
  return member->is_string() ? member->as_string() : member->dump();
}

std::string ServiceTest::bytes_of(const http::Response& response) {
  if (!response.file) return response.body;
  Bytes bytes(response.file->length);
  value_or_throw(pread_full(response.file->fd.get(), bytes, response.file->offset, "response"));
  return std::string(as_text(bytes));
}

Json ServiceTest::register_body(const std::string& asset_id) const {
  api::RegisterRequest request;
  request.asset_id = asset_id;
  request.blob_urls = {.ciphertext = "store:" + asset_id + "/model.tbenc",
                       .manifest = "store:" + asset_id + "/model.manifest.json"};
  request.metadata = {.chunk_bytes = 1024, .plaintext_bytes = 10, .sha256_ciphertext = sha256_hex(ciphertext_)};
  request.decryption_key = key_.clone();
  return request.to_json();
}

void ServiceTest::register_asset(const std::string& asset_id) {
  const std::string base = "/api/v1/assets/" + asset_id + "/blobs/";
  EXPECT_EQ(call({.method = "PUT", .target = base + "ciphertext", .token = provider_, .body = ciphertext_}).status,
            201);
  EXPECT_EQ(call({.method = "PUT", .target = base + "manifest", .token = provider_, .body = manifest_text_}).status,
            201);
  const auto response = post("/api/v1/assets/register", provider_, register_body(asset_id).dump());
  EXPECT_EQ(response.status, 201) << response.body;
}

std::string ServiceTest::create_contract(const std::string& contract_id, const Json& more) {
  Json json = Json::object();
  json.set("contract_id", contract_id);
  json.set("consumer", "acme");
  json.set("asset_ids", Json(Json::Array{"m"}));
  json.set("not_after", to_rfc3339(now_ + 86400000));
  for (const auto& [name, value] : more.as_object()) json.set(name, value);
  const auto response = post("/api/v1/contracts", provider_, json.dump());
  EXPECT_EQ(response.status, 201) << response.body;
  const std::string token = text_of(response, "activation_token");
  return token == "(none)" ? "" : token;
}

Json ServiceTest::authorize_body(const std::string& contract_id) const {
  api::AuthorizeRequest request;
  request.contract_id = contract_id;
  request.asset_id = "m";
  request.hw_id = "hw-1";
  request.client_version = "0.1.0";
  return request.to_json();
}

std::string ServiceTest::proof(const SentinelKey& key, const std::string& target, const std::string& token,
                               const std::string& method) const {
  return jose::sign_proof(*key, {.method = method,
                                 .url = public_url_.get() + target,
                                 .issued_at_seconds = now_ / 1000,
                                 .jti = random_token(16),
                                 .token = token});
}

http::Response ServiceTest::post_as(const SentinelKey& key, const std::string& target, const std::string& token,
                                    const std::string& body) {
  return call({.method = "POST",
               .target = target,
               .token = token,
               .body = body,
               .headers = {{"DPoP", proof(key, target, token)}}});
}

http::Response ServiceTest::authorize(const std::string& token, const Json& body) {
  SentinelKey key;
  if (const Json* lease = body.find("lease_id")) {
    const std::lock_guard lock(held_mutex_);
    if (const auto held = held_.find(lease->as_string()); held != held_.end()) key = held->second.key;
  }
  return authorize_as(key ? key : new_sentinel(), token, body);
}

http::Response ServiceTest::authorize_as(const SentinelKey& key, const std::string& token, Json body) {
  if (const Json* lease = body.find("lease_id"); lease != nullptr && body.find("renewal_token") == nullptr) {
    const std::lock_guard lock(held_mutex_);
    body.set("renewal_token", held_[lease->as_string()].renewal_token);
  }
  auto response = post_as(key, "/api/v1/license/authorize", token, body.dump());
  if (response.status == 200) {
    const std::lock_guard lock(held_mutex_);
    held_[text_of(response, "lease_id")] = {.key = key, .renewal_token = text_of(response, "renewal_token")};
  }
  return response;
}

http::Response ServiceTest::post_as_holder(const std::string& lease_id, const std::string& target,
                                           const std::string& token, const std::string& body) {
  SentinelKey key = new_sentinel();
  {
    const std::lock_guard lock(held_mutex_);
    if (const auto held = held_.find(lease_id); held != held_.end()) key = held->second.key;
  }
  return post_as(key, target, token, body);
}

http::Response ServiceTest::release(const std::string& token, const std::string& contract_id,
                                    const std::string& lease_id) {
  return post_as_holder(lease_id, "/api/v1/license/release", token,
                        api::ReleaseRequest{.contract_id = contract_id, .lease_id = lease_id}.to_json().dump());
}

}  // namespace tb::controlplane
