// Asks the control plane for the licence: first authorize, renewal, release (wire 1.1). What an answer means is decided
// here; when to ask is lease_keeper.h's business.
#pragma once

#include <atomic>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "api/authorize.h"
#include "async/backoff.h"
#include "base/error.h"
#include "base/secret.h"
#include "http/client.h"
#include "sentinel/control_plane_link.h"

namespace tb::sentinel {

class EvidenceMaker;

/// Where and as whom to ask.
struct LicenceQuestion {
  std::string endpoint;  ///< without a slash at its end
  std::string contract_id, asset_id, hw_id, client_version;
  std::string activation_token_file;  ///< read at every request, as it rotates; empty: no credential
  bool plain_key_allowed = false;     ///< TB_KEY_RELEASE=plain: no wrapped key is asked for
  std::optional<Ed25519PublicKey> control_plane_key = std::nullopt;  ///< pinned; nothing: the token file may have one
};

/// What the control plane gave, in our own clock.
struct Lease {
  std::string lease_id;        ///< empty from an old control plane
  SecretString renewal_token;  ///< for the next renewal; empty from an old control plane
  SecretUrl sas_url, manifest_url;
  std::optional<std::string> manifest_sha256;
  std::optional<api::AssetMetadata> metadata;
  std::optional<std::int64_t> policy_version;  ///< nothing from an old control plane, which gives no hints
  std::vector<std::string> allowed_paths;      ///< of the contract; empty: no narrowing
  bool isolation_required = false;             ///< the contract wants the runtime confined
  api::Enforcement enforcement;                ///< how far the contract is held back
  std::optional<Json> quotas;                  ///< of the contract
  std::optional<std::int64_t> max_seats;       ///< of the contract; nothing from an old control plane
  bool marketplace_by_control_plane = false;   ///< usage goes to a marketplace from there, or not at all
  std::int64_t expires_boot_ms = 0;            ///< boot clock: request sent + (lease_expires_at − issued_at)
  /// Of both URLs, boot clock: request sent + (expires_at − issued_at); nullopt from a control plane without issued_at.
  std::optional<std::int64_t> urls_expire_boot_ms;
  std::int64_t renew_after_ms = 60'000;
  std::int64_t offline_grace_ms = 0;
};

struct Authorization {
  Lease lease;
  FileKey key;
};

/// The denial as an Error under its own reason, or "licence_denied".
Error licence_error(const api::Denial& denial);

/// What the holder of a lease shows when it renews; changed by each renewal.
struct Holding {
  std::string lease_id;
  SecretString renewal_token;
  /// Renewals since the newest token that may have reached the control plane and whose answers did not reach us.
  int unanswered = 0;
};

/// True for what ends the use of the model: denied, expired, tampered. Everything else is tried again.
bool is_final(const Error& error);

class Authorizer {
 public:
  using Send = ControlPlaneLink::Send;

  /// `send` is http::Client::send, or a test's own. `key` is the sentinel's; it outlives this.
  Authorizer(LicenceQuestion question, const jose::PrivateKey& key, Send send, async::BackoffPolicy backoff = {});

  /// From now on every request carries evidence; `evidence` outlives this.
  void use_evidence(EvidenceMaker& evidence) { evidence_ = &evidence; }

  /// A lease and the key. Waits and asks again on 429, 5xx and network errors. Throws: a denial under its own reason
  /// ("contract_suspended" …, "licence_denied" for others), "control_plane_refused" (other 4xx),
  /// "authorize_answer_malformed", "jwe_refused", "grant_refused", "control_plane_unavailable", "cancelled", and
  /// "proof_refused" and its like.
  Authorization authorize(std::stop_token stop);
  /// One attempt. A denial only if it is well-formed and known; anything else is "control_plane_unavailable". A lost
  /// answer is asked for once more with the same token; after that the token may have served twice, and a third time
  /// would look like a clone: then a new lease is begun in the old one's place, which the sentinel's key allows.
  Lease renew(Holding& held, std::stop_token stop);
  /// Asks the control plane to answer when the contract is not at `policy_version` any more; returns after less than a
  /// minute in any case. True: renew now. Throws what sending throws, "control_plane_refused" (this control plane gives
  /// no hints) and "control_plane_unavailable".
  bool wait_for_hint(const std::string& lease_id, std::int64_t policy_version, std::stop_token stop) const;
  /// When the last denial said to ask again, in milliseconds from then; nothing if it did not say.
  std::optional<std::int64_t> ask_again_ms() const;
  /// The lease that is held or was held last: what a report of its holder names. Empty before the first. Any thread.
  std::string last_lease_id() const;
  /// The time by the control plane's clock (control_plane_link.h). Any thread.
  UnixMs anchored_unix_ms() const { return link_.anchored_unix_ms(); }
  /// Sees every lease and renewal; to be set before the first question.
  void on_lease(std::function<void(const Lease&)> see) { see_lease_ = std::move(see); }
  const std::string& contract_id() const { return question_.contract_id; }
  /// The control plane's identity key, if one is known beforehand.
  std::optional<Ed25519PublicKey> pinned_key() const { return link_.pinned_key(); }
  /// One attempt to report as the holder of the last lease (usage, checkpoints): any status is an answer, for the
  /// caller to read. Takes at most 30 s. Throws what sending throws. Any thread.
  http::ClientResponse post_as_holder(const std::string& target, std::string body, const std::string& content_type,
                                      std::stop_token stop) const;
  /// Best effort, quick; false if the control plane did not take it.
  bool release(const std::string& lease_id) noexcept;

 private:
  Authorization authorize_once(std::stop_token stop, std::optional<std::int64_t>& retry_after_ms);
  Lease begin_anew(Holding& held, std::stop_token stop);
  void check_grant(api::AuthorizeAnswer& answer, const api::AuthorizeRequest& asked, const std::string& jti) const;
  Error denial_error(const api::Denial& denial);
  api::AuthorizeRequest request() const;
  void add_evidence(api::AuthorizeRequest& asked, bool enrol, const std::stop_token& stop) const;
  Lease remembered(Lease lease);

  LicenceQuestion question_;
  ControlPlaneLink link_;
  async::BackoffPolicy backoff_;
  EvidenceMaker* evidence_ = nullptr;
  std::atomic<std::int64_t> ask_again_ms_{0};  ///< 0: not said
  std::function<void(const Lease&)> see_lease_;
  mutable std::mutex lease_mutex_;
  std::string last_lease_id_;
};

}  // namespace tb::sentinel
