// TLS of the public port: versions, bodies, certificates that change under way, certificates of clients.
#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <filesystem>

#include "http/test_peer.h"
#include "sentinel/proxy/peers_test.h"

namespace tb::sentinel::proxy {
namespace {

using http::test::certificates;
using test::eventually;
using test::Runtime;
using test::Wire;

/// A client over TLS; `wire` is what lies below.
class TlsWire {
 public:
  explicit TlsWire(Wire wire, int version = TLS1_3_VERSION, const std::string& certificate = "")
      : wire_(std::move(wire)), context_(SSL_CTX_new(TLS_client_method()), SSL_CTX_free) {
    SSL_CTX_set_min_proto_version(context_.get(), version);
    SSL_CTX_set_max_proto_version(context_.get(), version);
    if (version < TLS1_2_VERSION) SSL_CTX_set_cipher_list(context_.get(), "DEFAULT@SECLEVEL=0");
    if (!certificate.empty()) {
      SSL_CTX_use_certificate_file(context_.get(), certificates().cert(certificate).c_str(), SSL_FILETYPE_PEM);
      SSL_CTX_use_PrivateKey_file(context_.get(), certificates().key(certificate).c_str(), SSL_FILETYPE_PEM);
    }
    ssl_.reset(SSL_new(context_.get()));
    SSL_set_fd(ssl_.get(), wire_.fd());
    const timeval patience{test::kPatienceMs / 1000, 0};
    setsockopt(wire_.fd(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    connected = SSL_connect(ssl_.get()) == 1;
  }
  bool say(std::string_view text) {
    std::size_t written = 0;
    return SSL_write_ex(ssl_.get(), text.data(), text.size(), &written) == 1 && written == text.size();
  }
  bool more() {
    char buffer[16384];
    std::size_t bytes = 0;
    const int result = SSL_read_ex(ssl_.get(), buffer, sizeof buffer, &bytes);
    if (result != 1) {
      ended_properly = SSL_get_error(ssl_.get(), result) == SSL_ERROR_ZERO_RETURN;
      return false;
    }
    heard.append(buffer, bytes);
    return true;
  }
  bool until(std::string_view text) {
    while (heard.find(text) == std::string::npos) {
      if (!more()) return false;
    }
    return true;
  }
  const std::string& to_end() {
    while (more()) {
    }
    return heard;
  }
  /// SHA-1 fingerprint of what the server showed.
  std::string shown() const {
    const std::unique_ptr<X509, decltype(&X509_free)> cert(SSL_get1_peer_certificate(ssl_.get()), X509_free);
    unsigned char digest[20];
    unsigned length = sizeof digest;
    if (!cert || X509_digest(cert.get(), EVP_sha1(), digest, &length) != 1) return "";
    return {reinterpret_cast<const char*>(digest), length};
  }
  void leave() { SSL_shutdown(ssl_.get()); }
  Wire& below() { return wire_; }

  std::string heard;
  bool connected = false, ended_properly = false;

 private:
  Wire wire_;
  std::shared_ptr<SSL_CTX> context_;
  std::unique_ptr<SSL, decltype(&SSL_free)> ssl_{nullptr, SSL_free};
};

constexpr const char* kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
constexpr const char* kGet = "GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n";

class ProxyTlsTest : public test::ProxyCase {
 protected:
  static http::TlsConfig server_files() {
    return {.cert_path = certificates().cert("server"), .key_path = certificates().key("server")};
  }
  void begin_tls(const RuntimeAddress& upstream, http::TlsConfig tls = server_files()) {
    begin(upstream, {.tls = std::move(tls), .head_ms = 2'000});
  }
  std::string subject_of_last() {
    const std::scoped_lock lock(second_.mutex);
    return second_.last.peer.certificate_subject;
  }
};

TEST_F(ProxyTlsTest, VersionsThatAreTaken) {
  Runtime runtime(Runtime::answering(kOk));
  begin_tls(runtime.address);
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    TlsWire wire(client(), version);
    ASSERT_TRUE(wire.connected);
    for (int i = 0; i < 3; ++i) {
      wire.heard.clear();
      wire.say(kGet);
      EXPECT_TRUE(wire.until("\r\n\r\nok"));
    }
  }
  EXPECT_FALSE(TlsWire(client(), TLS1_1_VERSION).connected);
  EXPECT_TRUE(eventually([&] { return counted("trustbridge_sentinel_tls_handshakes_failed_total") == 1; }));
  const std::scoped_lock lock(second_.mutex);
  EXPECT_TRUE(second_.last.peer.tls);
  EXPECT_EQ(second_.last.peer.certificate_subject, "");
}

TEST_F(ProxyTlsTest, LongBodiesPassBothWays) {
  const std::string body(5'000'000, 'x');
  Runtime runtime([&](Wire& wire, int) {
    const std::string request = wire.message();
    wire.say("HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n" + body_of(request));
    wire.to_end();
  });
  begin_tls(runtime.address);
  TlsWire wire(client());
  std::thread sends([&] { wire.say(post(body)); });
  sends.join();
  while (wire.heard.size() < body.size() && wire.more()) {
  }
  EXPECT_TRUE(wire.until(body));
}

TEST_F(ProxyTlsTest, PlainBytesAndHalfAHandshakeAreCut) {
  Runtime runtime(Runtime::answering(kOk));
  begin_tls(runtime.address);
  Wire plain = client();
  plain.say(kGet);
  plain.to_end();
  EXPECT_EQ(plain.heard.find("HTTP"), std::string::npos);
  Wire silent = client();
  silent.say("\x16\x03\x01");
  EXPECT_EQ(silent.to_end(), "");
  EXPECT_FALSE(silent.timed_out);
  EXPECT_EQ(runtime.connections, 0);
}

TEST_F(ProxyTlsTest, ACutStreamEndsByTheProtocolsOwnEnd) {
  Runtime runtime([&](Wire& wire, int) {
    wire.message();
    wire.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n");
    wire.to_end();
  });
  begin_tls(runtime.address);
  TlsWire wire(client());
  wire.say(post("a"));
  ASSERT_TRUE(wire.until("data: 1\n\n"));
  proxy_->cut(reason_of(Gate::Door::kSuspended));
  EXPECT_TRUE(wire.to_end().ends_with("\n\n\r\n0\r\n\r\n")) << wire.heard;
  EXPECT_NE(wire.heard.find("contract_suspended"), std::string::npos);
  EXPECT_TRUE(wire.ended_properly);
}

TEST_F(ProxyTlsTest, AClientThatLeavesIsNoticed) {
  Runtime runtime([&](Wire& wire, int) {
    wire.message();
    wire.to_end();
  });
  begin_tls(runtime.address);
  TlsWire wire(client());
  wire.say(post("a"));
  ASSERT_TRUE(eventually([&] { return runtime.connections == 1; }));
  wire.leave();
  wire.below().close();
  EXPECT_TRUE(has_ended());
}

TEST_F(ProxyTlsTest, ARenewedCertificateIsTakenAndABrokenOneIsNot) {
  http::test::TempDir dir;
  http::TlsConfig files{.cert_path = dir.file("cert"), .key_path = dir.file("key")};
  const auto put = [&](const std::string& cert, const std::string& key) {
    const auto text = [](const std::string& path) { return value_or_throw(read_small_file(path)); };
    value_or_throw(write_file_atomically(files.key_path, text(certificates().key(key)), 0600, true));
    value_or_throw(write_file_atomically(files.cert_path, text(certificates().cert(cert)), 0600, true));
  };
  put("server", "server");
  Runtime runtime(Runtime::answering(kOk));
  begin_tls(runtime.address, files);
  TlsWire before(client());
  const std::string first = before.shown();
  const double end = metrics_.gauge("trustbridge_sentinel_tls_certificate_end_seconds", "").value();
  EXPECT_GT(end, static_cast<double>(unix_ms_now()) / 1000);

  put("stranger", "client");  // they do not belong together
  ASSERT_TRUE(eventually([&] {
    (void)TlsWire(client());
    return counted("trustbridge_sentinel_tls_reloads_failed_total") >= 1;
  }));
  TlsWire still(client());
  EXPECT_TRUE(still.connected);
  EXPECT_EQ(still.shown(), first);
  EXPECT_EQ(metrics_.gauge("trustbridge_sentinel_tls_certificate_end_seconds", "").value(), end);

  put("client", "client");
  ASSERT_TRUE(eventually([&] { return TlsWire(client()).shown() != first; }));
  before.say(kGet);
  EXPECT_TRUE(before.until("\r\n\r\nok")) << "connections from before go on";
}

TEST_F(ProxyTlsTest, CertificatesOfClients) {
  Runtime runtime(Runtime::answering(kOk));
  http::TlsConfig files = server_files();
  files.client_ca_path = certificates().cert("ca");
  for (const bool required : {true, false}) {
    files.require_client_cert = required;
    begin_tls(runtime.address, files);
    TlsWire stranger(client(), TLS1_2_VERSION, "stranger");
    EXPECT_FALSE(stranger.connected) << "a certificate of nobody we know is refused even where none is needed";
    TlsWire none(client(), TLS1_2_VERSION);
    EXPECT_EQ(none.connected, !required);
    // By its common name, or by the first alternative name where it has any.
    for (const auto& [certificate, subject] : {std::pair("client", "client"), std::pair("server", "localhost")}) {
      TlsWire known(client(), TLS1_3_VERSION, certificate);
      known.say(kGet);
      ASSERT_TRUE(known.until("\r\n\r\nok")) << certificate;
      EXPECT_TRUE(eventually([&, name = std::string(subject)] { return subject_of_last() == name; })) << certificate;
    }
    if (!required) {
      none.say(kGet);
      ASSERT_TRUE(none.until("\r\n\r\nok"));
      ASSERT_TRUE(eventually([&] { return subject_of_last().empty(); }));
    }
  }
}

}  // namespace
}  // namespace tb::sentinel::proxy
