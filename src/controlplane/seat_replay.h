// The requests of the past, decided anew under given terms: the same policy, and seats as the store gives them.
//
// What is assumed where the past cannot tell: a sentinel renews in time, whatever the length of a lease; one that is
// refused asks again when it really renewed, and gets a seat then if one is free; a lease that is older than the first
// request is held until something is told of it.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "controlplane/logged_request.h"

namespace tb::controlplane {

/// Usage of one contract by the hour, as it was reported.
class UsageHistory {
 public:
  /// Hours in any order; one that comes twice is added up.
  void add(const std::string& dimension, UnixMs hour, std::int64_t quantity);
  /// For each quota of `terms`: what its period holds at `at`. An hour counts as a whole from its beginning.
  std::map<std::string, std::int64_t> used(const api::ContractTerms& terms, UnixMs at) const;

 private:
  std::map<std::string, std::map<UnixMs, std::int64_t>> by_hour_;
};

class SeatReplay {
 public:
  /// `requests`, oldest first, and `history` outlive this. `judged_at`: policy decides as if every request came then,
  /// while seats are taken and freed when they were; nothing: each at its own time.
  SeatReplay(api::Contract contract, api::ContractTerms terms, const std::vector<LoggedRequest>& requests,
             const UsageHistory& history, std::optional<UnixMs> judged_at);

  /// The next one of `requests`, each in turn. For a request with facts: "" if it would be granted, or the reason;
  /// for others "" and only its effect on seats.
  std::string step(const LoggedRequest& request);

 private:
  struct Seat {
    std::string sentinel_key;
    UnixMs until = 0;
  };
  Facts facts_of(const LoggedRequest& request);
  std::string take(const LoggedRequest& request, const std::string& lease, UnixMs seat_until);
  /// Until when a lease is held that is granted until `until`: its holder renews in time.
  UnixMs held_until(const LoggedRequest& request, UnixMs until) const;

  api::Contract contract_;
  const UsageHistory& history_;
  const std::optional<UnixMs> judged_at_;
  std::map<std::string, std::vector<UnixMs>> told_at_;  ///< by lease: the times at which it was held
  std::map<std::string, Seat> held_;                    ///< by lease
  std::optional<store::HardwarePin> pin_;               ///< made here, where none was made then
};

}  // namespace tb::controlplane
