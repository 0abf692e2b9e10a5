// The whole control plane without a socket, for the handlers' tests: requests go through the real routes and gate.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "api/authorize.h"
#include "controlplane/admin.h"
#include "controlplane/caller.h"
#include "controlplane/routes.h"
#include "jose/p256.h"

namespace tb::controlplane {

class ServiceTest : public testing::Test {
 protected:
  /// `database`: a file, for tests that reach into it.
  explicit ServiceTest(const std::string& database = ":memory:");
  ~ServiceTest() override;

  struct Call {
    std::string method = "GET";
    std::string target;
    std::string token;
    std::string body;
    http::Headers headers;
    std::string client_cert_sha256;
  };
  /// What the server would answer, errors included. Where TB_RECORD_ANSWERS names a file, each answer is appended to
  /// it, for tests/openapi/answers.py.
  http::Response call(Call call);
  http::Response post(const std::string& target, const std::string& token, const std::string& body = "") {
    return call({.method = "POST", .target = target, .token = token, .body = body});
  }
  http::Response get(const std::string& target, const std::string& token) {
    return call({.target = target, .token = token});
  }
  static Json body_of(const http::Response& response);
  static std::string text_of(const http::Response& response, std::string_view name);
  /// The bytes that a response would send.
  static std::string bytes_of(const http::Response& response);

  /// A registered asset of tenant t1 with its objects in the embedded store; key_ is its key.
  void register_asset(const std::string& asset_id);
  Json register_body(const std::string& asset_id) const;
  /// A contract of t1 on asset "m"; `more` replaces members of its body. Returns the activation token, or "".
  std::string create_contract(const std::string& contract_id, const Json& more = Json::object());
  Json authorize_body(const std::string& contract_id) const;
  using SentinelKey = std::shared_ptr<const jose::PrivateKey>;
  static SentinelKey new_sentinel() { return std::make_shared<const jose::PrivateKey>(jose::PrivateKey::generate()); }
  /// What a sentinel with this key sends as DPoP.
  std::string proof(const SentinelKey& key, const std::string& target, const std::string& token,
                    const std::string& method = "POST") const;
  /// A POST with a proof by that key.
  http::Response post_as(const SentinelKey& key, const std::string& target, const std::string& token,
                         const std::string& body);
  /// As a sentinel asks: a first authorize with a key of its own; a renewal (a body with lease_id) with the key of that
  /// lease and, unless the body names one, its newest renewal token.
  http::Response authorize(const std::string& token, const Json& body);
  http::Response authorize_as(const SentinelKey& key, const std::string& token, Json body);
  /// With a proof of the key that holds the lease, or of a new one if no test holds it.
  http::Response post_as_holder(const std::string& lease_id, const std::string& target, const std::string& token,
                                const std::string& body);
  http::Response release(const std::string& token, const std::string& contract_id, const std::string& lease_id);

  /// Whose a lease is, and what its holder shows next.
  struct Held {
    SentinelKey key;
    std::string renewal_token;
  };
  std::mutex held_mutex_;
  std::map<std::string, Held> held_;  ///< by lease id

  http::Response answer(Call& call, const http::Route*& route);
  /// The parts of the service as deps_ has them, but for the keyring.
  Deps deps_with(const Keyring& keyring);

  UnixMs now_ = 1800000000000;
  const std::string dir_;
  std::unique_ptr<store::Store> store_;
  Keyring keyring_;
  BlobFiles blobs_;
  PublicUrl public_url_;
  HintBoard hints_;
  obs::Metrics metrics_;
  RateLimits rate_limits_{{.per_second = 0}};
  attest::Trust attestation_trust_;
  Deps deps_;
  http::Router router_;
  std::string provider_, other_provider_, operator_, auditor_;
  FileKey key_;
  const std::string ciphertext_ = std::string(32 + 20 + 10, 'c');  ///< as long as 10 bytes of plaintext make it
  const std::string manifest_text_ = "{\"a\":1}";
};

}  // namespace tb::controlplane
