// The client against our own server and against scripted ones that misbehave.
#include "http/client.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "http/file_response.h"
#include "http/server.h"
#include "http/test_peer.h"
#include "http/transfer.h"

namespace tb::http {
namespace {

using test::RawServer;
using testing::HasSubstr;
using testing::Not;

ClientRequest request_to(const std::string& url, std::string method = "GET") {
  ClientRequest request;
  request.method = std::move(method);
  request.url = SecretUrl(url);
  return request;
}

template <typename Call>
Error error_of(Call&& call) {
  try {
    call();
  } catch (const Error& e) {
    return e;
  }
  return Error("(none)", "nothing was thrown");
}

/// What a scripted server sends to whoever asks.
RawServer scripted(std::string answer, bool then_wait = false) {
  return RawServer([answer = std::move(answer), then_wait](int fd) {
    RawServer::read_head(fd);
    RawServer::write(fd, answer);
    if (then_wait) RawServer::wait_for_end(fd);
  });
}

class ClientTest : public testing::Test {
 protected:
  void start(ServerConfig config = {}) {
    std::vector<Route> routes;
    for (const char* method : {"POST", "PUT"}) {
      routes.push_back(
          {.method = method, .pattern = "/echo", .body_limit_bytes = 1 << 20, .handler = [](const Request& request) {
             Response response = text(200, request.body);
             response.headers.add("X-Method", request.method);
             response.headers.add("X-Token", request.bearer_token());
             response.headers.add("X-Type", request.headers.get("Content-Type"));
             response.headers.add("X-Empty", request.headers.count("X-Nothing") == 1 ? "sent" : "");
             return response;
           }});
    }
    routes.push_back({.method = "GET", .pattern = "/cert", .handler = [](const Request& request) {
                        return text(200, request.client_cert_sha256);
                      }});
    routes.push_back({.method = "GET", .pattern = "/port", .handler = [](const Request& request) {
                        return text(200, std::to_string(request.peer_port));
                      }});
    routes.push_back({.method = "GET", .pattern = "/moved", .handler = [](const Request&) {
                        Response response = text(302, "elsewhere");
                        response.headers.add("Location", "/port");
                        return response;
                      }});
    routes.push_back({.method = "GET", .pattern = "/file", .handler = [this](const Request& request) {
                        Fd fd = value_or_throw(open_file(dir_.file("blob"), O_RDONLY));
                        const auto size = value_or_throw(file_size(fd.get(), "file"));
                        return file_response(request, std::move(fd), {.size = size, .etag = "\"e\""});
                      }});
    server_ = std::make_unique<Server>(config, Router(std::move(routes)));
  }
  std::string url(std::string_view path) const {
    return "http://127.0.0.1:" + std::to_string(server_->port()) + std::string(path);
  }
  std::string https(std::string_view path) const {
    return "https://localhost:" + std::to_string(server_->port()) + std::string(path);
  }
  std::string make_file(std::size_t bytes) const {
    std::string content(bytes, '\0');
    for (std::size_t i = 0; i < bytes; ++i) content[i] = static_cast<char>(i * 31 + i / 251);
    EXPECT_TRUE(write_file_atomically(dir_.file("blob"), content, 0600, true));
    return content;
  }

