// What would a change of a contract's terms have refused, and newly allowed? Both sets of terms decide on the recorded
// requests; what differs between the two is the answer. Pure: it reads no store and changes nothing.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "controlplane/seat_replay.h"

namespace tb::controlplane {

inline constexpr std::size_t kMaxSimulationExamples = 50;

/// Requests that the change would answer otherwise.
struct SimulatedChange {
  std::int64_t requests = 0;
  std::set<std::string> leases;    ///< of those that had one
  std::set<std::string> machines;  ///< hw_ids
  std::map<std::string, std::int64_t> by_reason;
};

struct SimulationExample {
  UnixMs at = 0;
  std::string lease_id, hw_id, asset_id;
  std::string from, to;  ///< "granted", or the reason of a denial
};

struct SimulationReport {
  std::int64_t replayed = 0;
  std::int64_t without_facts = 0;           ///< older than the facts in events: not replayed
  std::int64_t evidence_not_kept = 0;       ///< its evidence was judged under other terms and is not kept: not replayed
  std::int64_t unlike_the_record = 0;       ///< the present terms answer otherwise than was answered then
  SimulatedChange newly_refused;            ///< by the reason that would be given
  SimulatedChange newly_allowed;            ///< by the reason that was given
  SimulatedChange refused_otherwise;        ///< by the reason that would be given
  std::vector<SimulationExample> examples;  ///< the first kMaxSimulationExamples
};

/// `requests`: oldest first. `judged_at`: see SeatReplay.
SimulationReport simulate(const api::Contract& contract, const api::ContractTerms& changed,
                          const std::vector<LoggedRequest>& requests, const UsageHistory& history,
                          std::optional<UnixMs> judged_at);

Json to_json(const SimulationReport& report);

}  // namespace tb::controlplane
