// May this sentinel have this asset now, and on what terms? A pure function of the contract, what the request showed,
// and the time. Nothing is granted that is not said here; seats are counted by the store, in the same transaction that
// takes them.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "api/contract.h"
#include "store/store.h"

namespace tb::controlplane {

/// What is known of a request once its credential was looked at.
struct Facts {
  UnixMs now = 0;
  bool authenticated = false;  ///< the credential verified for this very contract
  std::string asset_id;
  bool asset_registered = false;
  std::string hw_id;
  std::string client_version;
  bool proven = false;            ///< a proof of a sentinel key came and verified
  bool has_one_time_key = false;  ///< key_release_jwk
  bool is_renewal = false;
  bool attested = false;  ///< evidence came and verified
  bool evidence_came = false;
  bool evidence_needed = true;      ///< false: a renewal for which the contract wants none
  bool machine_approved = false;    ///< the TPM that the evidence is of is listed or approved
  std::optional<bool> nonce_valid;  ///< nothing: none was sent
  std::optional<store::HardwarePin> pin;
  std::map<std::string, std::int64_t> used;  ///< by dimension of the contract's quotas: in its current period
  std::int64_t url_seconds = 3600;           ///< configured lifetime of signed URLs
};

enum class KeyForm { kNone, kWrapped, kPlain };

struct Grant {
  KeyForm key = KeyForm::kNone;
  UnixMs lease_expires_at = 0;
  UnixMs seat_until = 0;  ///< so long nobody else gets the seat
  std::int64_t renew_after_seconds = 1;
  UnixMs urls_expire_at = 0;
};

struct Decision {
  std::optional<Grant> grant;
  std::string_view reason;  ///< of a denial: a code of wire 1.1
};

Decision decide(const api::Contract& contract, const Facts& facts);

/// Whether a sentinel must prove a key of its own: everywhere but where the terms make room for the first
/// implementation's, which has none.
bool proof_required(const api::ContractTerms& terms);

/// One sentence for the consumer: what is wrong and how to mend it. Nothing of other tenants, keys or hardware.
std::string_view denial_detail(std::string_view reason);

}  // namespace tb::controlplane