  test::TempDir dir_;
  std::unique_ptr<Server> server_;
};

TEST_F(ClientTest, SendsBodiesHeadersAndTokens) {
  start();
  Client client({});
  ClientRequest request = request_to(url("/echo"), "POST");
  request.headers = {{"Content-Type", "application/json"}, {"X-Nothing", ""}};
  request.bearer = SecretString("tok");
  request.body = std::string("{\"a\":1}");
  const ClientResponse response = client.send(request);
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "{\"a\":1}");
  EXPECT_EQ(response.headers.get("x-token"), "tok");
  EXPECT_EQ(response.headers.get("x-type"), "application/json");
  EXPECT_EQ(response.headers.get("x-empty"), "sent");
  ClientRequest secret = request_to(url("/echo"), "PUT");
  secret.body = SecretString("s3cret");
  const ClientResponse put = client.send(secret);
  EXPECT_EQ(put.headers.get("X-Method"), "PUT");
  EXPECT_EQ(put.headers.get("X-Type"), "");
  EXPECT_EQ(put.body, "s3cret");
  EXPECT_EQ(client.send(request_to(url("/echo"), "POST")).status, 200);
}

TEST_F(ClientTest, AnyStatusIsAnAnswer) {
  start();
  Client client({});
  EXPECT_EQ(client.send(request_to(url("/nothing"))).status, 404);
  EXPECT_EQ(client.send(request_to(url("/echo"), "DELETE")).headers.get("Allow"), "POST, PUT");
}

TEST_F(ClientTest, KeepsItsConnection) {
  start();
  Client client({});
  const std::string first = client.send(request_to(url("/port"))).body;
  EXPECT_EQ(client.send(request_to(url("/port"))).body, first);
}

TEST_F(ClientTest, NeverFollowsARedirect) {
  start();
  const ClientResponse response = Client({}).send(request_to(url("/moved")));
  EXPECT_EQ(response.status, 302);
  EXPECT_EQ(response.body, "elsewhere");
}

TEST_F(ClientTest, UploadsAPieceOfAFile) {
  start();
  const std::string content = make_file(300'000);
  const Fd fd = value_or_throw(open_file(dir_.file("blob"), O_RDONLY));
  ClientRequest request = request_to(url("/echo"), "PUT");
  request.body = FileRange{fd.get(), 1000, 250'000};
  EXPECT_TRUE(Client({}).send(request).body == content.substr(1000, 250'000));
  request.body = FileRange{fd.get(), 299'000, 2000};
  EXPECT_EQ(error_of([&] { Client({}).send(request); }).reason, "io_error");
}

TEST_F(ClientTest, ABodyIsAskedForWhileItIsSent) {
  start();
  const std::string content(900'001, 'p');
  std::uint64_t asked = 0;
  ClientRequest request = request_to(url("/echo"), "PUT");
  request.body =
      PulledBody{content.size(), [&](std::uint64_t offset, MutableBytes out) {
                   EXPECT_EQ(offset, asked) << "not in order";
                   std::copy_n(content.begin() + static_cast<std::ptrdiff_t>(offset), out.size(), out.begin());
                   asked += out.size();
                 }};
  Client client({});
  EXPECT_TRUE(client.send(request).body == content);
  EXPECT_EQ(asked, content.size());
  request.body = PulledBody{0, [](std::uint64_t, MutableBytes) { FAIL() << "nothing is to be asked for"; }};
  EXPECT_EQ(client.send(request).status, 200);
  request.body = PulledBody{content.size(), [](std::uint64_t offset, MutableBytes) {
                              if (offset > 100'000) throw Error("source_changed", "the file was written to");
                            }};
  EXPECT_EQ(error_of([&] { client.send(request); }).reason, "source_changed");
}

TEST_F(ClientTest, FetchTellsTheHeadBeforeTheBody) {
  start();
  const std::string content = make_file(3'000'000);
  Client client({});
  ClientRequest request = request_to(url("/file"));
  request.headers.add("Range", "bytes=100-2000099");
  request.max_answer_bytes = 2'000'000;
  std::string body;
  int heads = 0;
  const auto on_head = [&](const ClientResponse& head) {
    ++heads;
    EXPECT_EQ(head.status, 206);
    EXPECT_EQ(head.headers.get("content-range"), "bytes 100-2000099/3000000");
    EXPECT_TRUE(body.empty());
    return true;
  };
  const auto sink = [&](ByteView piece) {
    EXPECT_EQ(heads, 1);
    body += as_text(piece);
    return true;
  };
  EXPECT_EQ(client.fetch(request, on_head, sink).status, 206);
  EXPECT_EQ(heads, 1);
  EXPECT_TRUE(body == content.substr(100, 2'000'000));
}

TEST_F(ClientTest, TheReceiverMayEndATransfer) {
  start();
  make_file(3'000'000);
  Client client({});
  const auto never = [](ByteView) -> bool { throw std::logic_error("body of a refused head"); };
  EXPECT_EQ(client.fetch(request_to(url("/file")), [](const ClientResponse&) { return false; }, never).status, 200);
  ClientRequest large = request_to(url("/file"));
  large.max_answer_bytes = 1 << 30;
  EXPECT_EQ(error_of([&] { client.fetch(large, {}, [](ByteView) { return false; }); }).reason, "cancelled");
  EXPECT_THROW(client.fetch(large, {}, [](ByteView) -> bool { throw std::logic_error("mine"); }), std::logic_error);
  EXPECT_EQ(error_of([&] {
              client.fetch(large, [](const ClientResponse&) -> bool { throw Error("bad_time", "mine"); }, never);
            }).reason,
            "bad_time");
  EXPECT_EQ(client.send(request_to(url("/port"))).status, 200);
}

TEST_F(ClientTest, AnswersAreBounded) {
  start();
  make_file(2'000'000);
  const Error error = error_of([&] { Client({}).send(request_to(url("/file?sig=topsecret"))); });
  EXPECT_EQ(error.reason, "answer_too_large");
  EXPECT_THAT(error.story(), Not(HasSubstr("topsecret")));
  const RawServer chatty = scripted("HTTP/1.1 200 OK\r\nX: " + std::string(200'000, 'a') + "\r\n\r\n");
  EXPECT_THAT(error_of([&] { Client({}).send(request_to(chatty.url())); }).reason,
              testing::AnyOf("answer_malformed", "network_unreachable"));
  std::string many = "HTTP/1.1 200 OK\r\n";
  for (int i = 0; i < 300; ++i) many += "X: a\r\n";
  const RawServer wordy = scripted(many + "\r\n");
  EXPECT_EQ(error_of([&] { Client({}).send(request_to(wordy.url())); }).reason, "answer_malformed");
}

TEST_F(ClientTest, NetworkFaultsAreWorthARetry) {
  ClientConfig config;
  config.stall_timeout_ms = 1000;
  Client client(config);
  std::uint16_t free_port = 0;
  {
    const RawServer gone([](int) {});
    free_port = gone.port();
  }
  const auto reason_of = [&](const std::string& url) {
    const Error error = error_of([&] { client.send(request_to(url)); });
    EXPECT_TRUE(error.retryable()) << error.story();
    return error.reason;
  };
  EXPECT_EQ(reason_of("http://127.0.0.1:" + std::to_string(free_port) + "/"), "network_unreachable");
  const RawServer silent = scripted("", true);
  EXPECT_EQ(reason_of(silent.url()), "network_unreachable");
  const RawServer stalled = scripted("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", true);
  EXPECT_EQ(reason_of(stalled.url()), "network_unreachable");
  const RawServer cut = scripted("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
  EXPECT_EQ(reason_of(cut.url()), "network_unreachable");
  const RawServer cut_chunks = scripted("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab");
  EXPECT_EQ(reason_of(cut_chunks.url()), "network_unreachable");
  const RawServer empty = scripted("");
  EXPECT_EQ(reason_of(empty.url()), "network_unreachable");
}

TEST_F(ClientTest, WhatIsNoHttpIsMalformed) {
  const RawServer old = scripted("hello\n");
  EXPECT_EQ(error_of([&] { Client({}).send(request_to(old.url())); }).reason, "answer_malformed");
}

TEST_F(ClientTest, AnExchangeMayHaveAnEnd) {
  const RawServer silent = scripted("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", true);
  ClientRequest request = request_to(silent.url());
  request.total_timeout_ms = 50;
  // Its stall limit would hold it for half a minute, the test's own for five.
  EXPECT_EQ(error_of([&] { Client({.stall_timeout_ms = 600'000}).send(request); }).reason, "network_unreachable");
}

TEST_F(ClientTest, StopEndsACall) {
  const RawServer silent = scripted("", true);
  std::stop_source stop;
  ClientRequest request = request_to(silent.url());
  request.stop = stop.get_token();
  std::thread stopper([&] { stop.request_stop(); });
  EXPECT_EQ(error_of([&] { Client({}).send(request); }).reason, "cancelled");
  stopper.join();
}

TEST_F(ClientTest, PassesOverInterimAnswersAndTrailers) {
  const RawServer server = scripted(
      "HTTP/1.1 103 Early Hints\r\nX-A: early\r\n\r\nHTTP/1.1 200 OK\r\nX-A: real\r\nTransfer-Encoding: chunked\r\n\r\n"
      "2\r\nab\r\n0\r\nX-A: trailer\r\n\r\n");
  const ClientResponse response = Client({}).send(request_to(server.url()));
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.headers.count("X-A"), 1u);
  EXPECT_EQ(response.headers.get("X-A"), "real");
  EXPECT_EQ(response.body, "ab");
}

TEST_F(ClientTest, VerifiesTheServersCertificate) {
  start({.tls = TlsConfig{test::certificates().cert("server"), test::certificates().key("server"), "", false}});
  const auto ask = [&](const std::string& ca, const std::string& url) {
    ClientConfig config;
    config.ca_path = ca;
    return Client(config).send(request_to(url)).status;
  };
  EXPECT_EQ(ask(test::certificates().cert("ca"), https("/port")), 200);
  const Error unknown = error_of([&] { ask(test::certificates().cert("other-ca"), https("/port")); });
  EXPECT_EQ(unknown.reason, "tls_failed");
  EXPECT_FALSE(unknown.retryable());
  EXPECT_EQ(error_of([&] { ask("", https("/port")); }).reason, "tls_failed");
  EXPECT_EQ(error_of([&] { ask("/nonexistent/ca.pem", https("/port")); }).reason, "tls_failed");
  // The certificate names localhost and 127.0.0.1 only.
  start({.address = {.host = "127.0.0.2"},
         .tls = TlsConfig{test::certificates().cert("server"), test::certificates().key("server"), "", false}});
  const std::string other = "https://127.0.0.2:" + std::to_string(server_->port()) + "/port";
  EXPECT_EQ(error_of([&] { ask(test::certificates().cert("ca"), other); }).reason, "tls_failed");
}

TEST_F(ClientTest, CertificatesAreReadAgainForNewConnections) {
  const test::TempDir dir;
  const auto& known = test::certificates();
  const auto put = [&](const std::string& from) {
    std::filesystem::copy_file(known.cert(from), dir.file("crt"), std::filesystem::copy_options::overwrite_existing);
    std::filesystem::copy_file(known.key(from), dir.file("key"), std::filesystem::copy_options::overwrite_existing);
  };
  put("server");
  start({.tls = TlsConfig{dir.file("crt"), dir.file("key"), "", false}});
  ClientConfig config;
  config.ca_path = known.cert("ca");
  Client kept(config);
  const auto port_of = [&](Client& client) { return client.send(request_to(https("/port"))).body; };
  const std::string connection = port_of(kept);
  put("client");  // of the same authority, without the name of this host
  EXPECT_EQ(port_of(kept), connection);
  server_->read_tls_again();
  EXPECT_EQ(port_of(kept), connection) << "what was begun goes on";
  Client fresh(config);
  EXPECT_EQ(error_of([&] { port_of(fresh); }).reason, "tls_failed");
  ASSERT_TRUE(write_file_atomically(dir.file("key"), "no key\n", 0600, true));
  EXPECT_EQ(error_of([&] { server_->read_tls_again(); }).reason, "tls_config_invalid");
  EXPECT_EQ(error_of([&] { port_of(fresh); }).reason, "tls_failed") << "those of before stay in force";
  put("server");
  server_->read_tls_again();
  EXPECT_NE(port_of(fresh), connection);
}

TEST_F(ClientTest, TlsCarriesLargeFilesBothWays) {
  start({.tls = TlsConfig{test::certificates().cert("server"), test::certificates().key("server"), "", false}});
  const std::string content = make_file(5'000'000);
  ClientConfig config;
  config.ca_path = test::certificates().cert("ca");
  Client client(config);
  ClientRequest request = request_to(https("/file"));
  request.max_answer_bytes = 1 << 24;
  EXPECT_TRUE(client.send(request).body == content);
  ClientRequest put = request_to(https("/echo"), "PUT");
  put.body = content.substr(0, 900'000);
  EXPECT_TRUE(client.send(put).body == content.substr(0, 900'000));
}

TEST_F(ClientTest, ManyClientsAtOnceAndAStopInBetween) {
  for (const bool tls : {false, true}) {
    ServerConfig server{.loops = 2, .workers = 3, .drain_ms = 20};
    if (tls) server.tls = TlsConfig{test::certificates().cert("server"), test::certificates().key("server"), "", false};
    start(server);
    const std::string content = make_file(400'000);
    const std::string base = tls ? https("") : url("");
    ClientConfig config;
    config.ca_path = test::certificates().cert("ca");
    Client client(config);
    std::atomic<int> whole{0};
    std::atomic<int> wrong{0};
    std::atomic<int> ended{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 500; ++i) {
          try {
            const ClientResponse response = client.send(request_to(base + (i % 3 == 0 ? "/port" : "/file")));
            if (i % 3 != 0 && response.body != content) ++wrong;
            ++whole;
          } catch (const Error& e) {
            if (e.reason != "network_unreachable" && e.reason != "tls_failed") ++wrong;
            break;
          }
        }
        ++ended;
      });
    }
    while (whole < 40 && ended < 4) std::this_thread::yield();
    server_->stop();
    for (auto& thread : threads) thread.join();
    EXPECT_GE(whole, 40);
    EXPECT_EQ(wrong, 0);
  }
}

TEST_F(ClientTest, TheServerSeesWhichClientCertificateCame) {
  start({.tls = TlsConfig{test::certificates().cert("server"), test::certificates().key("server"),
                          test::certificates().cert("ca"), false}});
  ClientConfig config;
  config.ca_path = test::certificates().cert("ca");
  EXPECT_EQ(Client(config).send(request_to(https("/cert"))).body, "");
  config.client_cert_path = test::certificates().cert("client");
  config.client_key_path = test::certificates().key("client");
  Client known(config);
  const std::string fingerprint = known.send(request_to(https("/cert"))).body;
  FILE* openssl = ::popen(("openssl x509 -in " + config.client_cert_path + " -outform DER | sha256sum").c_str(), "r");
  char expected[65] = {};
  ASSERT_EQ(std::fread(expected, 1, 64, openssl), 64u);
  ::pclose(openssl);
  EXPECT_EQ(fingerprint, expected);
  config.client_cert_path = test::certificates().cert("stranger");
  config.client_key_path = test::certificates().key("stranger");
  EXPECT_THAT(error_of([&] { Client(config).send(request_to(https("/cert"))); }).reason,
              testing::AnyOf("tls_failed", "network_unreachable"));
}

TEST_F(ClientTest, TheServerMayRequireAClientCertificateAndRefusesOldTls) {
  start({.tls = TlsConfig{test::certificates().cert("server"), test::certificates().key("server"),
                          test::certificates().cert("ca"), true}});
  ClientConfig config;
  config.ca_path = test::certificates().cert("ca");
  EXPECT_THAT(error_of([&] { Client(config).send(request_to(https("/cert"))); }).reason,
              testing::AnyOf("tls_failed", "network_unreachable"));
  const std::string old = "openssl s_client -connect 127.0.0.1:" + std::to_string(server_->port()) +
                          " -tls1_1 -cipher DEFAULT@SECLEVEL=0 </dev/null >/dev/null 2>&1";
  EXPECT_NE(std::system(old.c_str()), 0);
}

TEST(ServerTls, BadFilesAreNamed) {
  const auto& certs = test::certificates();
  const auto refusal = [](const TlsConfig& config) { return error_of([&] { make_server_tls(config); }); };
  EXPECT_EQ(refusal({"/nonexistent.crt", certs.key("server"), "", false}).reason, "file_not_found");
  EXPECT_EQ(refusal({certs.cert("server"), certs.key("client"), "", false}).reason, "tls_config_invalid");
  const Error mixed = refusal({certs.key("server"), certs.key("server"), "", false});
  EXPECT_EQ(mixed.reason, "tls_config_invalid");
  EXPECT_THAT(mixed.message, HasSubstr("server.key"));
  EXPECT_EQ(refusal({certs.cert("server"), certs.key("server"), certs.key("server"), false}).reason,
            "tls_config_invalid");
  test::TempDir dir;
  const std::string open_key = dir.file("open.key");
  std::filesystem::copy_file(certs.key("server"), open_key);
  ::chmod(open_key.c_str(), 0644);
  EXPECT_EQ(refusal({certs.cert("server"), open_key, "", false}).reason, "file_mode_unsafe");
}

// spec: wire 1.1: https unless loopback, no userinfo, addresses checked, nothing else followed
TEST(ClientUrl, RefusesWhatThePolicyForbids) {
  const auto strict = AddressPolicy::from_network(false, false);
  for (const char* url : {"http://example.com/",
                          "ftp://example.com/",
                          "file:///etc/passwd",
                          "https://user@example.com/",
                          "https://user:pw@example.com/",
                          "https://127.0.0.1/",
                          "https://localhost/",
                          "http://localhost/",
                          "https://[::1]/",
                          "https://169.254.169.254/metadata",
                          "https://10.0.0.1/",
                          "https://192.168.0.1/",
                          "https://2130706433/",
                          "https://0x7f.1/",
                          "https://[::ffff:127.0.0.1]/",
                          "https://0.0.0.0/",
                          "example.com",
                          "",
                          "https://",
                          "https://exa mple.com/",
                          "https://example.com/\r\nX: y",
                          "gopher://x/"}) {
    const auto checked = check_url(SecretUrl(url), strict);
    ASSERT_FALSE(checked) << url;
    EXPECT_EQ(checked.error().reason, "url_refused") << url;
  }
  EXPECT_TRUE(check_url(SecretUrl("https://example.com/a?sig=b"), strict));
  EXPECT_TRUE(check_url(SecretUrl("http://example.com/"), AddressPolicy::from_network(false, false, true)));
  EXPECT_TRUE(check_url(SecretUrl("http://127.0.0.1:1/"), AddressPolicy::from_network(true, false)));
  EXPECT_TRUE(check_url(SecretUrl("https://10.0.0.1/"), AddressPolicy::from_network(false, true)));
  const auto refused = check_url(SecretUrl("https://10.0.0.1/a?sig=topsecret"), strict);
  EXPECT_THAT(refused.error().story(), Not(HasSubstr("topsecret")));
}

TEST(ClientUrl, ANameIsCheckedWhereItLeads) {
  const RawServer server = scripted("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  const std::string port = std::to_string(server.port());
  ClientConfig config;
  config.use_proxy_environment = false;
  config.resolve = {"weights.example:" + port + ":127.0.0.1"};
  config.policy = AddressPolicy{.loopback = false, .private_networks = true, .link_local = true, .insecure_http = true};
  const ClientRequest request = request_to("http://weights.example:" + port + "/");
  EXPECT_EQ(error_of([&] { Client(config).send(request); }).reason, "url_refused");
  config.policy.loopback = true;
  EXPECT_EQ(Client(config).send(request).status, 200);
}

TEST(ClientUrl, AProxyOfTheEnvironmentIsUsedWhereverItStands) {
  std::string line;
  const RawServer proxy([&](int fd) {
    const std::string head = RawServer::read_head(fd);
    line = head.substr(0, head.find('\r'));
    RawServer::write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nproxied");
  });
  ::setenv("http_proxy", proxy.url("").c_str(), 1);
  ClientConfig config;
  config.policy = AddressPolicy::from_network(false, false, true);
  const std::string body = Client(config).send(request_to("http://weights.example/a?b")).body;
  ::unsetenv("http_proxy");
  EXPECT_EQ(body, "proxied");
  EXPECT_EQ(line, "GET http://weights.example/a?b HTTP/1.1");
}

TEST(ClientUrl, RequestHeadersCannotBeSplit) {
  ClientRequest request = request_to("https://example.com/");
  request.headers.add("X", "a\r\nY: b");
  EXPECT_EQ(error_of([&] { Client({}).send(request); }).reason, "internal");
}

TEST(RetryAfter, IsSecondsOrADate) {
  EXPECT_EQ(retry_after_ms("120", 0), 120'000);
  EXPECT_EQ(retry_after_ms("0", 0), 0);
  EXPECT_EQ(retry_after_ms("Sun, 06 Nov 1994 08:49:37 GMT", 784111776000), 1000);
  EXPECT_EQ(retry_after_ms("Sun, 06 Nov 1994 08:49:37 GMT", 884111776000), 0);
  for (const char* text : {"", "-1", "soon", "1.5x"}) EXPECT_EQ(retry_after_ms(text, 0), std::nullopt) << text;
  EXPECT_GT(retry_after_ms("99999999999999999999", 0), 1'000'000'000);
}

TEST(ClientFaults, ANameThatDoesNotResolveIsTheSameFaultAgain) {
  Client client({});
  for (int attempt = 0; attempt < 3; ++attempt) {
    ClientRequest request;
    request.url = SecretUrl("https://no-such-name.invalid/");
    try {
      client.send(request);
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.reason, "network_unreachable") << attempt << ": " << error.story();
    }
  }
}

}  // namespace
}  // namespace tb::http
