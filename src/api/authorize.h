// The wire values of `POST /api/v1/license/authorize` and `…/release` (docs/spec/wire.md 1.1, 1.2).
//
// Requests are read leniently where the route is a kept one (unknown fields ignored: newer and older sentinels both
// come), and strictly by type everywhere. Answers are bounded, unknown fields in them are ignored, and what is missing
// is named.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "api/asset.h"
#include "api/enforcement.h"
#include "api/tpm_policy.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/secret.h"

namespace tb::api {

/// Most bytes of an authorize answer that a client reads.
inline constexpr std::size_t kMaxAuthorizeAnswerBytes = std::size_t{1} << 20;
/// Most bytes of an authorize request that the control plane reads.
inline constexpr std::size_t kMaxAuthorizeRequestBytes = 65536;

struct AuthorizeRequest {
  std::string contract_id;
  std::string asset_id;
  std::string hw_id;
  std::string client_version;
  std::optional<Json> attestation;
  std::optional<std::string> lease_id;  ///< a renewal of this lease
  std::optional<Json> key_release_jwk;  ///< EC P-256 public key of this request alone
  std::optional<std::string> nonce;
  std::optional<SecretString> renewal_token;  ///< renewal: the newest one that an answer carried

  Json to_json() const;
  /// Throws "json_malformed" or the reader's own error, which names the field.
  static AuthorizeRequest parse(std::string_view text);
};

/// What the contract asks of the sentinel (`policy` of the answer).
struct ReleasePolicy {
  bool allow_finetune = false;
  Json quotas = Json::object();
  Json metering = Json::object();
  std::vector<std::string> allowed_paths;  ///< empty: the sentinel's own list
  std::string runtime_isolation;           ///< empty: no demand
  Enforcement enforcement;
  std::optional<std::int64_t> max_seats = std::nullopt;  ///< with more than one, a sentinel does not know all usage
  bool marketplace_by_control_plane = false;             ///< a sentinel reports to none itself

  Json to_json() const;
  /// What is absent keeps its default. Throws "authorize_answer_malformed".
  static ReleasePolicy from_json(const Json& json);
};

/// What the reader of an answer will take as a key.
struct AnswerRules {
  bool plain_key_allowed = false;  ///< TB_KEY_RELEASE=plain: `decryption_key_hex` is accepted
  bool key_required = true;        ///< false at a renewal without key_release_jwk
};

/// An answer with `status: authorized`. The kept fields are always there; the others are empty from an old control
/// plane.
struct AuthorizeAnswer {
  SecretUrl sas_url;
  SecretUrl manifest_url;
  UnixMs expires_at = 0;
  std::optional<FileKey> key;              ///< `decryption_key_hex`
  std::optional<std::string> wrapped_key;  ///< compact JWE; exclusive with `key`
  std::optional<std::string> lease_id;
  std::optional<UnixMs> lease_expires_at;
  std::optional<std::int64_t> renew_after_seconds;
  std::int64_t offline_grace_seconds = 0;
  std::optional<std::string> manifest_sha256;  ///< lower hex
  std::optional<AssetMetadata> metadata;
  std::optional<ReleasePolicy> policy;
  std::optional<std::int64_t> policy_version;
  std::optional<UnixMs> issued_at;
  std::optional<SecretString> renewal_token;
  std::optional<std::string> grant;  ///< compact JWS of a LeaseGrant (api/grant.h), nothing verified

  Json to_json() const;
};

/// An answer with `status: denied`.
struct Denial {
  std::string reason;  ///< one of denial_reasons(), or an old control plane's own text
  std::string detail;  ///< one sentence for people, may be empty
  bool known = false;  ///< `reason` is one of denial_reasons()
  std::optional<std::int64_t> retry_after_seconds = std::nullopt;  ///< `seat_limit`: when a seat is likely to end

  Json to_json() const;
};

/// The codes of wire 1.1, sorted.
std::span<const std::string_view> denial_reasons();

using AuthorizeOutcome = std::variant<AuthorizeAnswer, Denial>;

/// Reads a 200 body. Throws "authorize_answer_malformed" (final, not to be retried) whose message names the field: not
/// JSON, over the bound, a field missing or of the wrong form, both key forms together, a hex key that `rules` does not
/// allow, no key where one is required.
AuthorizeOutcome parse_authorize_answer(std::string_view body, const AnswerRules& rules);

/// The denial in the body of any answer, if it is well-formed JSON with `status: denied` and a string `reason`.
/// At a renewal only one that is `known` is a denial; anything else is "unavailable".
std::optional<Denial> parse_denial(std::string_view body);

/// Body of `POST /api/v1/license/release`; unknown fields are refused.
struct ReleaseRequest {
  std::string contract_id;
  std::string lease_id;

  Json to_json() const;
  static ReleaseRequest parse(std::string_view text);
};

/// Body and answer of `POST /api/v1/license/challenge`.
struct ChallengeRequest {
  std::string contract_id;
  Json to_json() const;
  static ChallengeRequest parse(std::string_view text);
};
struct ChallengeAnswer {
  std::string nonce;  ///< base64url of 32 bytes
  UnixMs expires_at = 0;
  PcrIndices pcr_selection;  ///< what the contract wants quoted; empty: no TPM
  Json to_json() const;
  static ChallengeAnswer parse(std::string_view text);
};

}  // namespace tb::api
