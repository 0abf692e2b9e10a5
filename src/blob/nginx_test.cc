// HttpSource against a real range server: what it answers to If-Match, to ranges outside, over TLS, and when it is
// slow.
#include <gtest/gtest.h>

#include <filesystem>
#include <thread>

#include "blob/http_source.h"
#include "blob/lying_fixture.h"
#include "blob/nginx.h"
#include "http/range.h"
#include "http/test_peer.h"

namespace tb::blob {
namespace {

class NginxSource : public testing::Test {
 protected:
  void start(const Nginx::Options& options = {}) {
    ASSERT_TRUE(Nginx::installed()) << "nginx is missing: run scripts/deps.sh";
    dir_ = testing::TempDir() + "/tb-nginx-" + random_token(9);
    nginx_ = std::make_unique<Nginx>(dir_, options);
    put(blob_);
  }
  void TearDown() override {
    nginx_.reset();
    if (!dir_.empty()) std::filesystem::remove_all(dir_);
  }
  void put(ByteView bytes) const {
    value_or_throw(write_file_atomically(nginx_->root() + "/blob", as_text(bytes), 0644, true));
  }
  std::shared_ptr<UrlProvider> urls(const std::string& name = "blob") const {
    return std::make_shared<UrlProvider>(SecretUrl(nginx_->url(name)));
  }
  std::string refusal(HttpSource& source, std::uint64_t offset, std::uint64_t bytes) const {
    try {
      source.fetch(offset, bytes, [](ByteView) {});
    } catch (const Error& error) {
      return error.reason;
    }
    return "";
  }
  Bytes read(HttpSource& source, std::uint64_t offset, std::uint64_t bytes) const {
    Bytes got;
    source.fetch(offset, bytes, [&](ByteView piece) { got.insert(got.end(), piece.begin(), piece.end()); });
    return got;
  }
  Bytes part(std::uint64_t offset, std::uint64_t bytes) const {
    const auto from = blob_.begin() + static_cast<std::ptrdiff_t>(offset);
    return {from, from + static_cast<std::ptrdiff_t>(bytes)};
  }

  Bytes blob_ = pattern(3'000'000);
  std::string dir_;
  std::unique_ptr<Nginx> nginx_;
};

TEST_F(NginxSource, ManyConnectionsReadTheirRanges) {
  start();
  http::Client client({.use_proxy_environment = false});
  HttpSource source(client, urls());
  std::vector<std::jthread> threads;
  for (std::uint64_t i = 0; i < 16; ++i) {
    threads.emplace_back([&, i] {
      for (std::uint64_t n = 0; n < 20; ++n) {
        const std::uint64_t offset = (i * 20 + n) * 9001, bytes = 1 + (i * 7919 + n * 104'729) % 100'000;
        EXPECT_EQ(read(source, offset, bytes), part(offset, bytes));
      }
    });
  }
}

TEST_F(NginxSource, RefusesByStatus) {
  start({.server_lines = "location /closed { return 403; } location /busy { return 503; }"});
  http::Client client({.use_proxy_environment = false});
  for (const auto& [name, reason] : {std::pair("nothing", "blob_not_found"), std::pair("closed", "url_expired"),
                                     std::pair("busy", "blob_unavailable")}) {
    HttpSource source(client, urls(name));
    EXPECT_EQ(refusal(source, 0, 10), reason);
  }
  HttpSource source(client, urls());
  EXPECT_EQ(refusal(source, 2'999'990, 11), "range_outside_blob");
  EXPECT_EQ(refusal(source, 3'000'000, 1), "range_outside_blob");
  EXPECT_EQ(read(source, 2'999'999, 1), part(2'999'999, 1));
}

TEST_F(NginxSource, ReplacedFileFailsItsPrecondition) {
  start();
  http::Client client({.use_proxy_environment = false});
  HttpSource source(client, urls());
  source.stat();
  // nginx makes the ETag of time and size.
  Bytes other = blob_;
  other.push_back(0);
  put(other);
  EXPECT_EQ(refusal(source, 100, 100), "blob_changed");
  HttpSource anew(client, urls());
  EXPECT_EQ(anew.stat().bytes, other.size());
}

TEST_F(NginxSource, TlsWithACaOfItsOwn) {
  const auto& certificates = http::test::certificates();
  start({.server_lines = "add_header X-Nth $connection_requests;",
         .cert_path = certificates.cert("server"),
         .key_path = certificates.key("server")});
  http::Client client({.ca_path = certificates.cert("ca"), .use_proxy_environment = false});
  HttpSource source(client, urls());
  EXPECT_EQ(read(source, 1000, 2'000'000), part(1000, 2'000'000));

  http::ClientRequest request;
  request.url = SecretUrl(nginx_->url("blob"));
  request.headers.set("Range", http::range_header({0, 9}));
  EXPECT_EQ(client.send(request).headers.get("X-Nth"), "2") << "the connection was not kept";

  for (const std::string& ca : {certificates.cert("other-ca"), std::string()}) {
    http::Client distrustful({.ca_path = ca, .use_proxy_environment = false});
    HttpSource refused(distrustful, urls());
    EXPECT_EQ(refusal(refused, 0, 10), "tls_failed");
  }
}

TEST_F(NginxSource, SlowIsNoStall) {
  // Seven seconds at a piece a second, where five without any would be a stall.
  start({.server_lines = "limit_rate 100k;"});
  http::Client client({.stall_timeout_ms = 5000, .use_proxy_environment = false});
  HttpSource source(client, urls());
  EXPECT_EQ(read(source, 0, 700'000), part(0, 700'000));
}

TEST_F(NginxSource, DripIsAStall) {
  start({.server_lines = "limit_rate_after 10k; limit_rate 10;"});
  http::Client client(quick());
  HttpSource source(client, urls());
  Bytes got;
  try {
    source.fetch(0, 100'000, [&](ByteView piece) { got.insert(got.end(), piece.begin(), piece.end()); });
    FAIL() << "ten bytes a second were waited for";
  } catch (const Error& error) {
    EXPECT_EQ(error.reason, "network_unreachable");
  }
  EXPECT_EQ(got, part(0, got.size()));
}

}  // namespace
}  // namespace tb::blob
