// The provider's view of machines with a TPM: who enrolled, and which endorsement keys are approved or forgotten.
#include "api/asset.h"
#include "api/tpm_policy.h"
#include "controlplane/caller.h"
#include "controlplane/handlers.h"
#include "controlplane/page_query.h"

namespace tb::controlplane {
namespace {

Json to_json(const store::Machine& machine, const api::TpmPolicy& policy) {
  const bool listed = std::ranges::find(policy.ek_sha256, machine.ek_sha256) != policy.ek_sha256.end();
  Json json = Json::object();
  json.set("ek_sha256", machine.ek_sha256);
  json.set("ak_name", machine.ak_name);
  json.set("approved", machine.approved || listed);
  json.set("enrolled_at", to_rfc3339(machine.enrolled_at));
  if (machine.seen_at) {
    json.set("seen_at", to_rfc3339(*machine.seen_at));
    json.set("reset_count", machine.clock.reset_count);
  }
  return json;
}

}  // namespace

http::Response handle_list_machines(const http::Request& request, Deps& deps) {
  const PageQuery page = page_query(request);
  const std::string tenant = tenant_of(request);
  const std::string& id = request.param("id");
  const auto row = deps.store.find_contract(tenant, id);
  if (!row) throw Error("contract_not_found", "there is no contract " + id);
  api::TpmPolicy policy;
  if (row->contract.terms.attestation == "tpm") {
    policy = api::TpmPolicy::from_json(row->contract.terms.attestation_policy);
  }
  const auto rows = deps.store.list_machines(tenant, id, page.cursor, page.limit + 1);
  return page_response(
      page, rows, [&](const store::Machine& machine) { return to_json(machine, policy); },
      [](const store::Machine& machine) { return machine.ak_name; });
}

http::Response handle_set_machine(const http::Request& request, Deps& deps) {
  const std::string tenant = tenant_of(request);
  const std::string& id = request.param("id");
  const Json json = value_or_throw(Json::parse(request.body, {.bytes = 4096}));
  if (!json.is_object()) throw Error("json_malformed", "a machine request must be an object");
  const JsonReader reader(json, "machine request");
  value_or_throw(reader.only({"approve", "reset"}));
  const auto approve = value_or_throw(reader.optional_string("approve"));
  const auto reset = value_or_throw(reader.optional_string("reset"));
  if (approve.has_value() == reset.has_value()) {
    throw Error("field_invalid", "a machine request has either approve or reset");
  }
  const std::string& ek_sha256 = approve ? *approve : *reset;
  if (!api::valid_sha256_hex(ek_sha256)) {
    throw Error("field_invalid", "an endorsement key is named by the lower-hex SHA-256 of its public key");
  }
  store::Event event = event_by(request, approve ? "machine_approved" : "machine_reset", tenant, id);
  event.detail.set("ek_sha256", ek_sha256);
  if (approve) {
    deps.store.approve_machine(tenant, id, ek_sha256, deps.clock(), event);
  } else {
    deps.store.forget_machine(tenant, id, ek_sha256, event);
  }
  Json body = Json::object();
  body.set("contract_id", id);
  body.set("ek_sha256", ek_sha256);
  body.set("machine", approve ? "approved" : "reset");
  return http::json(200, body);
}

}  // namespace tb::controlplane
