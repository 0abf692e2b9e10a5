// What a registry could say to get at credentials or to pass other bytes off; the good cases are played against a real
// one by tests/cli/push_images.py.
#include "oci/registry.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <mutex>
#include <sstream>

#include "http/message.h"
#include "http/test_peer.h"

namespace tb::oci {
namespace {

struct Asked {
  std::string method, path;
  http::Headers headers;
};

struct Answer {
  int status = 200;
  http::Headers headers;
  std::string body;
};

/// A server that answers everything by one function, one request a connection, and remembers what it was asked.
class FakeServer {
 public:
  explicit FakeServer(std::function<Answer(const Asked&)> answer)
      : answer_(std::move(answer)), server_([this](int fd) { serve(fd); }) {}
  std::string host() const { return fmt::format("127.0.0.1:{}", server_.port()); }
  std::vector<std::string> asked(std::string_view field) {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> out;
    for (const Asked& one : seen_) out.emplace_back(one.headers.get(field));
    return out;
  }

 private:
  void serve(int fd) {
    std::istringstream head(http::test::RawServer::read_head(fd));
    Asked asked;
    head >> asked.method >> asked.path;
    asked.path = asked.path.substr(0, asked.path.find('?'));
    for (std::string line; std::getline(head, line);) {
      if (line.ends_with('\r')) line.pop_back();
      const std::size_t colon = line.find(": ");
      if (colon != std::string::npos) asked.headers.add(line.substr(0, colon), line.substr(colon + 2));
    }
    if (!asked.headers.get("Expect").empty()) http::test::RawServer::write(fd, "HTTP/1.1 100 Continue\r\n\r\n");
    std::string body(std::strtoul(std::string(asked.headers.get("Content-Length")).c_str(), nullptr, 10), '\0');
    if (!body.empty()) ::recv(fd, body.data(), body.size(), MSG_WAITALL);
    {
      const std::lock_guard lock(mutex_);
      seen_.push_back(asked);
    }
    const Answer given = answer_(asked);
    std::string text =
        fmt::format("HTTP/1.1 {} x\r\nConnection: close\r\nContent-Length: {}\r\n", given.status, given.body.size());
    for (const auto& [name, value] : given.headers.entries()) text += name + ": " + value + "\r\n";
    http::test::RawServer::write(fd, text + "\r\n" + (asked.method == "HEAD" ? "" : given.body));
  }

  std::function<Answer(const Asked&)> answer_;
  std::mutex mutex_;
  std::vector<Asked> seen_;
  http::test::RawServer server_;
};

Answer answer(int status, http::Headers headers = {}, std::string body = {}) {
  return {.status = status, .headers = std::move(headers), .body = std::move(body)};
}

class RegistryTest : public testing::Test {
 protected:
  RegistryTest() {
    std::string pattern = testing::TempDir() + "tb-registry-XXXXXX";
    path_ = ::mkdtemp(pattern.data());
    folder_.emplace(path_);
  }
  ~RegistryTest() override { std::filesystem::remove_all(path_); }

  static RegistryOptions options() {
    RegistryOptions out;
    out.login = [] {
      return std::optional(RegistryLogin{.user = "u", .password = SecretString("secret"), .is_identity_token = false});
    };
    out.retry.first_ms = 1;
    out.retry.attempts = 3;
    return out;
  }
  static Registry client(const FakeServer& server) {
    return Registry(parse_reference(server.host() + "/a").value(), options());
  }

  template <typename F>
  static std::string reason_of(F f) {
    try {
      f();
    } catch (const Error& error) {
      EXPECT_EQ(error.story().find("secret"), std::string::npos) << error.story();
      return error.reason;
    }
    return "";
  }

