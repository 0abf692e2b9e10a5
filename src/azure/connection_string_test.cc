// The forms that the portal gives, and what cannot be one. A refusal never shows a value.
#include "azure/connection_string.h"

#include <gtest/gtest.h>

#include "base/clock.h"

namespace tb::azure {
namespace {

constexpr std::string_view kKey = "AccountKey=c2VjcmV0LXNlY3JldC1zZWNyZXQ=";
constexpr std::string_view kSas = "SharedAccessSignature=sv=2022-11-02&sp=rcw&sig=s3cret%3D";

std::string fault(const std::string& text) {
  const auto parsed = parse_connection_string(text);
  if (parsed) return "";
  EXPECT_EQ(parsed.error().reason, "config_invalid");
  for (const char* secret : {"c2Vj", "s3cret"}) EXPECT_EQ(parsed.error().story().find(secret), std::string::npos);
  return parsed.error().message;
}

TEST(ConnectionString, TheFormsOfThePortal) {
  const auto key = value_or_throw(parse_connection_string("DefaultEndpointsProtocol=https;AccountName=acct1;" +
                                                          std::string(kKey) + ";EndpointSuffix=core.windows.net\n"));
  EXPECT_EQ(key.service_url, "https://acct1.blob.core.windows.net");
  EXPECT_EQ(key.account, "acct1");
  EXPECT_EQ(key.key->reveal(), "secret-secret-secret");
  EXPECT_FALSE(key.sas);
  const auto sas = value_or_throw(parse_connection_string(
      "BlobEndpoint=https://acct1.blob.core.windows.net/;QueueEndpoint=https://q/;" + std::string(kSas)));
  EXPECT_EQ(sas.service_url, "https://acct1.blob.core.windows.net");
  EXPECT_EQ(sas.sas->reveal(), "sv=2022-11-02&sp=rcw&sig=s3cret%3D");
  const auto emulator = value_or_throw(
      parse_connection_string("AccountName=acct1;BlobEndpoint=http://127.0.0.1:10000/acct1;" + std::string(kKey)));
  EXPECT_EQ(emulator.service_url, "http://127.0.0.1:10000/acct1");
  EXPECT_EQ(value_or_throw(parse_connection_string("AccountName=acct1;" + std::string(kKey))).service_url,
            "https://acct1.blob.core.windows.net");
}

TEST(ConnectionString, WhatCannotBeOneIsRefused) {
  const std::string key(kKey), account = "AccountName=acct1;";
  EXPECT_EQ(fault(account + key), "");
  EXPECT_NE(fault(""), "");
  EXPECT_NE(fault(account), "");
  EXPECT_NE(fault(key), "");
  EXPECT_NE(fault(account + account + key), "");
  EXPECT_NE(fault(account + "AccountKey=c2Vj!"), "");
  EXPECT_NE(fault(account + "AccountKey="), "");
  EXPECT_NE(fault("AccountName=Acct;" + key), "");
  EXPECT_NE(fault("AccountName=a/b;" + key), "");
  EXPECT_NE(fault(account + key + ";EndpointSuffix=evil/x"), "");
  EXPECT_NE(fault(account + key + ";DefaultEndpointsProtocol=http"), "") << "plain http to a host that is not loopback";
  EXPECT_NE(fault(account + key + ";BlobEndpoint=http://acct1.example"), "");
  EXPECT_NE(fault(account + key + ";BlobEndpoint=https://u:p@acct1.example"), "");
  EXPECT_NE(fault(account + key + ";=x"), "");
  EXPECT_NE(fault(account + key + ";novalue"), "");
  EXPECT_NE(fault("UseDevelopmentStorage=true"), "");
  EXPECT_NE(fault(account + "SharedAccessSignature=sv=1&comp=list&sig=s3cret"), "");
  EXPECT_NE(fault(account + key + ";Z=" + std::string(kMaxConnectionStringBytes, 'z')), "");
}

TEST(ConnectionString, ASasIsAQueryWithASignature) {
  EXPECT_EQ(value_or_throw(parse_sas("?sv=1&sig=a%3D\n")).reveal(), "sv=1&sig=a%3D");
  for (const char* bad : {"", "?", "sv=1", "sig=a", "sv=1&sig=a&sig=b", "sv=1&sig=a#x", "sv=1&sig=a b", "sv=1&sig=%zz",
                          "sv=1&sig=a&blockid=x", "sv=1&sig=a?restype=container"}) {
    EXPECT_FALSE(parse_sas(bad)) << bad;
  }
  EXPECT_FALSE(parse_sas("sv=1&sig=" + std::string(5000, 'a')));
  EXPECT_EQ(sas_end("sv=1&se=2026-01-02T03%3A04%3A05Z&sig=a"), value_or_throw(from_rfc3339("2026-01-02T03:04:05Z")));
  EXPECT_EQ(sas_end("sv=1&se=2026-01-02&sig=a"), value_or_throw(from_rfc3339("2026-01-02T00:00:00Z")));
  EXPECT_EQ(sas_end("sv=1&se=2026-01-02T03:04Z&sig=a"), value_or_throw(from_rfc3339("2026-01-02T03:04:00Z")));
  EXPECT_EQ(sas_end("sv=1&sig=a"), std::nullopt);
  EXPECT_EQ(sas_end("sv=1&se=soon&sig=a"), std::nullopt);
}

TEST(ConnectionString, PlainHttpIsForThisMachineOnly) {
  for (const char* good :
       {"https://a.example", "https://a.example/x", "http://127.0.0.1:1/a", "http://localhost:1/a"}) {
    EXPECT_TRUE(is_service_url(good)) << good;
  }
  for (const char* bad :
       {"http://a.example", "http://10.0.0.1", "https://a.example/", "https://", "ftp://a", "https://u@a",
        "https://a?x", "https://a#x", "https://a b", "http://127.0.0.1.example", "https://a%2f"}) {
    EXPECT_FALSE(is_service_url(bad)) << bad;
  }
}

}  // namespace
}  // namespace tb::azure
