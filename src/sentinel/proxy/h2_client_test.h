// For the tests of HTTP/2: a client over TLS that says what nghttp2 lets it say, and raw frames where a test must say
// more.
#pragma once

#include <fcntl.h>
#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>
#include <signal.h>

#include <map>
#include <optional>
#include <utility>

#include "http/test_peer.h"
#include "sentinel/proxy/peers_test.h"

namespace tb::sentinel::proxy::test {

using Pairs = std::vector<std::pair<std::string, std::string>>;

struct H2Answer {
  int status = 0;
  std::vector<int> interim;
  std::map<std::string, std::string> fields;
  std::string body;
  bool ended = false;   ///< properly
  bool closed = false;  ///< in any way
  std::uint32_t error = 0;
};

struct H2Body {
  std::string bytes;
  std::size_t given = 0;
  bool ends = true;  ///< else it waits for more
};

class H2Client {
 public:
  /// `window_bytes`: of each stream, not opened again where `manual`.
  explicit H2Client(Wire wire, bool manual = false, std::uint32_t window_bytes = 65535, const char* alpn = "\x02h2",
                    const std::string& certificate = "")
      : wire_(std::move(wire)), context_(SSL_CTX_new(TLS_client_method()), SSL_CTX_free) {
    signal(SIGPIPE, SIG_IGN);  // OpenSSL writes to a peer that has gone, too
    using http::test::certificates;
    if (!certificate.empty()) {
      SSL_CTX_use_certificate_file(context_.get(), certificates().cert(certificate).c_str(), SSL_FILETYPE_PEM);
      SSL_CTX_use_PrivateKey_file(context_.get(), certificates().key(certificate).c_str(), SSL_FILETYPE_PEM);
    }
    ssl_.reset(SSL_new(context_.get()));
    SSL_set_fd(ssl_.get(), wire_.fd());
    SSL_set_mode(ssl_.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_set_alpn_protos(ssl_.get(), reinterpret_cast<const unsigned char*>(alpn),
                        static_cast<unsigned>(std::strlen(alpn)));
    connected = SSL_connect(ssl_.get()) == 1;
    fcntl(wire_.fd(), F_SETFL, O_NONBLOCK);
    begin_session(manual, window_bytes);
  }
  ~H2Client() { nghttp2_session_del(session_); }
  H2Client(const H2Client&) = delete;

  static Pairs head(const std::string& method, const std::string& path, const Pairs& more = {}) {
    Pairs out{{":method", method}, {":scheme", "https"}, {":path", path}, {":authority", "a"}};
    out.insert(out.end(), more.begin(), more.end());
    return out;
  }
  /// The id of a new stream. Without a body the head ends it.
  std::int32_t ask(const Pairs& fields, std::optional<std::string> body = std::nullopt, bool ends = true) {
    std::vector<nghttp2_nv> list;
    for (const auto& [name, value] : fields) {
      list.push_back({reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())),
                      reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(), 0});
    }
    const nghttp2_data_provider provider{.source = {}, .read_callback = provide};
    const std::int32_t id =
        nghttp2_submit_request(session_, nullptr, list.data(), list.size(), body ? &provider : nullptr, nullptr);
    if (body) bodies_[id] = {std::move(*body), 0, ends};
    return id;
  }
  std::int32_t post(std::string body, const Pairs& more = {}) {
    return ask(head("POST", "/v1/completions", more), std::move(body));
  }
  void more(std::int32_t id, std::string_view bytes, bool ends) {
    bodies_[id].bytes.append(bytes);
    bodies_[id].ends = ends;
    nghttp2_session_resume_data(session_, id);
  }
  void reset(std::int32_t id) { nghttp2_submit_rst_stream(session_, 0, id, NGHTTP2_CANCEL); }
  void open_window(std::int32_t id, std::int32_t bytes) { nghttp2_submit_window_update(session_, 0, id, bytes); }
  nghttp2_session* session() { return session_; }

  /// Past nghttp2, behind what it has to say.
  bool say(std::string_view bytes) {
    raw_.append(bytes);
    return true;
  }
  /// Instead of all that nghttp2 has to say.
  void say_only(std::string_view bytes) {
    muted_ = true;
    say(bytes);
  }
  static std::string frame(std::uint8_t type, std::uint8_t flags, std::uint32_t id, std::string_view payload) {
    std::string out;
    for (const std::size_t byte : {payload.size() >> 16, payload.size() >> 8, payload.size()}) {
      out.push_back(static_cast<char>(byte));
    }
    out.push_back(static_cast<char>(type));
    out.push_back(static_cast<char>(flags));
    for (const int shift : {24, 16, 8, 0}) out.push_back(static_cast<char>(id >> shift));
    return out.append(payload);
  }

  /// Goes on until `is_so`; false if the peer ends before, or nothing comes for long.
  bool until(const std::function<bool()>& is_so) {
    while (true) {
      write();
      if (is_so()) return true;
      if (ended) return false;
      pollfd wait{wire_.fd(), static_cast<short>(POLLIN | (out_.empty() ? 0 : POLLOUT)), 0};
      if (poll(&wait, 1, kPatienceMs) != 1) return false;
      read();
    }
  }
  bool until_closed(std::int32_t id) {
    return until([&] { return answers[id].closed; });
  }
  bool until_end() {
    until([&] { return ended; });
    return ended;
  }
  /// Sends what there is, reading nothing. False if the peer takes no more.
  bool push() {
    write();
    return out_.empty() && !ended;
  }
  void leave() { wire_.close(); }

  std::map<std::int32_t, H2Answer> answers;
  bool connected = false, ended = false;
  std::optional<std::uint32_t> goaway;       ///< its code
  std::vector<std::int32_t> goaway_streams;  ///< the last ones that they tell

