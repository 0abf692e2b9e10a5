// What is signed, field by field (authorize-with-shared-key); that a service takes it is proven against Azurite.
#include "azure/shared_key.h"

#include <gtest/gtest.h>

namespace tb::azure {
namespace {

TEST(SharedKey, EveryFieldHasItsLine) {
  ServiceRequest request{.method = "PUT", .path = "/models/m/model.tbenc", .body_bytes = 11};
  request.query = {{"comp", "block"}, {"blockid", "QQ=="}};
  request.headers = {{"x-ms-version", "2022-11-02"},
                     {"X-Ms-Date", "Sun, 06 Nov 1994 08:49:37 GMT"},
                     {"Content-Type", "text/plain"},
                     {"Content-MD5", "abc="},
                     {"If-None-Match", "*"}};
  EXPECT_EQ(shared_key_string_to_sign("acct1", request),
            "PUT\n\n\n11\nabc=\ntext/plain\n\n\n\n*\n\n\n"
            "x-ms-date:Sun, 06 Nov 1994 08:49:37 GMT\nx-ms-version:2022-11-02\n"
            "/acct1/models/m/model.tbenc\nblockid:QQ==\ncomp:block");
  EXPECT_EQ(query_text(request), "?comp=block&blockid=QQ%3D%3D");
  EXPECT_EQ(shared_key("acct1", request, SecretString("key")).reveal().substr(0, 16), "SharedKey acct1:");
}

TEST(SharedKey, NothingIsNoLength) {
  const ServiceRequest request{.method = "HEAD", .path = "/acct1/c/b"};
  EXPECT_EQ(shared_key_string_to_sign("acct1", request), "HEAD\n\n\n\n\n\n\n\n\n\n\n\n/acct1/acct1/c/b");
}

}  // namespace
}  // namespace tb::azure
