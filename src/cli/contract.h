// Contracts as the provider handles them: fields given by flags, the calls, and how a contract reads.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "cli/control_plane.h"

namespace tb::cli {

/// One member for each field of wire 1.3; what is not set is not sent.
struct ContractFields {
  std::optional<std::string> consumer, not_before, not_after, attestation, key_release, runtime_isolation,
      authentication, min_client_version, enforcement, notice;
  std::optional<std::string> attestation_policy, quotas, metering, marketplace;  ///< files with JSON objects
  std::vector<std::string> asset_ids, hardware, allowed_paths, client_certificates;
  std::optional<std::int64_t> max_seats, lease_seconds, offline_grace_seconds, throttle_requests_per_minute;
  std::optional<bool> allow_finetune;
};

/// The set fields as the wire wants them. Times are RFC 3339, or a duration from `now`. Throws "usage" for a time that
/// is neither, "json_malformed" or "field_invalid" for a file that is no JSON object.
Json fields_json(const ContractFields& fields, UnixMs now);

/// Makes the contract and writes its activation token, which is told once, to `token_file` (0600). The file is made
/// ready before the call, so that a token is not lost to a full disk. The control plane's identity key, which sentinels
/// pin, goes into its second line; `pinned_key_file`, if any, holds the key that it must be. Gives the contract without
/// the token. Throws "usage" if a token will come and no file was named, "output_exists", "control_plane_key_mismatch".
Json create_contract(ControlPlane& control_plane, const Json& body, const std::string& token_file,
                     const std::string& pinned_key_file);

/// Replaces the activation token of a contract; as create_contract. `expires_in`: a duration, or "" for never.
Json renew_activation_token(ControlPlane& control_plane, const std::string& contract_id, const std::string& token_file,
                            const std::string& expires_in, const std::string& pinned_key_file);

/// `/api/v1/contracts/<id><rest>`
std::string contract_path(const std::string& contract_id, std::string_view rest = "");

/// A contract in a few lines; a list as one line each.
std::string contract_text(const Json& contract);
std::string contract_lines(const Json::Array& contracts);
std::string lease_lines(const Json::Array& leases);
std::string audit_log_lines(const Json::Array& logs);
std::string machine_lines(const Json::Array& machines);

}  // namespace tb::cli