 private:
  static H2Client& of(void* user) { return *static_cast<H2Client*>(user); }
  void begin_session(bool manual, std::uint32_t window_bytes) {
    nghttp2_session_callbacks* calls = nullptr;
    nghttp2_session_callbacks_new(&calls);
    nghttp2_session_callbacks_set_on_header_callback(
        calls, [](nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t name_bytes,
                  const std::uint8_t* value, std::size_t value_bytes, std::uint8_t, void* user) {
          H2Answer& answer = of(user).answers[frame->hd.stream_id];
          const std::string key(reinterpret_cast<const char*>(name), name_bytes);
          const std::string text(reinterpret_cast<const char*>(value), value_bytes);
          if (key == ":status" && text[0] == '1') {
            answer.interim.push_back(std::stoi(text));
          } else if (key == ":status") {
            answer.status = std::stoi(text);
          } else {
            answer.fields[key] = text;
          }
          return 0;
        });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        calls,
        [](nghttp2_session*, std::uint8_t, std::int32_t id, const std::uint8_t* data, std::size_t bytes, void* user) {
          of(user).answers[id].body.append(reinterpret_cast<const char*>(data), bytes);
          return 0;
        });
    nghttp2_session_callbacks_set_on_frame_recv_callback(
        calls, [](nghttp2_session*, const nghttp2_frame* frame, void* user) {
          const bool ends = frame->hd.type <= NGHTTP2_HEADERS && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
          if (ends) of(user).answers[frame->hd.stream_id].ended = true;
          if (frame->hd.type == NGHTTP2_GOAWAY) {
            of(user).goaway = frame->goaway.error_code;
            of(user).goaway_streams.push_back(frame->goaway.last_stream_id);
          }
          return 0;
        });
    nghttp2_session_callbacks_set_on_stream_close_callback(
        calls, [](nghttp2_session*, std::int32_t id, std::uint32_t error, void* user) {
          of(user).answers[id].closed = true;
          of(user).answers[id].error = error;
          return 0;
        });
    nghttp2_option* options = nullptr;
    nghttp2_option_new(&options);
    nghttp2_option_set_no_auto_window_update(options, manual ? 1 : 0);
    nghttp2_option_set_max_send_header_block_length(options, 1 << 20);
    nghttp2_option_set_peer_max_concurrent_streams(options, 1000);
    nghttp2_session_client_new2(&session_, calls, this, options);
    nghttp2_option_del(options);
    nghttp2_session_callbacks_del(calls);
    const nghttp2_settings_entry window{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window_bytes};
    nghttp2_submit_settings(session_, 0, &window, 1);
    nghttp2_session_set_local_window_size(session_, 0, 0, 1 << 28);
  }
  static ssize_t provide(nghttp2_session*, std::int32_t id, std::uint8_t* room, std::size_t room_bytes,
                         std::uint32_t* flags, nghttp2_data_source*, void* user) {
    H2Body& body = of(user).bodies_[id];
    const std::size_t bytes = std::min(room_bytes, body.bytes.size() - body.given);
    std::memcpy(room, body.bytes.data() + body.given, bytes);
    body.given += bytes;
    if (body.given == body.bytes.size()) {
      if (body.ends) *flags |= NGHTTP2_DATA_FLAG_EOF;
      if (!body.ends && bytes == 0) return NGHTTP2_ERR_DEFERRED;
    }
    return static_cast<ssize_t>(bytes);
  }
  void write() {
    while (!ended) {
      while (!muted_ && out_.size() < 65536) {
        const std::uint8_t* frames = nullptr;
        const ssize_t bytes = nghttp2_session_mem_send(session_, &frames);
        if (bytes <= 0) break;
        out_.append(reinterpret_cast<const char*>(frames), static_cast<std::size_t>(bytes));
      }
      out_.append(std::exchange(raw_, {}));
      if (out_.empty()) return;
      std::size_t bytes = 0;
      const int result = SSL_write_ex(ssl_.get(), out_.data(), out_.size(), &bytes);
      if (result != 1) {
        const int why = SSL_get_error(ssl_.get(), result);
        if (why != SSL_ERROR_WANT_WRITE && why != SSL_ERROR_WANT_READ) ended = true;
        return;
      }
      out_.erase(0, bytes);
    }
  }
  void read() {
    while (true) {
      char buffer[16384];
      std::size_t bytes = 0;
      const int result = SSL_read_ex(ssl_.get(), buffer, sizeof buffer, &bytes);
      if (result != 1) {
        const int why = SSL_get_error(ssl_.get(), result);
        if (why != SSL_ERROR_WANT_WRITE && why != SSL_ERROR_WANT_READ) ended = true;
        return;
      }
      if (nghttp2_session_mem_recv(session_, reinterpret_cast<std::uint8_t*>(buffer), bytes) < 0) ended = true;
    }
  }

  Wire wire_;
  std::shared_ptr<SSL_CTX> context_;
  std::unique_ptr<SSL, decltype(&SSL_free)> ssl_{nullptr, SSL_free};
  nghttp2_session* session_ = nullptr;
  std::map<std::int32_t, H2Body> bodies_;
  std::string out_, raw_;
  bool muted_ = false;
};

class H2Case : public ProxyCase {
 protected:
  static http::TlsConfig server_files() {
    return {.cert_path = http::test::certificates().cert("server"),
            .key_path = http::test::certificates().key("server"),
            .client_ca_path = {},
            .offer_http2 = true};
  }
  void begin_h2(const RuntimeAddress& upstream, ProxyOptions options = {}, http::TlsConfig tls = server_files()) {
    options.tls = std::move(tls);
    begin(upstream, std::move(options));
  }
};

}  // namespace tb::sentinel::proxy::test
