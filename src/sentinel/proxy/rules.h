// What may pass, and in what form: the allow-list of paths and the headers on their way in and out. Pure functions, no
// sockets.
//
// A runtime's administrative routes (adapter loading, weight updates, slots, metrics, `/invocations`, which infers
// without a key) are closed because they are not in the table (allowed_paths.cc). Paths match raw and exactly, and the
// table's own text goes upstream, so there is no encoding to disagree about.
#pragma once

#include <expected>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sentinel/proxy/allowed_paths.h"
#include "sentinel/proxy/head.h"

namespace tb::sentinel::proxy {

/// The rows that may pass: all, or those that TB_ALLOWED_PATHS and the contract leave.
class AllowList {
 public:
  AllowList();
  /// Keeps the rows whose pattern is named. A name that is in no row allows nothing: lists can only narrow.
  void narrow(const std::vector<std::string>& patterns);
  /// The target for upstream (path as the table has it, query as it came), or why not: 403 or 405.
  std::expected<std::string, Refusal> match(std::string_view method, std::string_view target) const;
  std::size_t size() const { return routes_.size(); }

 private:
  std::vector<Route> routes_;
};

/// What the proxy knows of the one who asks, for the forwarding headers.
struct Peer {
  std::string address;  ///< numeric, without port
  bool tls = false;
  /// Of the client certificate that was verified: its first URI, DNS name or e-mail address, else its common name.
  /// Empty without one.
  std::string certificate_subject = {};
};

/// The whole head that goes upstream, framing included: hop-by-hop headers and what Connection names removed,
/// Authorization and x-api-key removed, client-sent forwarding and override headers replaced or dropped, names with an
/// underscore dropped (CGI-style upstreams read them as their dashed kin).
/// `bearer`: the runtime's own key of this generation; empty: it has none.
std::string upstream_head(const RequestHead& head, std::string_view target, const Peer& peer,
                          std::string_view request_id, std::string_view bearer = {});
/// The same, appended, for a body that is framed otherwise than it came.
void append_upstream_head(std::string& out, const RequestHead& head, std::string_view target, const Peer& peer,
                          std::string_view request_id, Framing framing, std::uint64_t length,
                          std::string_view bearer = {});

/// The whole head that goes to the client. `client_minor` 0 gets no chunked coding; `close` announces the end.
std::string client_head(const ResponseHead& head, std::string_view request_id, int client_minor, bool close);
void append_client_head(std::string& out, const ResponseHead& head, std::string_view request_id, int client_minor,
                        bool close);

/// The key that the client shows: `Authorization: Bearer`, or `x-api-key`. Empty if none; "" also if the two differ.
std::string_view presented_key(const RequestHead& head);

/// True for a request that wants the connection turned into a WebSocket.
bool wants_websocket(const RequestHead& head);

/// An OpenAI-style error answer with its body; the connection closes after it where `close`.
std::string error_answer(const Refusal& refusal, std::string_view request_id, bool close, bool head_only,
                         const Fields& more = {});

/// Body of the same.
std::string error_body(const Refusal& refusal);

}  // namespace tb::sentinel::proxy
