// The strings to sign, field by field, against values that were computed apart (Python's hmac). Whether Azure's own
// emulator takes them is tested in tests/integration/signed_store_test.cc. spec: wire 1.5
#include "azure/sas.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "base/crypto.h"

namespace tb::azure {
namespace {

constexpr UnixMs kEnd = 1800003600'000;  // 2027-01-15T09:00:00Z
const BlobPath kBlob{.account = "acct", .container = "models", .blob = "t1/m/model.tbenc"};

SecretString signing_key() {
  std::string bytes(64, '\0');
  std::iota(bytes.begin(), bytes.end(), '\0');
  return SecretString(std::move(bytes));
}

DelegationKey delegation_key() {
  return {.oid = "oid-1",
          .tid = "tid-1",
          .start = "2027-01-15T07:45:00Z",
          .expiry = "2027-01-15T12:00:00Z",
          .service = "b",
          .version = "2022-11-02",
          .expires_at = kEnd + 1,
          .value = signing_key()};
}

TEST(Sas, AServiceSasHasSixteenFields) {
  const std::string text = service_string_to_sign(kBlob, {.expires_at = kEnd});
  EXPECT_EQ(text,
            "r\n\n2027-01-15T09:00:00Z\n/blob/acct/models/t1/m/model.tbenc\n\n\nhttps\n2022-11-02\nb\n\n\n\n\n\n\n");
  EXPECT_EQ(std::ranges::count(text, '\n'), 15);
  EXPECT_EQ(service_sas(kBlob, {.expires_at = kEnd}, signing_key()).reveal(),
            "sv=2022-11-02&spr=https&se=2027-01-15T09%3A00%3A00Z&sr=b&sp=r&"
            "sig=mMOJ%2Bg3eU0NN1BetlF4xcA1d42l9rJny4Y%2BPZ0aN%2Fkc%3D");
}

TEST(Sas, AUserDelegationSasHasTwentyFourFields) {
  const std::string text = delegation_string_to_sign(kBlob, {.expires_at = kEnd}, delegation_key());
  EXPECT_EQ(text,
            "r\n\n2027-01-15T09:00:00Z\n/blob/acct/models/t1/m/model.tbenc\noid-1\ntid-1\n2027-01-15T07:45:00Z\n"
            "2027-01-15T12:00:00Z\nb\n2022-11-02\n\n\n\n\nhttps\n2022-11-02\nb\n\n\n\n\n\n\n");
  EXPECT_EQ(std::ranges::count(text, '\n'), 23);
  EXPECT_EQ(delegation_sas(kBlob, {.expires_at = kEnd}, delegation_key()).reveal(),
            "sv=2022-11-02&spr=https&se=2027-01-15T09%3A00%3A00Z&sr=b&sp=r&skoid=oid-1&sktid=tid-1&"
            "skt=2027-01-15T07%3A45%3A00Z&ske=2027-01-15T12%3A00%3A00Z&sks=b&skv=2022-11-02&"
            "sig=dybfSHl1YwBRs95iBEAPT6O8xe7dx%2FR39wVxRMgaKCk%3D");
}

TEST(Sas, EveryPartIsSigned) {
  const std::string one = service_string_to_sign(kBlob, {.expires_at = kEnd});
  EXPECT_NE(one, service_string_to_sign(kBlob, {.expires_at = kEnd + 1000}));
  EXPECT_EQ(one, service_string_to_sign(kBlob, {.expires_at = kEnd + 999})) << "an end is whole seconds, cut";
  EXPECT_NE(one, service_string_to_sign(kBlob, {.expires_at = kEnd, .https_only = false}));
  BlobPath other = kBlob;
  other.blob += "x";
  EXPECT_NE(one, service_string_to_sign(other, {.expires_at = kEnd}));
  EXPECT_EQ(escaped("a-._~/+ \x80"), "a-._~%2F%2B%20%80");
}

}  // namespace
}  // namespace tb::azure
