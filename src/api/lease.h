// A lease: one seat of a contract, held by one sentinel until it expires (docs/spec/wire.md 1.1, 1.2).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/json.h"

namespace tb::api {

/// Only active ones hold a seat. kSuperseded: its sentinel began anew; kRevoked: it was used by two.
enum class LeaseState { kActive, kReleased, kEvicted, kExpired, kSuperseded, kRevoked };
std::string_view lease_state_name(LeaseState state);
LeaseState lease_state_from(std::string_view name);

struct Lease {
  std::string lease_id;
  std::string contract_id;
  std::string asset_id;
  std::string hw_id;
  std::string client_version;
  LeaseState state = LeaseState::kActive;
  std::int64_t generation = 1;  ///< grows with every renewal
  UnixMs created_at = 0;
  UnixMs renewed_at = 0;
  UnixMs expires_at = 0;

  Json to_json(UnixMs now) const;
  static Lease from_json(const Json& json);
};

}  // namespace tb::api
