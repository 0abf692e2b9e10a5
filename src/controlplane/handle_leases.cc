// Who runs a contract's assets, and the provider's two ways to change that: evict a lease, approve hardware.
#include "api/lease.h"

#include "controlplane/caller.h"
#include "controlplane/handlers.h"
#include "controlplane/page_query.h"

namespace tb::controlplane {
namespace {

void require_contract(const std::string& tenant, const std::string& id, Deps& deps) {
  if (!deps.store.find_contract(tenant, id)) throw Error("contract_not_found", "there is no contract " + id);
}

}  // namespace

http::Response handle_list_leases(const http::Request& request, Deps& deps) {
  const PageQuery page = page_query(request);
  const std::string tenant = tenant_of(request);
  const std::string& id = request.param("id");
  require_contract(tenant, id, deps);
  const UnixMs now = deps.clock();
  const auto rows = deps.store.list_leases(tenant, id, page.cursor, page.limit + 1);
  return page_response(
      page, rows, [&](const api::Lease& lease) { return lease.to_json(now); },
      [](const api::Lease& lease) { return lease.lease_id; });
}

http::Response handle_evict_lease(const http::Request& request, Deps& deps) {
  const std::string tenant = tenant_of(request);
  const std::string& id = request.param("id");
  const std::string& lease_id = request.param("lease");
  store::Event event = event_by(request, "lease_evicted", tenant, id);
  event.detail.set("lease_id", lease_id);
  if (!deps.store.end_lease(tenant, id, lease_id, api::LeaseState::kEvicted, deps.clock(), event)) {
    throw Error("lease_not_found", "the contract has no active lease of this id");
  }
  deps.hints.tell({.tenant = tenant, .contract_id = id});
  return http::Response{.status = 204, .headers = {}, .body = {}, .file = {}};
}

http::Response handle_set_hardware(const http::Request& request, Deps& deps) {
  const std::string tenant = tenant_of(request);
  const std::string& id = request.param("id");
  const Json json = value_or_throw(Json::parse(request.body, {.bytes = 4096}));
  if (!json.is_object()) throw Error("json_malformed", "a hardware request must be an object");
  const JsonReader reader(json, "hardware request");
  value_or_throw(reader.only({"approve", "reset"}));
  const auto approve = value_or_throw(reader.optional_string("approve"));
  const bool reset = value_or_throw(reader.optional_boolean("reset")).value_or(false);
  if (approve.has_value() == reset) throw Error("field_invalid", "a hardware request has either approve or reset");
  store::Event event = event_by(request, reset ? "hardware_reset" : "hardware_approved", tenant, id);
  if (approve) event.detail.set("hw_id", *approve);
  deps.store.set_hardware_pin(tenant, id, approve, event);
  deps.hints.tell({.tenant = tenant, .contract_id = id});
  Json body = Json::object();
  body.set("contract_id", id);
  body.set("hardware", reset ? "reset" : "approved");
  return http::json(200, body);
}

}  // namespace tb::controlplane
