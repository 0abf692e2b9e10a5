// Asks the control plane for the licence: first authorize, renewal, release (wire 1.1). What an answer means is decided
// here; when to ask is lease_keeper.h's business.
#pragma once

#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "api/authorize.h"
#include "async/backoff.h"
#include "base/error.h"
#include "base/secret.h"
#include "http/client.h"

namespace tb::sentinel {

/// Where and as whom to ask.
struct LicenceQuestion {
  std::string endpoint;  ///< without a slash at its end
  std::string contract_id, asset_id, hw_id, client_version;
  std::string activation_token_file;  ///< read at every request, as it rotates; empty: no credential
  bool plain_key_allowed = false;     ///< TB_KEY_RELEASE=plain: no wrapped key is asked for
};

/// What the control plane gave, in our own clock.
struct Lease {
  std::string lease_id;  ///< empty from an old control plane
  SecretUrl sas_url, manifest_url;
  std::optional<std::string> manifest_sha256;
  std::optional<api::AssetMetadata> metadata;
  std::vector<std::string> allowed_paths;  ///< of the contract; empty: no narrowing
  bool isolation_required = false;         ///< the contract wants the runtime confined
  std::int64_t expires_boot_ms = 0;        ///< boot clock: request sent + (lease_expires_at − issued_at)
  /// Of both URLs, boot clock: request sent + (expires_at − issued_at); nullopt from a control plane without issued_at.
  std::optional<std::int64_t> urls_expire_boot_ms;
  std::int64_t renew_after_ms = 60'000;
  std::int64_t offline_grace_ms = 0;
};

struct Authorization {
  Lease lease;
  FileKey key;
};

/// True for what ends the use of the model: denied, expired, tampered. Everything else is tried again.
bool is_final(const Error& error);

class Authorizer {
 public:
  using Send = std::function<http::ClientResponse(const http::ClientRequest&)>;

  /// `send` is http::Client::send, or a test's own.
  Authorizer(LicenceQuestion question, Send send, async::BackoffPolicy backoff = {});

  /// A lease and the key. Waits and asks again on 429, 5xx and network errors. Throws: a denial under its own reason
  /// ("contract_suspended" …, "licence_denied" for others), "control_plane_refused" (other 4xx),
  /// "authorize_answer_malformed", "jwe_refused", "control_plane_unavailable", "cancelled".
  Authorization authorize(std::stop_token stop);
  /// One attempt. A denial only if it is well-formed and known; anything else is "control_plane_unavailable".
  Lease renew(const std::string& lease_id, std::stop_token stop);
  /// Best effort, quick; false if the control plane did not take it.
  bool release(const std::string& lease_id) noexcept;

 private:
  http::ClientResponse post(std::string_view path, const Json& body, std::stop_token stop) const;
  Authorization authorize_once(std::stop_token stop, std::optional<std::int64_t>& retry_after_ms) const;
  api::AuthorizeRequest request() const;

  LicenceQuestion question_;
  Send send_;
  async::BackoffPolicy backoff_;
};

}  // namespace tb::sentinel
