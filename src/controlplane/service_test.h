// The whole control plane without a socket, for the handlers' tests: requests go through the real routes and gate.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "api/authorize.h"
#include "controlplane/admin.h"
#include "controlplane/caller.h"
#include "controlplane/routes.h"

namespace tb::controlplane {

class ServiceTest : public testing::Test {
 protected:
  ServiceTest();
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
  http::Response authorize(const std::string& token, const Json& body) {
    return post("/api/v1/license/authorize", token, body.dump());
  }

  http::Response answer(Call& call, const http::Route*& route);

  UnixMs now_ = 1800000000000;
  const std::string dir_;
  std::unique_ptr<store::Store> store_;
  Keyring keyring_;
  BlobFiles blobs_;
  PublicUrl public_url_;
  obs::Metrics metrics_;
  RateLimits rate_limits_{{.per_second = 0}};
  Deps deps_;
  http::Router router_;
  std::string provider_, other_provider_, operator_, auditor_;
  FileKey key_;
  const std::string ciphertext_ = std::string(32 + 20 + 10, 'c');  ///< as long as 10 bytes of plaintext make it
  const std::string manifest_text_ = "{\"a\":1}";
};

}  // namespace tb::controlplane
