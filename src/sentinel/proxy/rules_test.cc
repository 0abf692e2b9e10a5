// The allow-list and the headers, by tables of cases.
#include "sentinel/proxy/rules.h"

#include <gtest/gtest.h>

#include <string>

namespace tb::sentinel::proxy {
namespace {

int status_of(std::string_view method, std::string_view target, const AllowList& list = {}) {
  const auto match = list.match(method, target);
  return match ? 200 : match.error().status;
}

TEST(ProxyRules, WhatIsServed) {
  for (const auto& [method, target] :
       std::initializer_list<std::pair<const char*, const char*>>{{"GET", "/v1/models"},
                                                                  {"GET", "/v1/models/tiny-1.5:q4"},
                                                                  {"POST", "/v1/chat/completions"},
                                                                  {"POST", "/v1/completions"},
                                                                  {"POST", "/v1/embeddings"},
                                                                  {"POST", "/v1/responses"},
                                                                  {"POST", "/v1/messages"},
                                                                  {"POST", "/v1/messages?beta=true"},
                                                                  {"POST", "/v1/messages/count_tokens"},
                                                                  {"GET", "/v2"},
                                                                  {"POST", "/v2/models/resnet/infer"},
                                                                  {"POST", "/v2/models/resnet/versions/1/infer"},
                                                                  {"POST", "/completion"}}) {
    const auto match = AllowList().match(method, target);
    ASSERT_TRUE(match) << target;
    EXPECT_EQ(*match, target);
  }
}

// spec: wire 2.4: raw and exact; what two parsers could read differently is 403.
TEST(ProxyRules, WhatIsNot) {
  for (const std::string target : {"/",
                                   "",
                                   "*",
                                   "/v1",
                                   "/v1/",
                                   "/v1/models/",
                                   "/v1/chat/completions/",
                                   "/V1/models",
                                   "/v1/Models",
                                   "//v1/models",
                                   "/v1//models",
                                   "/v1/models%2f",
                                   "/%761/models",
                                   "/v1/mode%6cs",
                                   "/v1\\models",
                                   "/v1/models;x=1",
                                   "/v1/./models",
                                   "/v1/../v1/models",
                                   "/v1/models/..",
                                   "/v1/models/.",
                                   "/v1/models/a%00",
                                   "/v1/models#x",
                                   "http://a/v1/models",
                                   "https://a/v1/models",
                                   "v1/models",
                                   "a:443",
                                   "/v1/models\x01",
                                   "/v1/m\xc3\xb6"
                                   "dels",
                                   "/v1/models/a/b",
                                   "/v1/models?a#b",
                                   "/v1/models?a\\b",
                                   "/invocations",
                                   "/v1/load_lora_adapter",
                                   "/v1/unload_lora_adapter",
                                   "/update_weights",
                                   "/init_weight_transfer_engine",
                                   "/metrics",
                                   "/slots",
                                   "/props",
                                   "/lora-adapters",
                                   "/collective_rpc",
                                   "/v2/repository/models/x/load",
                                   "/v2/repository/index",
                                   "/pause",
                                   "/sleep",
                                   "/health",
                                   "/server_info",
                                   "/v2/models/../repository/infer",
                                   "/v2/models/a;b/infer",
                                   "/v2/models//infer"}) {
    EXPECT_EQ(status_of("GET", target), 403) << target;
  }
  EXPECT_EQ(status_of("POST", "/v2/models/" + std::string(129, 'a') + "/infer"), 403);
  EXPECT_EQ(status_of("DELETE", "/v1/models"), 405);
  EXPECT_EQ(status_of("CONNECT", "a:443"), 403);
  EXPECT_EQ(status_of("GET", "/v1/chat/completions"), 405);
  EXPECT_EQ(status_of("get", "/v1/models"), 405);
}

TEST(ProxyRules, ListsCanOnlyNarrow) {
  AllowList list;
  const std::size_t all = list.size();
  list.narrow({"/v1/models", "/metrics"});
  EXPECT_EQ(list.size(), 1U);
  EXPECT_LT(list.size(), all);
  EXPECT_EQ(status_of("GET", "/v1/models", list), 200);
  EXPECT_EQ(status_of("GET", "/metrics", list), 403);
  EXPECT_EQ(status_of("POST", "/v1/completions", list), 403);
  list.narrow({"/v1/completions"});
  EXPECT_EQ(list.size(), 0U);
}

TEST(ProxyRules, KnownPatterns) {
  EXPECT_TRUE(is_known_pattern("/v1/models"));
  EXPECT_FALSE(is_known_pattern("/metrics"));
}

RequestHead request(std::string_view fields) {
  return parse_request_head("POST /v1/completions HTTP/1.1\r\nHost: model.example\r\n" + std::string(fields) + "\r\n")
      .value();
}

std::string forwarded(std::string_view fields) {
  return upstream_head(request(fields), "/v1/completions", {"10.0.0.9", false}, "r1");
}

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

TEST(ProxyRules, TheRuntimesOwnKeyTakesThePlaceOfTheUsers) {
  const RequestHead head = request("Authorization: Bearer users-key\r\nX-Api-Key: users-key\r\n");
  const std::string keyed = upstream_head(head, "/v1/completions", {"10.0.0.9", false}, "r1", "runtime-key");
  EXPECT_TRUE(has(keyed, "\r\nAuthorization: Bearer runtime-key\r\n"));
  EXPECT_FALSE(has(keyed, "users-key"));
  EXPECT_FALSE(has(upstream_head(head, "/v1/completions", {"10.0.0.9", false}, "r1"), "uthorization"));
}

TEST(ProxyRules, HeadersThatDoNotGoUpstream) {
  const std::string head = forwarded(
      "Connection: keep-alive, X-Secret-Hop\r\nX-Secret-Hop: 1\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\nTrailer: "
      "X\r\n"
      "Upgrade: h2c\r\nProxy-Authorization: Basic eA==\r\nProxy-Connection: x\r\nAuthorization: Bearer "
      "tbk-secret\r\nX-Original-URL: /admin\r\n"
      "X-Rewrite-URL: /admin\r\nX-HTTP-Method-Override: PUT\r\nForwarded: for=1.2.3.4\r\nX-Forwarded-Host: evil\r\n"
      "X-Forwarded-For: 1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nContent_Length: 9\r\nCookie: "
      "a=b\r\nX-Request-Id: evil\r\n");
  for (const std::string_view gone :
       {"X-Secret-Hop", "Keep-Alive", "TE:", "Trailer:", "Upgrade", "Proxy-", "tbk-secret", "Original", "Rewrite",
        "Override", "1.2.3.4", "evil", "Content_Length", "Cookie", "Connection"}) {
    EXPECT_FALSE(has(head, gone)) << gone << " in\n" << head;
  }
  EXPECT_TRUE(has(head, "X-Forwarded-For: 10.0.0.9\r\n"));
  EXPECT_TRUE(has(head, "X-Real-IP: 10.0.0.9\r\n"));
  EXPECT_TRUE(has(head, "X-Forwarded-Proto: http\r\n"));
  EXPECT_TRUE(has(head, "X-Forwarded-Host: model.example\r\n"));
  EXPECT_TRUE(has(head, "X-Request-Id: r1\r\n"));
}

TEST(ProxyRules, HeadersThatDo) {
  const std::string head =
      forwarded("traceparent: 00-ab-cd-01\r\nContent-Type: application/json\r\nContent-Length: 12\r\nAccept: */*\r\n");
  EXPECT_TRUE(head.starts_with("POST /v1/completions HTTP/1.1\r\nHost: model.example\r\n"));
  EXPECT_TRUE(head.ends_with("\r\n\r\n"));
  for (const std::string_view kept :
       {"traceparent: 00-ab-cd-01", "Content-Type: application/json", "Content-Length: 12", "Accept: */*"}) {
    EXPECT_TRUE(has(head, kept)) << kept;
  }
  EXPECT_TRUE(parse_request_head(head)) << "what we send would be refused by ourselves";
}

TEST(ProxyRules, AnswersToTheClient) {
  const auto response = parse_response_head(
      "HTTP/1.1 200 Fine\r\nConnection: X-Hop\r\nX-Hop: 1\r\nTransfer-Encoding: chunked\r\nX-Request-Id: "
      "theirs\r\nContent-Type: text/event-stream\r\n\r\n",
      "POST");
  const std::string head = client_head(response.value(), "r1", 1, false);
  EXPECT_TRUE(head.starts_with("HTTP/1.1 200 OK\r\n"));
  EXPECT_TRUE(has(head, "Transfer-Encoding: chunked\r\n"));
  EXPECT_TRUE(has(head, "Content-Type: text/event-stream\r\n"));
  EXPECT_TRUE(has(head, "X-Request-Id: r1\r\n"));
  EXPECT_FALSE(has(head, "X-Hop"));
  EXPECT_FALSE(has(head, "theirs"));
  EXPECT_FALSE(has(head, "Connection"));
  const std::string old = client_head(response.value(), "r1", 0, true);
  EXPECT_FALSE(has(old, "chunked")) << "HTTP/1.0 knows no chunks";
  EXPECT_TRUE(has(old, "Connection: close\r\n"));
}

TEST(ProxyRules, AnAnswerWithoutABodyTellsNoLengthOfOne) {
  const ResponseHead none{.status = 204, .fields = {{"Content-Length", "2"}}, .framing = Framing::kNone};
  EXPECT_EQ(client_head(none, "r", 1, false).find("Content-Length"), std::string::npos);
  const ResponseHead same{.status = 304, .fields = {{"Content-Length", "2"}}, .framing = Framing::kNone};
  EXPECT_NE(client_head(same, "r", 1, false).find("Content-Length: 2"), std::string::npos);
}

TEST(ProxyRules, PresentedKey) {
  EXPECT_EQ(presented_key(request("Authorization: Bearer abc\r\n")), "abc");
  EXPECT_EQ(presented_key(request("Authorization: bearer abc\r\n")), "abc");
  EXPECT_EQ(presented_key(request("X-Api-Key: abc\r\n")), "abc");
  EXPECT_EQ(presented_key(request("Authorization: Bearer abc\r\nX-Api-Key: abc\r\n")), "abc");
  EXPECT_EQ(presented_key(request("Authorization: Bearer abc\r\nX-Api-Key: abd\r\n")), "");
  EXPECT_EQ(presented_key(request("Authorization: Basic abc\r\nX-Api-Key: abc\r\n")), "");
  EXPECT_EQ(presented_key(request("")), "");
}

TEST(ProxyRules, ErrorsAreOpenAiStyle) {
  const std::string answer = error_answer({403, "contract_suspended", "the contract is suspended"}, "r1", true, false);
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"));
  EXPECT_TRUE(answer.ends_with(
      R"({"error":{"message":"the contract is suspended","type":"permission_error","code":"contract_suspended"}})"));
  EXPECT_TRUE(has(answer, "Connection: close\r\n"));
  EXPECT_TRUE(has(error_answer({401, "invalid_api_key", "x"}, "r1", false, false), "WWW-Authenticate: Bearer\r\n"));
  EXPECT_TRUE(has(error_answer({503, "not_ready", "x", 5}, "r1", false, false), "Retry-After: 5\r\n"));
  EXPECT_TRUE(error_answer({403, "a", "b"}, "r1", false, true).ends_with("\r\n\r\n"));
  const Fields more{{"x-ratelimit-limit-requests", "60"}};
  EXPECT_TRUE(has(error_answer({429, "a", "b", 7}, "r1", false, false, more),
                  "Retry-After: 7\r\nx-ratelimit-limit-requests: 60\r\n"));
  EXPECT_TRUE(wants_websocket(request("Connection: upgrade\r\nUpgrade: WebSocket\r\n")));
  EXPECT_FALSE(wants_websocket(request("Upgrade: h2c\r\n")));
}

}  // namespace
}  // namespace tb::sentinel::proxy
