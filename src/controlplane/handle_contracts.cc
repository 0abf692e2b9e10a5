// Contracts: made, shown, changed, and switched off and on.
#include "api/contract.h"

#include "base/crypto.h"
#include "controlplane/caller.h"
#include "controlplane/handlers.h"
#include "controlplane/page_query.h"

namespace tb::controlplane {
namespace {

constexpr std::int64_t kMaxTokenSeconds = std::int64_t{10} * 366 * 86400;

store::ContractRow row_of(const http::Request& request, const std::string& tenant, Deps& deps) {
  const std::string& id = request.param("id");
  auto row = deps.store.find_contract(tenant, id);
  if (!row) throw Error("contract_not_found", "there is no contract " + id);
  return std::move(*row);
}

http::Response with_token(int status, Json body, const std::string& token, const Deps& deps) {
  body.set("activation_token", token);
  body.set("control_plane_key", to_base64url(deps.keyring.identity().public_key()));
  return http::json(status, body);
}

http::Response set_state(const http::Request& request, api::ContractState state, std::string type, Deps& deps) {
  const std::string tenant = tenant_of(request);
  const std::string& id = request.param("id");
  const UnixMs now = deps.clock();
  const auto row =
      deps.store.set_contract_state(tenant, id, state, now, event_by(request, std::move(type), tenant, id));
  deps.hints.tell({.tenant = tenant, .contract_id = id});
  return http::json(200, row.contract.to_json(now));
}

}  // namespace

void check_allowed(const api::ContractTerms& terms, const Deps& deps) {
  if (terms.authentication == "none" && !deps.allow_unauthenticated_sentinels) {
    throw Error("contract_invalid", "authentication none is not allowed by this control plane")
        .with_hint("use token or mtls, or let the operator set TB_CP_ALLOW_UNAUTHENTICATED_SENTINELS");
  }
  attest::validate_attestation_policy(terms.attestation, terms.attestation_policy, deps.attestation_trust);
}

/// One that is named and never reported to would be a bill that nobody gets.
void check_marketplace(const api::ContractTerms& terms, const std::string& tenant, const Deps& deps) {
  if (terms.marketplace.as_object().empty() || deps.marketplace_tenant == tenant) return;
  throw Error("contract_invalid", "this control plane reports no usage of " + tenant + " to a marketplace")
      .with_hint("leave marketplace out, or let the operator set TB_CP_MARKETPLACE_CREDENTIAL and its tenant");
}

http::Response handle_create_contract(const http::Request& request, Deps& deps) {
  const UnixMs now = deps.clock();
  const auto asked = api::CreateContractRequest::parse(request.body, now);
  check_allowed(asked.terms, deps);
  api::Contract contract;
  contract.tenant = tenant_of(request);
  contract.contract_id = asked.contract_id.empty() ? "c-" + random_token(12) : asked.contract_id;
  contract.terms = asked.terms;
  check_marketplace(contract.terms, contract.tenant, deps);
  contract.created_at = contract.updated_at = now;
  store::Event event = event_by(request, "contract_created", contract.tenant, contract.contract_id);
  event.detail.set("terms", api::terms_to_json(contract.terms));
  if (contract.terms.authentication != "token") {
    deps.store.create_contract(contract, std::nullopt, event);
    return http::json(201, contract.to_json(now));
  }
  const std::string token = "tba_" + random_token(32);
  deps.store.create_contract(contract, store::ActivationToken{.hash = token_hash(token), .expires_at = {}}, event);
  return with_token(201, contract.to_json(now), token, deps);
}

http::Response handle_list_contracts(const http::Request& request, Deps& deps) {
  const PageQuery page = page_query(request);
  const UnixMs now = deps.clock();
  const auto rows = deps.store.list_contracts(scope_of(request), page.cursor, page.limit + 1);
  return page_response(
      page, rows, [&](const store::ContractRow& row) { return row.contract.to_json(now); },
      [](const store::ContractRow& row) { return row.contract.tenant + "/" + row.contract.contract_id; });
}

http::Response handle_get_contract(const http::Request& request, Deps& deps) {
  return http::json(200, row_of(request, tenant_of(request), deps).contract.to_json(deps.clock()));
}

http::Response handle_patch_contract(const http::Request& request, Deps& deps) {
  const std::string tenant = tenant_of(request);
  const auto row = row_of(request, tenant, deps);
  const auto terms = api::patched(row.contract.terms, request.body);
  check_allowed(terms, deps);
  if (terms.marketplace.dump() != row.contract.terms.marketplace.dump()) check_marketplace(terms, tenant, deps);
  store::Event event = event_by(request, "contract_changed", tenant, row.contract.contract_id);
  event.detail.set("terms", api::terms_to_json(terms));
  const UnixMs now = deps.clock();
  const auto changed =
      deps.store.update_terms(tenant, row.contract.contract_id, row.contract.policy_version, terms, now, event);
  deps.hints.tell({.tenant = tenant, .contract_id = row.contract.contract_id});
  return http::json(200, changed.contract.to_json(now));
}

http::Response handle_suspend_contract(const http::Request& request, Deps& deps) {
  return set_state(request, api::ContractState::kSuspended, "contract_suspended", deps);
}

http::Response handle_resume_contract(const http::Request& request, Deps& deps) {
  return set_state(request, api::ContractState::kActive, "contract_resumed", deps);
}

http::Response handle_revoke_contract(const http::Request& request, Deps& deps) {
  return set_state(request, api::ContractState::kRevoked, "contract_revoked", deps);
}

http::Response handle_activation_token(const http::Request& request, Deps& deps) {
  const std::string tenant = tenant_of(request);
  const auto row = row_of(request, tenant, deps);
  std::optional<UnixMs> expires_at;
  if (!request.body.empty()) {
    const Json json = value_or_throw(Json::parse(request.body, {.bytes = 4096}));
    const JsonReader reader(json, "activation token request");
    if (!json.is_object()) throw Error("json_malformed", "an activation token request must be an object");
    value_or_throw(reader.only({"expires_in_seconds"}));
    if (const auto seconds = value_or_throw(reader.optional_integer("expires_in_seconds", 1, kMaxTokenSeconds))) {
      expires_at = deps.clock() + *seconds * 1000;
    }
  }
  const std::string token = "tba_" + random_token(32);
  deps.store.set_activation_token(tenant, row.contract.contract_id,
                                  {.hash = token_hash(token), .expires_at = expires_at},
                                  event_by(request, "activation_token_replaced", tenant, row.contract.contract_id));
  Json body = Json::object();
  body.set("contract_id", row.contract.contract_id);
  if (expires_at) body.set("expires_at", to_rfc3339(*expires_at));
  return with_token(200, std::move(body), token, deps);
}

}  // namespace tb::controlplane
