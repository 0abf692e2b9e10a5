// Leases as JSON.
#include "api/lease.h"

namespace tb::api {

std::string_view lease_state_name(LeaseState state) {
  switch (state) {
    case LeaseState::kActive:
      return "active";
    case LeaseState::kReleased:
      return "released";
    case LeaseState::kEvicted:
      return "evicted";
    case LeaseState::kExpired:
      return "expired";
    case LeaseState::kSuperseded:
      return "superseded";
    case LeaseState::kRevoked:
      return "revoked";
  }
  return "expired";
}

LeaseState lease_state_from(std::string_view name) {
  using enum LeaseState;
  for (const auto state : {kActive, kReleased, kEvicted, kExpired, kSuperseded, kRevoked}) {
    if (lease_state_name(state) == name) return state;
  }
  throw Error("field_invalid", "state of a lease is not one that is known");
}

Json Lease::to_json(UnixMs now) const {
  const bool over = state == LeaseState::kActive && expires_at <= now;
  Json json = Json::object();
  json.set("lease_id", lease_id);
  json.set("contract_id", contract_id);
  json.set("asset_id", asset_id);
  json.set("hw_id", hw_id);
  json.set("client_version", client_version);
  json.set("state", lease_state_name(over ? LeaseState::kExpired : state));
  json.set("generation", generation);
  json.set("created_at", to_rfc3339(created_at, true));
  json.set("renewed_at", to_rfc3339(renewed_at, true));
  json.set("expires_at", to_rfc3339(expires_at, true));
  return json;
}

Lease Lease::from_json(const Json& json) {
  const JsonReader reader(json, "lease");
  Lease out;
  const auto time = [&](std::string_view name) {
    return value_or_throw(from_rfc3339(value_or_throw(reader.string(name))));
  };
  out.lease_id = value_or_throw(reader.string("lease_id"));
  out.contract_id = value_or_throw(reader.string("contract_id"));
  out.asset_id = value_or_throw(reader.string("asset_id"));
  out.hw_id = value_or_throw(reader.string("hw_id"));
  out.client_version = value_or_throw(reader.string("client_version"));
  out.state = lease_state_from(value_or_throw(reader.string("state")));
  out.generation = value_or_throw(reader.integer("generation", 0, std::int64_t{1} << 52));
  out.created_at = time("created_at");
  out.renewed_at = time("renewed_at");
  out.expires_at = time("expires_at");
  return out;
}

}  // namespace tb::api
