// What the store keeps of usage that this control plane reports to a marketplace: the values of its verbs.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"

namespace tb::store {

/// Something that one node does at a time, and the right to do it. Each change that belongs to it shows it, and is
/// refused with "database_busy" once it has passed on: a node that was slow cannot write over what the next one did.
struct Turn {
  std::string name;
  std::int64_t number = 0;
};

/// Whose usage, and where it goes.
struct BillingPlace {
  std::string tenant, contract_id, resource, plan;
  auto operator<=>(const BillingPlace&) const = default;
};

struct BillingAccount {
  BillingPlace place;
  /// Of the contract's place; empty for one that it has left, of which some events wait.
  std::vector<std::string> dimensions;
  /// The contract names another place by now.
  bool moved = false;
};

enum class BillingState { kPending = 0, kAccepted = 1, kGivenUp = 2 };

struct BillingEvent {
  std::string dimension;
  UnixMs hour = 0;
  std::int64_t quantity = 0;
  bool fate_unknown = false;
};

/// Of one dimension of a contract.
struct BillingStanding {
  std::map<UnixMs, std::int64_t> owed;  ///< by the end of each hour
  std::int64_t held = 0;                ///< in events that were not given up, wherever they went
  std::set<UnixMs> taken;               ///< hours of the resource that have an event, of whatever contract
};

struct BillingSums {
  std::int64_t owed = 0, accepted = 0, pending = 0;
};

struct BilledDay {
  std::int64_t quantity = 0, count = 0;
};

}  // namespace tb::store
