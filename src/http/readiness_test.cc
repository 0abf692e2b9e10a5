#include "http/readiness.h"

#include <gtest/gtest.h>

#include "base/test_scale.h"
#include "http/server.h"
#include "http/test_peer.h"

namespace tb::http {
namespace {

Router router() {
  std::vector<Route> routes;
  routes.push_back({.method = "GET", .pattern = "/readyz", .who = "", .handler = [](const Request&) {
                      return text(503, "not yet");
                    }});
  return Router(std::move(routes));
}

TEST(Readiness, EveryAddressStandsForLoopback) {
  EXPECT_EQ(own_url({.address = {.host = "0.0.0.0", .port = 8001}}), "http://127.0.0.1:8001");
  EXPECT_EQ(own_url({.address = {.host = "::", .port = 8001}}), "http://[::1]:8001");
  EXPECT_EQ(own_url({.address = {.host = "10.0.0.7", .port = 1}}), "http://10.0.0.7:1");
  EXPECT_EQ(own_url({.address = {.host = "0.0.0.0", .port = 1}, .tls_cert_path = "c", .tls_name = "cp.example"}),
            "https://cp.example:1");
}

TEST(Readiness, GivesTheServersAnswer) {
  Server server({}, router());
  const OwnServer own{.address = {.host = "0.0.0.0", .port = server.port()}};
  EXPECT_EQ(ask_own(own, "/readyz").status, 503);
  EXPECT_EQ(ask_own(own, "/readyz").body, "not yet");
  server.stop();
  EXPECT_THROW(ask_own(own, "/readyz"), Error);
}

TEST(Readiness, TrustsItsOwnCertificateAndNoOther) {
  const auto& made = test::certificates();
  ServerConfig config;
  config.tls = TlsConfig{made.cert("server"), made.key("server"), "", false};
  Server server(config, router());
  OwnServer own{.address = {.host = "0.0.0.0", .port = server.port()},
                .tls_cert_path = made.cert("server"),
                .tls_name = "localhost"};
  EXPECT_EQ(ask_own(own, "/readyz").status, 503);
  own.tls_name = "other.example";
  EXPECT_THROW(ask_own(own, "/readyz"), Error);
  own.tls_name = "localhost";
  own.tls_cert_path = made.cert("client");
  EXPECT_THROW(ask_own(own, "/readyz"), Error);
}

}  // namespace
}  // namespace tb::http
