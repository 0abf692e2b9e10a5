// The document and the table of routes say the same: tests/openapi holds the answers against it.
#include <algorithm>
#include <set>

#include "controlplane/service_test.h"

namespace tb::controlplane {
namespace {

using Operations = std::set<std::string>;

class OpenApi : public ServiceTest {
 protected:
  Json document() { return body_of(get("/api/v1/openapi.json", "")); }
  Operations documented() {
    Operations out;
    const Json json = document();
    for (const auto& [path, item] : json.find("paths")->as_object()) {
      for (const auto& [method, operation] : item.as_object()) {
        if (method != "parameters") out.insert(method + " " + path);
      }
    }
    return out;
  }
};

TEST_F(OpenApi, HasEveryRouteAndNoOther) {
  Operations served;
  for (const auto& route : router_.routes()) {
    std::string method = route.method;
    std::ranges::transform(method, method.begin(), [](unsigned char c) { return std::tolower(c); });
    served.insert(method + " " + route.pattern);
  }
  EXPECT_EQ(documented(), served);
}

TEST_F(OpenApi, SaysWhoMayAsTheGateDoes) {
  const Json json = document();
  for (const auto& route : router_.routes()) {
    std::string method = route.method;
    std::ranges::transform(method, method.begin(), [](unsigned char c) { return std::tolower(c); });
    const Json* security = json.find("paths")->find(route.pattern)->find(method)->find("security");
    ASSERT_NE(security, nullptr) << route.pattern;
    const std::string text = security->dump();
    const std::string expected = route.who == kPublic     ? "[]"
                                 : route.who == kSentinel ? R"([{"activationToken":[]},{"clientCertificate":[]}])"
                                                          : R"([{"bearer":[]}])";
    EXPECT_EQ(text, expected) << route.method << " " << route.pattern;
  }
}

TEST_F(OpenApi, IsServedToEverybody) {
  const auto response = get("/api/v1/openapi.json", "");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.headers.get("Content-Type"), "application/json");
  EXPECT_TRUE(response.body.starts_with("{\n  \"openapi\": \"3.1.0\"")) << response.body.substr(0, 40);
}

}  // namespace
}  // namespace tb::controlplane
