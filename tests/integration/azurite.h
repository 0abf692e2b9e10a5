// A real Azurite (Azure's emulator of its blob store), in memory, on a free port, with an account of this run; and the
// little of Azure's REST that the tests need: a container, a block blob, its end, and service SAS of any lifetime.
#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/hmac.h"
#include "blob/child_server.h"
#include "blob/url.h"
#include "http/client.h"
#include "http/response_head.h"

namespace tb {

/// Makes Azurite serve HTTPS and take OAuth tokens, any that has the shape of one.
struct AzuriteTls {
  std::string cert_path, key_path;
};

class Azurite {
 public:
  static bool installed() { return access(TB_AZURITE, R_OK) == 0 && access(TB_NODE, X_OK) == 0; }

  explicit Azurite(const std::string& log_path, const std::optional<AzuriteTls>& tls = {})
      : port_(blob::ChildServer::free_port()),
        scheme_(tls ? "https" : "http"),
        client_({.ca_path = tls ? tls->cert_path : "", .use_proxy_environment = false}) {
    random_bytes(key_);
    std::vector<std::string> command = {TB_NODE,
                                        TB_AZURITE,
                                        "--blobHost",
                                        "127.0.0.1",
                                        "--blobPort",
                                        std::to_string(port_),
                                        "--inMemoryPersistence",
                                        "--disableTelemetry",
                                        "--silent"};
    if (tls) {
      for (const std::string& more : {std::string("--oauth"), std::string("basic"), std::string("--cert"),
                                      tls->cert_path, std::string("--key"), tls->key_path}) {
        command.push_back(more);
      }
    }
    process_.emplace(command, std::vector<std::string>{fmt::format("AZURITE_ACCOUNTS={}:{}", kAccount, key_base64())},
                     port_, log_path);
  }

  static constexpr const char* kAccount = "trustbridge";
  std::string key_base64() const { return to_base64(key_); }
  /// With "{account}" in it, as the control plane is configured.
  std::string endpoint() const { return fmt::format("{}://127.0.0.1:{}/{{account}}", scheme_, port_); }

  void create_container(const std::string& name) { call("PUT", "/" + name, {{"restype", "container"}}, ""); }

  /// A block blob of 1 MiB blocks; replaces one of that name, which gets a new ETag.
  void put_blob(const std::string& path, ByteView bytes) {
    std::string list;
    for (std::size_t at = 0, block = 0; at < bytes.size(); at += kBlockBytes, ++block) {
      const std::string id = to_base64(as_bytes(fmt::format("block-{:08}", block)));
      const ByteView piece = bytes.subspan(at, std::min(kBlockBytes, bytes.size() - at));
      call("PUT", path, {{"blockid", id}, {"comp", "block"}}, std::string(as_text(piece)));
      list += fmt::format("<Latest>{}</Latest>", id);
    }
    call("PUT", path, {{"comp", "blocklist"}},
         fmt::format(R"(<?xml version="1.0" encoding="utf-8"?><BlockList>{}</BlockList>)", list));
  }
  void delete_blob(const std::string& path) { call("DELETE", path, {}, std::nullopt); }

  /// `path` ("/container/blob") with a service SAS to read the blob `signed_path` (its own unless another is given).
  /// Its end is cut to a second, as Azure writes it, and given in the boot clock.
  blob::DatedUrl signed_url(const std::string& path, std::int64_t life_ms, std::string signed_path = "") const {
    if (signed_path.empty()) signed_path = path;
    const UnixMs now = unix_ms_now();
    const UnixMs end = (now + life_ms) / 1000 * 1000;
    const std::string st = to_rfc3339(now - 300'000), se = to_rfc3339(end);
    // sp st se resource si sip spr sv sr snapshot ses rscc rscd rsce rscl rsct
    const std::string to_sign = fmt::format("r\n{}\n{}\n/blob/{}{}\n\n\nhttps,http\n{}\nb\n\n\n\n\n\n\n", st, se,
                                            kAccount, signed_path, kVersion);
    const std::string url = fmt::format("{}{}?sv={}&spr=https,http&st={}&se={}&sr=b&sp=r&sig={}", origin(), path,
                                        kVersion, escaped(st), escaped(se), escaped(signature(to_sign)));
    return {SecretUrl(url), boot_ms_now() + (end - now)};
  }

 private:
  using Parameters = std::map<std::string, std::string>;
  static constexpr std::size_t kBlockBytes = std::size_t{1} << 20;
  static constexpr const char* kVersion = "2025-11-05";

  std::string origin() const { return fmt::format("{}://127.0.0.1:{}/{}", scheme_, port_, kAccount); }

  static std::string escaped(const std::string& text) {
    std::string out;
    for (const char c : text)
      out += std::isalnum(static_cast<unsigned char>(c)) ? std::string(1, c) : fmt::format("%{:02X}", c);
    return out;
  }
  std::string signature(const std::string& text) const {
    HmacSha256 mac(key_);
    mac.update(as_bytes(text));
    return to_base64(mac.finish());
  }

  /// One request with the account's key; throws unless it is answered 2xx.
  void call(const std::string& method, const std::string& path, const Parameters& parameters,
            std::optional<std::string> body) {
    http::ClientRequest request;
    request.method = method;
    std::string url = origin() + path, resource = fmt::format("/{}/{}{}", kAccount, kAccount, path);
    for (const auto& [name, value] : parameters) {
      url += fmt::format("{}{}={}", url.contains('?') ? '&' : '?', name, escaped(value));
      resource += fmt::format("\n{}:{}", name, value);
    }
    const std::string date = http::http_date(unix_ms_now());
    const std::string length = body && !body->empty() ? std::to_string(body->size()) : "";
    // Verb, encoding, language, length, MD5, type, date, four conditions, range; the x-ms- fields; the resource.
    const std::string to_sign = fmt::format("{}\n\n\n{}\n\n\n\n\n\n\n\n\nx-ms-date:{}\nx-ms-version:{}\n{}", method,
                                            length, date, kVersion, resource);
    request.url = SecretUrl(url);
    request.headers.set("x-ms-date", date);
    request.headers.set("x-ms-version", kVersion);
    request.headers.set("Authorization", fmt::format("SharedKey {}:{}", kAccount, signature(to_sign)));
    if (body) request.body = std::move(*body);
    const http::ClientResponse answer = client_.send(request);
    if (answer.status / 100 != 2) {
      throw Error("internal",
                  fmt::format("azurite answered {} to {} {}: {}", answer.status, method, path, answer.body));
    }
  }

  std::uint16_t port_;
  std::string scheme_;
  Bytes key_ = Bytes(64);
  http::Client client_;
  std::optional<blob::ChildServer> process_;
};

}  // namespace tb
