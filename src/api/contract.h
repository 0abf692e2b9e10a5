// A contract: who may run which assets, until when, on how many seats and under which conditions
// (docs/spec/wire.md 1.3).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/json.h"

namespace tb::api {

inline constexpr std::size_t kMaxContractBytes = 262144;

enum class ContractState { kActive, kSuspended, kRevoked };
std::string_view contract_state_name(ContractState state);
/// Throws "field_invalid".
ContractState contract_state_from(std::string_view name);

struct Hardware {
  enum class Mode { kAny, kPinFirst, kListed };
  Mode mode = Mode::kAny;
  std::vector<std::string> hw_ids;  ///< kListed: lower-hex SHA-256 each

  Json to_json() const;  ///< "any", "pin_first" or the list
  static Hardware from_json(const Json& json);
  bool operator==(const Hardware&) const = default;
};

/// What the provider chooses: the body of POST, and of PATCH for the fields that are sent.
struct ContractTerms {
  std::string consumer;
  std::vector<std::string> asset_ids;
  UnixMs not_before = 0;
  UnixMs not_after = 0;
  std::int64_t max_seats = 1;
  Hardware hardware;
  std::string attestation = "none";          ///< `none`, `tpm`, `snp` or `token`
  Json attestation_policy = Json::object();  ///< expected PCR values or claims
  std::string key_release = "wrapped";       ///< `wrapped` or `plain`
  std::int64_t lease_seconds = 300;
  std::int64_t offline_grace_seconds = 0;
  Json quotas = Json::object();
  Json metering = Json::object();
  Json marketplace = Json::object();  ///< where the control plane reports usage to; empty: nowhere
  bool allow_finetune = false;
  std::vector<std::string> allowed_paths;
  std::string runtime_isolation;                 ///< empty, `none`, or `required`
  std::string authentication = "token";          ///< `token`, `mtls`, `none`
  std::vector<std::string> client_certificates;  ///< SHA-256 fingerprints, lower hex: required by `mtls`
  std::string min_client_version;                ///< oldest sentinel that may run it, as 0.2.0; empty: any
  std::string enforcement = "none";              ///< a grade: `none`, `warn`, `throttle` or `drain`
  std::string notice;                            ///< what the consumer is told; empty: nothing
  std::int64_t throttle_requests_per_minute = 60;

  /// Throws "contract_invalid" naming the field whose value cannot stand (also combinations: plain with attestation).
  void validate() const;
};

/// POST: a ContractTerms with the id that the provider may choose.
struct CreateContractRequest {
  std::string contract_id;  ///< empty: the control plane makes one
  ContractTerms terms;

  Json to_json() const;
  /// Unknown fields are refused by name; absent ones take their defaults, `not_before` takes `now`. Validated.
  static CreateContractRequest parse(std::string_view text, UnixMs now);
};

/// PATCH: `terms` with the sent fields replaced, validated. Throws as parse.
ContractTerms patched(const ContractTerms& terms, std::string_view text);

struct Contract {
  std::string contract_id;
  std::string tenant;
  ContractTerms terms;
  ContractState state = ContractState::kActive;
  std::int64_t policy_version = 1;
  UnixMs created_at = 0;
  UnixMs updated_at = 0;

  /// `active suspended revoked`, or by the clock `not_started expired`: what the wire shows as `state`.
  std::string_view effective_state(UnixMs now) const;
  Json to_json(UnixMs now) const;
  /// From an answer: unknown fields ignored. Throws an error that names the field.
  static Contract from_json(const Json& json);
};

/// Every field of the terms with its JSON name, in the order of the spec.
Json terms_to_json(const ContractTerms& terms);
/// The inverse: what is absent keeps its default. Used for answers and for rows.
ContractTerms terms_from_json(const Json& json);

}  // namespace tb::api
