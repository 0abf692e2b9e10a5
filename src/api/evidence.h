// What travels of a TPM: the evidence in `attestation` of an authorize request, and the two calls by which a machine's
// keys are enrolled (docs/spec/wire.md 1.1 "Evidence", 1.2). Bytes are base64url, TPM structures in the TPM's own
// marshalling (TCG TPM 2.0 Part 2); what is in them is attest/'s business.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/tpm_policy.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/json.h"
#include "base/secret.h"

namespace tb::api {

/// bank → index → lower hex.
using PcrValues = std::map<std::string, std::map<unsigned, std::string>, std::less<>>;
Json to_json(const PcrValues& values);

/// Where a TPM's own time stands (TPMS_CLOCK_INFO).
struct TpmClock {
  std::int64_t reset_count = 0;    ///< of the TPM, over its life
  std::int64_t restart_count = 0;  ///< since the last reset
  std::int64_t clock_ms = 0;
};

/// What evidence is about; both sides make the same digest of it, so that a quote serves one request only.
struct EvidenceQuestion {
  std::string nonce;       ///< of the challenge, as text
  std::string thumbprint;  ///< of key_release_jwk; empty at a renewal without one
  std::string contract_id, asset_id;
  std::string lease_id;  ///< empty at the first authorize
  std::string config_sha256;

  /// The quote's extraData: SHA-256 of "trustbridge/evidence/v1" and each field with its u32 length before it.
  Digest qualifier() const;
};

struct TpmEvidence {
  std::string ak_name;  ///< lower hex of the enrolled attestation key's Name
  Bytes quote;          ///< TPMS_ATTEST
  Bytes signature;      ///< TPMT_SIGNATURE
  PcrValues pcrs;       ///< what the quote's digest is of
  std::string config_sha256;

  Json to_json() const;
  /// Unknown members are refused. Throws "field_invalid", "field_missing" or "unknown_field".
  static TpmEvidence from_json(const Json& json);
};

/// Body of `POST /api/v1/license/enroll`.
struct EnrolRequest {
  std::string contract_id;
  Bytes ek_public;       ///< TPMT_PUBLIC
  Bytes ek_certificate;  ///< DER; empty: the TPM has none
  std::vector<Bytes> ek_intermediates;
  Bytes ak_public;  ///< TPMT_PUBLIC

  Json to_json() const;
  static EnrolRequest parse(std::string_view text);
};

/// Answer of enroll (a credential to activate, or `enrolled`) and of activate (`enrolled`).
struct EnrolAnswer {
  bool enrolled = false;
  bool approved = false;   ///< the endorsement key is listed or approved
  std::string ek_sha256;   ///< what the provider approves
  Bytes credential;        ///< TPMS_ID_OBJECT
  Bytes encrypted_secret;  ///< content of TPM2B_ENCRYPTED_SECRET
  UnixMs expires_at = 0;

  Json to_json() const;
  static EnrolAnswer parse(std::string_view text);
};

/// Body of `POST /api/v1/license/activate`.
struct ActivateRequest {
  std::string contract_id;
  std::string ak_name;
  SecretString secret;  ///< base64url

  Json to_json() const;
  static ActivateRequest parse(std::string_view text);
};

}  // namespace tb::api
