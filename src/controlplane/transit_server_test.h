// For tests only: a stand-in of ours for an HTTP KMS, after the published API of HashiCorp Vault's transit engine
// (encrypt and decrypt of one item with associated_data, aes256-gcm96). No Vault was to be had where this was written.
// It can fail in the ways in which a KMS, or what stands before it, fails.
#pragma once

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

#include "base/crypto.h"
#include "http/server.h"

namespace tb::controlplane {

class TransitServer {
 public:
  enum class Mode {
    kWorks,
    kSealed,
    kForbidden,
    kBusy,
    kSlow,
    kHuge,
    kNoJson,
    kNoData,
    kNotFound,
    kOtherKey,
    kIgnoresContext
  };

  explicit TransitServer(std::string token) : token_(std::move(token)), server_(config(), router()) {}

  std::string source(const std::string& key = "tb") const {
    return fmt::format("transit:http://127.0.0.1:{}/transit/{}", server_.port(), key);
  }
  void set(Mode mode) { mode_ = mode; }
  int requests() const { return requests_; }
  int encryptions() const { return encryptions_; }
  /// Called before each request is answered.
  void on_request(std::function<void()> hook) {
    const std::lock_guard lock(mutex_);
    hook_ = std::move(hook);
  }
  std::string last_namespace() const {
    const std::lock_guard lock(mutex_);
    return namespace_;
  }

 private:
  static http::ServerConfig config() { return {.address = {.host = "127.0.0.1", .port = 0, .is_loopback = true}}; }

  http::Router router() {
    std::vector<http::Route> routes;
    for (const std::string verb : {"encrypt", "decrypt"}) {
      routes.push_back({.method = "POST",
                        .pattern = "/v1/transit/" + verb + "/{key}",
                        .who = "",
                        .body_limit_bytes = 65536,
                        .handler = [this, verb](const http::Request& request) { return handle(verb, request); }});
    }
    return http::Router(std::move(routes));
  }

  static http::Response fault(int status, const std::string& text) {
    return http::text(status, fmt::format("{{\"errors\":[\"{}\"]}}", text), "application/json");
  }

  http::Response handle(const std::string& verb, const http::Request& request) {
    ++requests_;
    std::function<void()> hook;
    {
      const std::lock_guard lock(mutex_);
      hook = hook_;
      namespace_ = request.headers.get("X-Vault-Namespace");
    }
    if (hook) hook();
    switch (mode_) {
      case Mode::kSealed:
        return fault(503, "Vault is sealed");
      case Mode::kBusy: {
        auto response = fault(429, "request rate quota exceeded");
        response.headers.set("Retry-After", "1");
        return response;
      }
      case Mode::kSlow:
        std::this_thread::sleep_for(std::chrono::milliseconds(1500));
        break;
      case Mode::kHuge:
        return http::text(200, std::string(1 << 20, 'x'), "application/json");
      case Mode::kNoJson:
        return http::text(200, "<html>" + request.body + "</html>");
      case Mode::kNoData:
        return http::text(200, R"({"data":{"other":"x"}})", "application/json");
      case Mode::kNotFound:
        return fault(404, "no handler for route");
      case Mode::kForbidden:
        return fault(403, "permission denied");
      default:
        break;
    }
    if (request.bearer_token() != token_) return fault(403, "permission denied");
    return verb == "encrypt" ? encrypt(request) : decrypt(request);
  }

  /// The KMS's key of that name.
  static FileKey key_of(const http::Request& request) {
    return hkdf_sha256(as_bytes("test kms"), request.param("key"));
  }
  static std::string text_of(const Json& body, std::string_view name) {
    const Json* member = body.find(name);
    return member != nullptr && member->is_string() ? member->as_string() : "";
  }

  /// A KMS from before associated_data passes over it.
  Result<Bytes> associated_data(const Json& body) const {
    if (mode_ == Mode::kIgnoresContext) return Bytes{};
    return from_base64(text_of(body, "associated_data"));
  }

  http::Response encrypt(const http::Request& request) {
    ++encryptions_;
    const Json body = value_or_throw(Json::parse(request.body));
    const auto plain = from_base64(text_of(body, "plaintext"));
    const auto aad = associated_data(body);
    if (!plain || !aad) return fault(400, "failed to base64-decode");
    Bytes sealed(kNonceBytes + plain->size() + kTagBytes);
    random_bytes({sealed.data(), kNonceBytes});
    Aes256Gcm aead(key_of(request));
    aead.seal(std::span<const std::uint8_t, kNonceBytes>(sealed.data(), kNonceBytes), *aad, *plain,
              {sealed.data() + kNonceBytes, plain->size()},
              std::span<std::uint8_t, kTagBytes>(sealed.data() + kNonceBytes + plain->size(), kTagBytes));
    return answer("ciphertext", "vault:v1:" + to_base64(sealed));
  }

  http::Response decrypt(const http::Request& request) {
    const Json body = value_or_throw(Json::parse(request.body));
    const std::string ciphertext = text_of(body, "ciphertext");
    const auto sealed = from_base64(ciphertext.starts_with("vault:v1:") ? ciphertext.substr(9) : "-");
    const auto aad = associated_data(body);
    if (!sealed || !aad || sealed->size() < kNonceBytes + kTagBytes) return fault(400, "invalid ciphertext: no prefix");
    Bytes plain(sealed->size() - kNonceBytes - kTagBytes);
    Aes256Gcm aead(key_of(request));
    if (!aead.open(std::span<const std::uint8_t, kNonceBytes>(sealed->data(), kNonceBytes), *aad,
                   {sealed->data() + kNonceBytes, plain.size()},
                   std::span<const std::uint8_t, kTagBytes>(sealed->data() + sealed->size() - kTagBytes, kTagBytes),
                   plain)) {
      return fault(400, "cipher: message authentication failed");
    }
    if (mode_ == Mode::kOtherKey) plain[0] ^= 1;
    return answer("plaintext", to_base64(plain));
  }

  static http::Response answer(const std::string& name, const std::string& value) {
    return http::text(
        200, fmt::format(R"({{"request_id":"r","lease_id":"","data":{{"{}":"{}","key_version":1}}}})", name, value),
        "application/json");
  }

  const std::string token_;
  std::atomic<Mode> mode_ = Mode::kWorks;
  std::atomic<int> requests_ = 0, encryptions_ = 0;
  mutable std::mutex mutex_;
  std::function<void()> hook_;
  std::string namespace_;
  http::Server server_;
};

}  // namespace tb::controlplane
