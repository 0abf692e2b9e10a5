#include "http/readiness.h"

#include <fmt/format.h>

#include "http/client.h"

namespace tb::http {
namespace {

constexpr std::int64_t kLimitMs = 5'000;

std::string loopback_of(const std::string& host) {
  if (host.empty() || host == "0.0.0.0") return "127.0.0.1";
  if (host == "::") return "::1";
  return host;
}

std::string bracketed(const std::string& host) {
  return host.find(':') == std::string::npos ? host : "[" + host + "]";
}

}  // namespace

std::string own_url(const OwnServer& server) {
  const std::string host = bracketed(loopback_of(server.address.host));
  if (server.tls_cert_path.empty()) return fmt::format("http://{}:{}", host, server.address.port);
  return fmt::format("https://{}:{}", server.tls_name.empty() ? host : server.tls_name, server.address.port);
}

OwnAnswer ask_own(const OwnServer& server, const std::string& path) {
  ClientConfig config;
  config.ca_path = server.tls_cert_path;
  config.connect_timeout_ms = kLimitMs;
  config.use_proxy_environment = false;
  config.policy = AddressPolicy::configured(true);  // its own address may be a pod's
  if (!server.tls_name.empty()) {
    config.resolve = {fmt::format("{}:{}:{}", server.tls_name, server.address.port, loopback_of(server.address.host))};
  }
  Client client(std::move(config));
  ClientRequest request;
  request.url = SecretUrl(own_url(server) + path);
  request.total_timeout_ms = kLimitMs;
  request.max_answer_bytes = std::uint64_t{256} << 10;
  ClientResponse answer = client.send(request);
  return {.status = answer.status, .body = std::move(answer.body)};
}

}  // namespace tb::http
