// One request to the control plane as this sentinel: its activation token, a proof of its key made for that request
// (DPoP, RFC 9449), and a clock that is the control plane's own, so that a wrong one here does not matter.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/crypto.h"
#include "base/json.h"
#include "http/client.h"
#include "jose/p256.h"

namespace tb::sentinel {

/// What begins the second line of an activation token file; the rest is the base64url of the control plane's key.
inline constexpr std::string_view kPinnedKeyMark = "# control-plane-key ";

class ControlPlaneLink {
 public:
  using Send = std::function<http::ClientResponse(const http::ClientRequest&)>;
  struct Answer {
    http::ClientResponse response;
    std::string proof_jti;  ///< of the proof that it answers
  };

  /// `endpoint` without a slash at its end; `token_file` is read at every request, as it rotates; empty: no token.
  /// `key` outlives the link.
  ControlPlaneLink(std::string endpoint, std::string token_file, std::optional<Ed25519PublicKey> pinned,
                   const jose::PrivateKey& key, Send send);

  /// `target` begins with a slash; its query is not part of the proof. Any status is an answer; one that says that the
  /// proof's time was wrong is asked once more, with the time that it carries. Throws what Send and the token file do.
  Answer post(const std::string& target, const Json& body, std::stop_token stop) const;
  /// The same for a body that is its own text, within `total_ms`.
  Answer post_text(const std::string& target, std::string body, const std::string& content_type, std::int64_t total_ms,
                   std::stop_token stop) const;
  Answer get(const std::string& target, std::stop_token stop) const;

  /// The time by the control plane's newest answer and our boot clock since; our own clock before the first answer. Any
  /// thread.
  std::int64_t anchored_unix_ms() const;
  /// The control plane's identity key: the configured one, or the one in the token file; nothing if neither.
  std::optional<Ed25519PublicKey> pinned_key() const;

 private:
  Answer send(http::ClientRequest request, const std::string& target) const;
  std::optional<SecretString> token() const;
  std::int64_t server_unix_ms() const;
  bool take_time_of(const http::ClientResponse& response) const;

  std::string endpoint_, token_file_;
  std::optional<Ed25519PublicKey> pinned_;
  const jose::PrivateKey& key_;
  Send send_;
  mutable std::atomic<std::int64_t> offset_ms_{0};  ///< the control plane's clock − our boot clock
  mutable std::atomic<bool> has_offset_{false};
  mutable std::atomic<std::int64_t> seen_offset_ms_{0};  ///< the same by any answer; 0: none yet
};

/// `code` of a problem+json body (RFC 9457), or "".
std::string problem_code(std::string_view body);

}  // namespace tb::sentinel
