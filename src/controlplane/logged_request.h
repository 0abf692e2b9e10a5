// An event of a contract as a simulation reads it: what a sentinel asked, everything that policy decided on, and what
// was answered. handle_authorize.cc writes these facts with each release, renewal and denial; events from before it did
// carry none, and are told apart.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "controlplane/policy.h"
#include "controlplane/sentinel_credential.h"

namespace tb::controlplane {

struct LoggedRequest {
  enum class Kind {
    kReleased,    ///< license_released
    kRenewed,     ///< lease_renewed
    kDenied,      ///< license_denied
    kSuperseded,  ///< its own sentinel took another lease
    kEnded,       ///< released, evicted or revoked: the seat is free
    kAllEnded,    ///< the contract was revoked
  };
  std::int64_t seq = 0;
  UnixMs at = 0;
  Kind kind = Kind::kDenied;
  std::string lease_id;      ///< empty: a first authorize that was denied
  std::string sentinel_key;  ///< empty: no proof came
  std::string reason;        ///< of a denial
  bool has_facts = false;    ///< a request of which policy's facts were kept: only then the rest is set
  Facts facts;               ///< `authenticated` and `evidence_needed` are for the terms to say: see `shown`
  ShownCredential shown;
  api::ContractState state = api::ContractState::kActive;  ///< of the contract at that time
  std::string evidence_under;                              ///< evidence_terms_id() of its time

  bool is_request() const { return kind == Kind::kReleased || kind == Kind::kRenewed || kind == Kind::kDenied; }
};

/// Which terms a verdict on evidence holds for: those of the same id.
std::string evidence_terms_id(const api::ContractTerms& terms);

/// The member `facts` of an event's detail. asset_id, hw_id and client_version stand beside it already.
Json facts_to_json(const Facts& facts, const ShownCredential& shown, const api::Contract& contract);

/// Nothing for an event that is of no request and ends no lease. A request whose facts are missing or cannot be read
/// has none. Throws "json_malformed", "field_missing" or "field_invalid" for a line that is no event.
std::optional<LoggedRequest> parse_logged_request(std::int64_t seq, std::string_view line);

}  // namespace tb::controlplane
