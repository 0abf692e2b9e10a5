// The HTTP client of all programs, over libcurl: blocking calls, connections kept and reused. It never follows a
// redirect, requires https unless the host is loopback (or the policy says otherwise), checks the address at connect,
// bounds what it reads, and ends stalled connections instead of long ones. Proxies come from HTTPS_PROXY, HTTP_PROXY,
// ALL_PROXY and NO_PROXY.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/secret.h"
#include "http/address.h"
#include "http/message.h"

namespace tb::http {

struct ClientConfig {
  std::string ca_path;           ///< PEM bundle instead of the system's; "" = the system's
  std::string client_cert_path;  ///< PEM; with client_key_path: mTLS
  std::string client_key_path;
  std::string user_agent = "trustbridge";
  AddressPolicy policy = AddressPolicy::configured();
  std::int64_t connect_timeout_ms = 10'000;
  std::int64_t stall_timeout_ms = 30'000;  ///< under 128 bytes a second for this long: "network_unreachable"
  bool use_proxy_environment = true;
  std::vector<std::string> resolve;  ///< "host:port:address": names that are not asked of the resolver; still checked
};

/// `length` bytes of an open file as a request body; the descriptor stays the caller's.
struct FileRange {
  int fd = -1;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};
/// A body that is asked for while it is sent, never held whole.
struct PulledBody {
  std::uint64_t length = 0;
  /// Fills `out` with the body's bytes from `offset` on, in order unless libcurl must begin anew (a kept connection
  /// that turned out to be closed): then it starts at 0 again. May wait; what it throws, send() throws.
  std::function<void(std::uint64_t offset, MutableBytes out)> read;
  /// Waits for the server's 100 (Continue), so that a refusal comes before the body: a round trip more.
  bool ask_first = true;
};
using ClientBody = std::variant<std::monostate, std::string, SecretString, FileRange, PulledBody>;

struct ClientRequest {
  std::string method = "GET";
  SecretUrl url;
  Headers headers;
  std::optional<SecretString> bearer;  ///< sent as `Authorization: Bearer …`, wiped from our memory afterwards
  ClientBody body;
  std::uint64_t max_answer_bytes = std::uint64_t{1} << 20;  ///< of the body: "answer_too_large" beyond
  std::stop_token stop;               ///< ends the call with "cancelled", in a quarter of a second
  std::int64_t total_timeout_ms = 0;  ///< the whole exchange in this time, or "network_unreachable"; 0: no such end
};

struct ClientResponse {
  int status = 0;
  Headers headers;
  std::string body;  ///< empty after fetch()
};

class Client {
 public:
  explicit Client(ClientConfig config);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// One exchange; any status is an answer, not an error. Thread-safe. Throws Error: "url_refused" (scheme, userinfo,
  /// address policy), "network_unreachable" (name, connect, reset, stall; retryable), "tls_failed" (certificate,
  /// handshake), "answer_too_large", "answer_malformed", "cancelled".
  ClientResponse send(const ClientRequest& request);

  /// Called once, before the first body byte, with status and headers (body empty). False ends the transfer without an
  /// error, unread: fetch() returns what it has.
  using OnHead = std::function<bool(const ClientResponse& head)>;
  /// Called with each piece of the body; false ends the transfer with "cancelled". May throw: passed on.
  using Sink = std::function<bool(ByteView piece)>;

  /// As send, but the body goes to `sink` piece by piece and max_answer_bytes bounds their sum. A piece is up to 16 KiB
  /// of libcurl's buffer of 512 KiB, into which the socket was read: valid during the call, not copied before it. A
  /// body shorter than its Content-Length is "network_unreachable".
  ClientResponse fetch(const ClientRequest& request, const OnHead& on_head, const Sink& sink);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The wait that a Retry-After value asks for, in milliseconds from `now`: seconds or an HTTP date; nullopt if neither.
std::optional<std::int64_t> retry_after_ms(std::string_view value, UnixMs now);

/// True for answers worth another attempt: 429 and 5xx.
inline bool is_retryable_status(int status) {
  return status == 429 || status >= 500;
}

}  // namespace tb::http
