#include "http/address.h"

#include <gtest/gtest.h>

#include "http/listen.h"
#include "http/proxy_choice.h"

namespace tb::http {
namespace {

TEST(Address, KindsOfIPv4) {
  using enum AddressKind;
  for (const char* a : {"1.1.1.1", "172.15.255.255", "172.32.0.0", "100.128.0.1", "169.253.0.1", "223.255.255.255"}) {
    EXPECT_EQ(address_kind(a), kPublic) << a;
  }
  for (const char* a : {"10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1"}) {
    EXPECT_EQ(address_kind(a), kPrivate) << a;
  }
  for (const char* a : {"127.0.0.1", "127.255.255.254"}) EXPECT_EQ(address_kind(a), kLoopback) << a;
  for (const char* a : {"169.254.169.254", "169.254.0.1", "168.63.129.16", "100.100.100.200"}) {
    EXPECT_EQ(address_kind(a), kLinkLocal) << a;
  }
  for (const char* a : {"0.0.0.0", "0.1.2.3", "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "x", ""}) {
    EXPECT_EQ(address_kind(a), kUnusable) << a;
  }
}

TEST(Address, KindsOfIPv6AndWhatCarriesIPv4) {
  using enum AddressKind;
  EXPECT_EQ(address_kind("2606:4700::1111"), kPublic);
  EXPECT_EQ(address_kind("::1"), kLoopback);
  EXPECT_EQ(address_kind("::ffff:127.0.0.1"), kLoopback);
  EXPECT_EQ(address_kind("::ffff:169.254.169.254"), kLinkLocal);
  EXPECT_EQ(address_kind("64:ff9b::10.0.0.1"), kPrivate);
  EXPECT_EQ(address_kind("2002:7f00:1::"), kLoopback);
  EXPECT_EQ(address_kind("fe80::1"), kLinkLocal);
  EXPECT_EQ(address_kind("fd00:ec2::254"), kLinkLocal);
  EXPECT_EQ(address_kind("fd12::1"), kPrivate);
  EXPECT_EQ(address_kind("::"), kUnusable);
  EXPECT_EQ(address_kind("ff02::1"), kUnusable);
  EXPECT_EQ(address_kind("::127.0.0.1"), kUnusable);
}

TEST(Address, LoopbackHosts) {
  for (const char* host : {"localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1"})
    EXPECT_TRUE(is_loopback_host(host)) << host;
  for (const char* host : {"localhost.example", "127.0.0.1.example", "10.0.0.1", "", "0.0.0.0"}) {
    EXPECT_FALSE(is_loopback_host(host)) << host;
  }
}

TEST(Address, PolicyForUrlsFromTheNetwork) {
  using enum AddressKind;
  const auto strict = AddressPolicy::from_network(false, false);
  EXPECT_TRUE(strict.allows(kPublic));
  for (const auto kind : {kPrivate, kLoopback, kLinkLocal, kUnusable}) EXPECT_FALSE(strict.allows(kind));
  EXPECT_TRUE(AddressPolicy::from_network(true, false).allows(kLoopback));
  EXPECT_TRUE(AddressPolicy::from_network(false, true).allows(kPrivate));
  EXPECT_FALSE(AddressPolicy::from_network(true, true).allows(kLinkLocal));
  EXPECT_FALSE(AddressPolicy::configured().allows(kUnusable));
}

TEST(Listen, ParsesAddresses) {
  const auto plain = parse_listen_address("127.0.0.1:8080");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->port, 8080);
  EXPECT_TRUE(plain->is_loopback);
  const auto six = parse_listen_address("[::1]:0");
  ASSERT_TRUE(six);
  EXPECT_EQ(six->host, "::1");
  EXPECT_EQ(six->to_text(), "[::1]:0");
  EXPECT_TRUE(six->is_loopback);
  EXPECT_EQ(parse_listen_address("localhost:1")->host, "127.0.0.1");
  EXPECT_EQ(parse_listen_address(":80")->to_text(), "0.0.0.0:80");
  EXPECT_FALSE(parse_listen_address("0.0.0.0:80")->is_loopback);
}

TEST(Listen, RefusesWhatIsNoAddress) {
  for (const char* text : {"", "80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:80x",
                           "::1:80", "[127.0.0.1]:80", "example.com:80", "[::1]", "[]:80", "127.0.0.1: 80"}) {
    const auto parsed = parse_listen_address(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().reason, "bad_address");
  }
}

TEST(Listen, PlainHttpStaysOnLoopback) {
  EXPECT_TRUE(check_listen_address("127.0.0.1:80", "TB_CP_ADDR", false));
  EXPECT_TRUE(check_listen_address("0.0.0.0:80", "TB_CP_ADDR", true));
  EXPECT_TRUE(check_listen_address("0.0.0.0:80", "TB_CP_ADDR", false, true));
  const auto refused = check_listen_address("0.0.0.0:80", "TB_CP_ADDR", false);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, "plain_http_refused");
  EXPECT_NE(refused.error().message.find("TB_CP_ADDR"), std::string::npos);
  EXPECT_EQ(check_listen_address("x", "TB_CP_ADDR", true).error().reason, "bad_address");
}

TEST(Proxy, IsChosenByTheEnvironment) {
  std::map<std::string, std::string> set;
  const EnvironmentLookup lookup = [&](const std::string& name) -> std::optional<std::string> {
    const auto it = set.find(name);
    return it == set.end() ? std::nullopt : std::optional(it->second);
  };
  EXPECT_EQ(proxy_for("https", "a.example", lookup), "");
  set = {{"HTTPS_PROXY", "http://p:1"}, {"HTTP_PROXY", "http://p:2"}, {"https_proxy", ""}};
  EXPECT_EQ(proxy_for("https", "a.example", lookup), "http://p:1");
  EXPECT_EQ(proxy_for("http", "a.example", lookup), "http://p:2");
  EXPECT_EQ(proxy_for("https", "127.0.0.1", lookup), "");
  EXPECT_EQ(proxy_for("https", "localhost", lookup), "");
  set = {{"ALL_PROXY", "socks5://p"}, {"NO_PROXY", "b.example, .c.example,10.0.0.1"}};
  EXPECT_EQ(proxy_for("https", "a.example", lookup), "socks5://p");
  for (const char* host : {"b.example", "x.B.example", "c.example", "y.c.example", "10.0.0.1"}) {
    EXPECT_EQ(proxy_for("https", host, lookup), "") << host;
  }
  EXPECT_EQ(proxy_for("https", "notb.example", lookup), "socks5://p");
  set["NO_PROXY"] = "*";
  EXPECT_EQ(proxy_for("https", "a.example", lookup), "");
}

}  // namespace
}  // namespace tb::http
