// Large answers as they come, against peers that send less at a time than is waited for, or more than was asked for.
#include "http/transfer_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>

#include "http/client.h"
#include "http/sigpipe.h"
#include "http/test_peer.h"
#include "http/tls.h"

namespace tb::http {
namespace {

using test::RawServer;

constexpr std::size_t kBodyBytes = std::size_t{2} << 20;

std::string head_of(std::size_t bytes) {
  return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(bytes) + "\r\n\r\n";
}

std::string pattern(std::size_t bytes) {
  std::string text(bytes, '\0');
  for (std::size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>((i * 2654435761U) >> 13);
  return text;
}

/// The server's end of one connection, plain or TLS.
class Peer {
 public:
  Peer(int fd, SSL_CTX* context) : fd_(fd) {
    if (context == nullptr) return;
    ssl_.reset(SSL_new(context));
    SSL_set_fd(ssl_.get(), fd);
    EXPECT_EQ(SSL_accept(ssl_.get()), 1);
  }
  /// False if the client has left instead.
  bool read_head() {
    std::string head;
    char c = 0;
    if (!ssl_) head = RawServer::read_head(fd_);
    while (ssl_ && !head.ends_with("\r\n\r\n") && SSL_read(ssl_.get(), &c, 1) == 1) head += c;
    return head.ends_with("\r\n\r\n");
  }
  /// To a client that may have left.
  void say(std::string_view bytes) {
    const SigpipeBlock block;
    if (!ssl_) return RawServer::write(fd_, bytes);
    (void)SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size()));
  }
  void wait_for_end() { RawServer::wait_for_end(fd_); }

 private:
  struct Free {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
  };
  int fd_;
  std::unique_ptr<SSL, Free> ssl_;
};

class TransferLoopTest : public testing::TestWithParam<bool> {
 protected:
  using Script = std::function<void(Peer& peer, int connection)>;

  void serve(Script script) {
    const auto& certs = test::certificates();
    if (GetParam()) context_ = make_server_tls({certs.cert("server"), certs.key("server"), "", false});
    server_ = std::make_unique<RawServer>([this, script = std::move(script)](int fd) {
      Peer peer(fd, context_.get());
      script(peer, connections_++);
    });
    ClientConfig config;
    config.ca_path = certs.cert("ca");
    client_ = std::make_unique<Client>(config);
  }
  ClientRequest request() const {
    ClientRequest request;
    request.url =
        SecretUrl((GetParam() ? "https://localhost:" : "http://localhost:") + std::to_string(server_->port()));
    request.max_answer_bytes = kBodyBytes;
    return request;
  }
  static bool eventually(const std::function<bool()>& holds) {
    for (int i = 0; i < 2000 && !holds(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return holds();
  }

  decltype(make_server_tls({})) context_;
  std::atomic<int> connections_ = 0;
  std::unique_ptr<RawServer> server_;
  std::unique_ptr<Client> client_;
};

TEST_P(TransferLoopTest, PassesOnWhatComesWhileLittleComes) {
  const std::string body = pattern(kBodyBytes);
  std::atomic<std::size_t> received = 0;
  serve([&](Peer& peer, int) {
    peer.read_head();
    peer.say(head_of(body.size()));
    // In the middle, where a large piece is waited for, and at the end, where none is.
    std::size_t said = 0;
    for (const std::size_t until : {std::size_t{1}, std::size_t{700'000}, std::size_t{700'001}, body.size() - 100'000,
                                    body.size() - 1, body.size()}) {
      peer.say(std::string_view(body).substr(said, until - said));
      said = until;
      EXPECT_TRUE(eventually([&] { return received == said; })) << said << " sent, " << received << " passed on";
    }
    peer.wait_for_end();
  });
  std::string got;
  client_->fetch(request(), {}, [&](ByteView piece) {
    got.append(as_text(piece));
    received = got.size();
    return true;
  });
  EXPECT_EQ(got, body);
  client_.reset();
  server_.reset();
}

TEST_P(TransferLoopTest, NothingBehindAnAnswerIsTakenForTheNext) {
  const std::string body = pattern(kBodyBytes);
  const std::string forged = head_of(6) + "forged";
  const std::string answers[] = {
      head_of(body.size()) + body, head_of(5) + "short", head_of(0),
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n0\r\n\r\n",
      // Two lengths: who counts by which?
      "HTTP/1.1 200 OK\r\nContent-Length: 2097152\r\nContent-Length: 600000\r\n\r\n" + body.substr(0, 600'000),
      "HTTP/1.1 204 No Content\r\n\r\n"};
  for (const std::string& answer : answers) {
    for (const bool in_one_piece : {false, true}) {
      std::atomic<bool> said = false;
      serve([&](Peer& peer, int connection) {
        peer.read_head();
        if (connection > 0) {
          peer.say(head_of(5) + "fresh");
        } else if (in_one_piece) {
          peer.say(answer + forged);
        } else {
          peer.say(answer);
          peer.say(forged);
        }
        said = true;
        if (peer.read_head()) peer.say(head_of(5) + "again");
        peer.wait_for_end();
      });
      try {
        client_->send(request());
      } catch (const Error& error) {
        EXPECT_EQ(error.reason, "answer_malformed") << error.story();
      }
      EXPECT_TRUE(eventually([&] { return said.load(); }));
      EXPECT_THAT(client_->send(request()).body, testing::AnyOf("fresh", "again"))
          << answer.substr(0, 60) << (in_one_piece ? " in one piece" : "");
      client_.reset();
      server_.reset();
      connections_ = 0;
    }
  }
}

TEST_P(TransferLoopTest, KeepsItsConnectionAfterLargeAnswers) {
  const std::string body = pattern(kBodyBytes);
  serve([&](Peer& peer, int) {
    for (int i = 0; i < 4; ++i) {
      peer.read_head();
      peer.say(head_of(body.size()) + body);
    }
    peer.wait_for_end();
  });
  for (int i = 0; i < 4; ++i) EXPECT_EQ(client_->send(request()).body, body);
  EXPECT_EQ(connections_, 1);
  client_.reset();
  server_.reset();
}

INSTANTIATE_TEST_SUITE_P(All, TransferLoopTest, testing::Bool(),
                         [](const auto& tls) { return tls.param ? "Tls" : "Plain"; });

}  // namespace
}  // namespace tb::http
