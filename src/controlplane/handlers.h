// One function per route: parse strictly, decide, one store verb, answer. They throw Error for refusals.
#pragma once

#include "api/contract.h"
#include "controlplane/deps.h"
#include "http/message.h"

namespace tb::controlplane {

// handle_authorize.cc
http::Response handle_authorize(const http::Request& request, Deps& deps);
// handle_license.cc
http::Response handle_release(const http::Request& request, Deps& deps);
http::Response handle_challenge(const http::Request& request, Deps& deps);
http::Response handle_wait_for_hint(const http::Request& request, Deps& deps);
// handle_enrol.cc
http::Response handle_enroll(const http::Request& request, Deps& deps);
http::Response handle_activate(const http::Request& request, Deps& deps);
// handle_machines.cc
http::Response handle_list_machines(const http::Request& request, Deps& deps);
http::Response handle_set_machine(const http::Request& request, Deps& deps);
// handle_assets.cc
http::Response handle_register_asset(const http::Request& request, Deps& deps);
http::Response handle_list_assets(const http::Request& request, Deps& deps);
http::Response handle_get_asset(const http::Request& request, Deps& deps);
http::Response handle_delete_asset(const http::Request& request, Deps& deps);
http::Response handle_wrapping_keys(const http::Request& request, Deps& deps);
// handle_blobs.cc
http::Response handle_put_blob(const http::Request& request, Deps& deps);
http::Response handle_get_blob(const http::Request& request, Deps& deps);
// handle_contracts.cc
/// What the operator's settings do not allow, or could never verify, cannot be agreed either: "contract_invalid".
void check_allowed(const api::ContractTerms& terms, const Deps& deps);
http::Response handle_create_contract(const http::Request& request, Deps& deps);
http::Response handle_list_contracts(const http::Request& request, Deps& deps);
http::Response handle_get_contract(const http::Request& request, Deps& deps);
http::Response handle_patch_contract(const http::Request& request, Deps& deps);
http::Response handle_suspend_contract(const http::Request& request, Deps& deps);
http::Response handle_resume_contract(const http::Request& request, Deps& deps);
http::Response handle_revoke_contract(const http::Request& request, Deps& deps);
http::Response handle_activation_token(const http::Request& request, Deps& deps);
// handle_simulate.cc
http::Response handle_simulate_contract(const http::Request& request, Deps& deps);
// handle_leases.cc
http::Response handle_list_leases(const http::Request& request, Deps& deps);
http::Response handle_evict_lease(const http::Request& request, Deps& deps);
http::Response handle_set_hardware(const http::Request& request, Deps& deps);
// handle_events.cc
http::Response handle_list_events(const http::Request& request, Deps& deps);
// handle_log.cc
http::Response handle_log_checkpoint(const http::Request& request, Deps& deps);
http::Response handle_log_consistency(const http::Request& request, Deps& deps);
http::Response handle_log_tile(const http::Request& request, Deps& deps);
http::Response handle_event_proof(const http::Request& request, Deps& deps);
// handle_audit.cc
http::Response handle_audit_checkpoint(const http::Request& request, Deps& deps);
http::Response handle_list_audit_logs(const http::Request& request, Deps& deps);
// handle_usage.cc
http::Response handle_report_usage(const http::Request& request, Deps& deps);
http::Response handle_list_usage(const http::Request& request, Deps& deps);
// handle_health.cc
http::Response handle_healthz(const http::Request& request, Deps& deps);
http::Response handle_readyz(const http::Request& request, Deps& deps);
http::Response handle_metrics(const http::Request& request, Deps& deps);
http::Response handle_openapi(const http::Request& request, Deps& deps);

}  // namespace tb::controlplane
