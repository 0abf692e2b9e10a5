#include "bench/control_plane_fleet.h"

#include <fmt/format.h>

#include <atomic>
#include <mutex>
#include <thread>

#include "api/asset.h"
#include "api/authorize.h"
#include "base/crypto.h"
#include "bench/cost.h"
#include "jose/proof.h"

namespace tb::bench {
namespace {

/// Proofs are made before they are sent: 60 seconds to either side is what the service takes.
constexpr std::int64_t kAheadSeconds = 30;

/// Of JSON that the control plane wrote.
std::string text_in(std::string_view body, std::string_view name) {
  const std::string mark = fmt::format("\"{}\":\"", name);
  const std::size_t at = body.find(mark);
  if (at == std::string_view::npos) throw Error("internal", "an answer without " + std::string(name));
  const std::string_view rest = body.substr(at + mark.size());
  return std::string(rest.substr(0, rest.find('"')));
}

void for_each_on_all_cores(std::size_t count, const std::function<void(std::size_t)>& work) {
  std::atomic<std::size_t> next{0};
  std::vector<std::jthread> threads;
  for (unsigned t = 0; t < cores(); ++t) {
    threads.emplace_back([&] {
      for (std::size_t i = next++; i < count; i = next++) work(i);
    });
  }
}

controlplane::Config config_of(const std::map<std::string, std::string>& flags) {
  return controlplane::load_config(flags, [](const std::string&) { return std::nullopt; }, "");
}

}  // namespace

std::string Call::to_http(const std::string& host) const {
  return fmt::format(
      "POST {} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nDPoP: {}\r\nContent-Type: application/json\r\n"
      "Content-Length: {}\r\n\r\n{}",
      kAuthorizePath, host, token, proof, body.size(), body);
}

InProcess::InProcess(const std::map<std::string, std::string>& flags)
    : config_(config_of(flags)),
      store_(controlplane::open_store(config_)),
      keyring_(controlplane::open_keyring(config_, *store_)),
      blobs_(config_.blob_dir),
      hints_(*store_, {}),
      rate_limits_(config_.rate_limit),
      deps_{.store = *store_,
            .keyring = keyring_,
            .blobs = blobs_,
            .public_url = public_url_,
            .hints = hints_,
            .clock = unix_ms_now,
            .log = {},
            .metrics = metrics_,
            .rate_limits = rate_limits_,
            .attestation_trust = attestation_trust_},
      router_(controlplane::make_router(deps_)) {
  public_url_.set("http://127.0.0.1:1");
}

std::string InProcess::provider_token(const std::string& tenant) {
  return controlplane::create_token(*store_, {.role = "provider", .tenant = tenant, .expires_in = ""}, unix_ms_now())
      .reveal();
}

std::string InProcess::call(std::string_view method, std::string_view path, const std::string& token, std::string body,
                            int status, const std::string& proof) {
  http::Request request;
  request.method = method;
  request.target = request.path = path;
  request.headers.set("Authorization", "Bearer " + token);
  if (!proof.empty()) request.headers.set("DPoP", proof);
  const auto match = router_.match(method, path);
  request.params = match.params;
  router_.gate()(request, *match.route);
  request.body = std::move(body);
  http::Response response = match.route->handler(request);
  if (response.status != status) throw Error("internal", fmt::format("{} {}", response.status, response.body));
  return std::move(response.body);
}

Load call_all(InProcess& plane, const std::vector<Call>& calls, std::size_t threads,
              const std::function<void(std::size_t index, std::string_view body)>& on_answer) {
  Load load;
  std::mutex mutex;
  std::atomic<std::size_t> next{0};
  const double start = seconds_now();
  {
    std::vector<std::jthread> workers;
    for (std::size_t t = 0; t < threads; ++t) {
      workers.emplace_back([&] {
        for (std::size_t i = next++; i < calls.size(); i = next++) {
          const double begin = seconds_now();
          std::string body;
          std::string bad;
          try {
            body = plane.call("POST", kAuthorizePath, calls[i].token, calls[i].body, 200, calls[i].proof);
          } catch (const Error& error) {
            bad = error.story();
          }
          const double took = seconds_now() - begin;
          const std::lock_guard lock(mutex);
          load.latency.push_back(took);
          if (bad.empty()) {
            on_answer(i, body);
          } else {
            load.bad.push_back(bad);
          }
        }
      });
    }
  }
  load.wall = seconds_now() - start;
  return load;
}

Fleet::Fleet(InProcess& plane, const FleetOptions& options) {
  const std::string provider = plane.provider_token("bench");
  api::RegisterRequest registration;
  registration.asset_id = "m";
  registration.blob_urls = {.ciphertext = "https://models.example/m/model.tbenc",
                            .manifest = "https://models.example/m/model.manifest.json"};
  registration.metadata = {.chunk_bytes = 4194304, .plaintext_bytes = 0, .sha256_ciphertext = std::string(64, 'a')};
  registration.decryption_key = random_key();
  plane.call("POST", "/api/v1/assets/register", provider, registration.to_json().dump(), 201);
  for (std::size_t i = 0; i < options.contracts; ++i) {
    const std::string body =
        fmt::format(R"({{"contract_id":"c{}","consumer":"x","asset_ids":["m"],"not_after":"2099-01-01T00:00:00Z",)"
                    R"("max_seats":1000000,"lease_seconds":{}}})",
                    i, options.lease_seconds);
    activation_tokens_.push_back(
        text_in(plane.call("POST", "/api/v1/contracts", provider, body, 201), "activation_token"));
  }
}

std::string Fleet::proof_of(const Sentinel& sentinel, const std::string& base_url) const {
  return jose::sign_proof(*sentinel.key, {.method = "POST",
                                          .url = base_url + std::string(kAuthorizePath),
                                          .issued_at_seconds = unix_ms_now() / 1000 + kAheadSeconds,
                                          .jti = random_token(16),
                                          .token = activation_tokens_[sentinel.contract]});
}

std::vector<Call> Fleet::authorize(std::size_t count, const std::string& base_url) {
  sentinels_.assign(count, {});
  std::vector<Call> calls(count);
  for_each_on_all_cores(count, [&](std::size_t i) {
    Sentinel& sentinel = sentinels_[i];
    sentinel.key = std::make_shared<const jose::PrivateKey>(jose::PrivateKey::generate());
    sentinel.contract = i % activation_tokens_.size();
    api::AuthorizeRequest request;
    request.contract_id = fmt::format("c{}", sentinel.contract);
    request.asset_id = "m";
    request.hw_id = fmt::format("hw-{}", i);
    request.client_version = "0.1.0";
    request.key_release_jwk = jose::PrivateKey::generate().public_key().to_jwk();
    calls[i] = {.token = activation_tokens_[sentinel.contract],
                .proof = proof_of(sentinel, base_url),
                .body = request.to_json().dump()};
  });
  return calls;
}

Call Fleet::renewal_of(std::size_t index, const std::string& base_url) const {
  const Sentinel& sentinel = sentinels_[index];
  api::AuthorizeRequest request;
  request.contract_id = fmt::format("c{}", sentinel.contract);
  request.asset_id = "m";
  request.hw_id = fmt::format("hw-{}", index);
  request.client_version = "0.1.0";
  request.lease_id = sentinel.lease_id;
  request.renewal_token = SecretString(sentinel.renewal_token);
  return {.token = activation_tokens_[sentinel.contract],
          .proof = proof_of(sentinel, base_url),
          .body = request.to_json().dump()};
}

std::vector<Call> Fleet::renew(const std::string& base_url) const {
  std::vector<Call> calls(sentinels_.size());
  for_each_on_all_cores(calls.size(), [&](std::size_t i) { calls[i] = renewal_of(i, base_url); });
  return calls;
}

void Fleet::take_answer(std::size_t index, std::string_view body) {
  sentinels_[index].lease_id = text_in(body, "lease_id");
  sentinels_[index].renewal_token = text_in(body, "renewal_token");
}

}  // namespace tb::bench