  std::string path_;
  std::optional<BlobFolder> folder_;
  Descriptor blob_ = describe("x", "right");
};

TEST_F(RegistryTest, ARedirectGetsNoCredentialsAndWhatComesIsHeldToItsDigest) {
  std::string content = "right";
  FakeServer store([&](const Asked&) { return answer(200, {}, content); });
  FakeServer registry([&](const Asked& request) {
    if (request.headers.get("Authorization").empty()) return answer(401, {{"WWW-Authenticate", "Basic realm=x"}});
    return answer(307, {{"Location", "http://" + store.host() + "/elsewhere"}});
  });
  content = "wrong";
  EXPECT_EQ(reason_of([&] { client(registry).pull_blob(blob_, *folder_); }), "image_digest_mismatch");
  EXPECT_FALSE(folder_->has(blob_));
  content = "right, and more than was said";
  EXPECT_NE(reason_of([&] { client(registry).pull_blob(blob_, *folder_); }), "");
  content = "right";
  client(registry).pull_blob(blob_, *folder_);
  EXPECT_EQ(folder_->read(blob_), "right");
  EXPECT_EQ(registry.asked("Authorization").back(), "Basic dTpzZWNyZXQ=");
  for (const std::string& field : store.asked("Authorization")) EXPECT_EQ(field, "");
}

TEST_F(RegistryTest, RedirectsEndAndLeadNowhereElse) {
  std::string location = "/v2/a/blobs/again";
  FakeServer registry([&](const Asked&) { return answer(302, {{"Location", location}}); });
  EXPECT_EQ(reason_of([&] { client(registry).pull_blob(blob_, *folder_); }), "registry_refused");
  EXPECT_LE(registry.asked("Host").size(), 6U);
  for (const char* place : {"", "file:///etc/passwd", "//evil.example/x", "ftp://x/y", "javascript:1"}) {
    location = place;
    EXPECT_EQ(reason_of([&] { client(registry).pull_blob(blob_, *folder_); }), "registry_refused") << place;
  }
  location = "http://169.254.169.254/metadata";
  EXPECT_EQ(reason_of([&] { client(registry).pull_blob(blob_, *folder_); }), "url_refused");
}

TEST_F(RegistryTest, AnUploadThatIsSentElsewhereTakesNoCredentialsAlong) {
  FakeServer store([&](const Asked&) { return answer(201); });
  FakeServer registry([&](const Asked& request) {
    if (request.headers.get("Authorization").empty()) return answer(401, {{"WWW-Authenticate", "Basic realm=x"}});
    if (request.method == "POST") return answer(202, {{"Location", "http://" + store.host() + "/upload"}});
    return answer(404);
  });
  folder_->put("x", "right");
  EXPECT_TRUE(client(registry).push_blob(blob_, folder_->path_of(blob_.digest)));
  ASSERT_FALSE(store.asked("Authorization").empty());
  for (const std::string& field : store.asked("Authorization")) EXPECT_EQ(field, "");
}

TEST_F(RegistryTest, AManifestThatIsReadBackOtherwiseIsNoSuccess) {
  FakeServer registry([&](const Asked& request) {
    if (request.method == "PUT") return answer(201);
    return answer(200, {{"Content-Type", std::string(kManifestType)}}, R"({"schemaVersion":2})");
  });
  EXPECT_EQ(reason_of([&] { client(registry).push_manifest("t", kManifestType, "{}"); }), "image_digest_mismatch");
  EXPECT_EQ(reason_of([&] { client(registry).manifest("sha256:" + std::string(64, 'a')); }), "image_digest_mismatch");
}

TEST_F(RegistryTest, WhatIsNoRegistryIsToldFromOneThatIsBusy) {
  int status = 200;
  std::string body = "<html>";
  FakeServer registry([&](const Asked&) { return answer(status, {{"Content-Type", "text/html"}}, body); });
  EXPECT_EQ(reason_of([&] { client(registry).manifest("t"); }), "image_malformed");
  status = 429;
  EXPECT_EQ(reason_of([&] { client(registry).manifest("t"); }), "registry_unavailable");
  EXPECT_EQ(registry.asked("Host").size(), 1U + 3U) << "three attempts";
  status = 403;
  body = "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"no \\u001b[31m\"}]}";
  EXPECT_EQ(reason_of([&] { client(registry).manifest("t"); }), "registry_denied");
  status = 418;
  EXPECT_EQ(reason_of([&] { client(registry).manifest("t"); }), "registry_refused");
}

TEST_F(RegistryTest, ChallengesAreAnsweredOnceAndTokensAreChecked) {
  std::string field = "Basic realm=x", token = R"({"token":"t"})";
  FakeServer* self = nullptr;
  FakeServer registry([&](const Asked& request) {
    if (request.path == "/token") return answer(200, {}, token);
    return answer(401, {{"WWW-Authenticate", field}});
  });
  self = &registry;
  EXPECT_EQ(reason_of([&] { client(registry).has_blob(blob_); }), "registry_denied");
  EXPECT_EQ(registry.asked("Host").size(), 2U);
  field = fmt::format(R"(Bearer realm="http://{}/token")", self->host());
  EXPECT_EQ(reason_of([&] { client(registry).has_blob(blob_); }), "registry_denied");
  for (const char* bad : {"", "{}", R"({"token":""})", R"({"token":7})", R"({"token":"a\r\nX: y"})"}) {
    token = bad;
    EXPECT_EQ(reason_of([&] { client(registry).has_blob(blob_); }), "registry_refused") << bad;
  }
  for (const char* bad : {"Negotiate", "", R"(Bearer realm="ftp://x/")", R"(Bearer realm="relative")"}) {
    field = bad;
    EXPECT_EQ(reason_of([&] { client(registry).has_blob(blob_); }), "registry_refused") << bad;
  }
}

TEST_F(RegistryTest, APieceThatIsNotTakenIsNotSentForEver) {
  FakeServer registry([&](const Asked& request) {
    if (request.method == "POST") return answer(202, {{"Location", "/upload"}});
    if (request.method == "PATCH") return answer(202, {{"Location", "/upload"}, {"Range", "0-0"}});
    return answer(404);
  });
  RegistryOptions small = options();
  small.piece_bytes = 2;
  folder_->put("x", "right");
  Registry one(parse_reference(registry.host() + "/a").value(), std::move(small));
  EXPECT_EQ(reason_of([&] { one.push_blob(blob_, folder_->path_of(blob_.digest)); }), "registry_refused");
}

TEST_F(RegistryTest, PlainHttpGoesToLoopbackOnly) {
  Registry far(parse_reference("registry.invalid/a").value(), options());
  try {
    far.has_blob(blob_);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.reason, "registry_unavailable") << error.story();
  }
}

}  // namespace
}  // namespace tb::oci
