// The table of docs/spec/wire.md 1.2.
#include "controlplane/routes.h"

#include "api/asset.h"
#include "api/authorize.h"
#include "api/contract.h"
#include "api/upload.h"
#include "api/usage.h"
#include "controlplane/caller.h"
#include "controlplane/handlers.h"

namespace tb::controlplane {
namespace {

struct Row {
  std::string_view method;
  std::string_view pattern;
  std::string_view who;
  std::uint64_t body_limit_bytes;
  http::Response (*handler)(const http::Request&, Deps&);
};

constexpr std::uint64_t kSmall = 4096;
constexpr std::uint64_t kMaxCheckpointBytes = 8192;  // 63 hashes and a note

constexpr Row kRows[] = {
    {"POST", "/api/v1/license/authorize", kSentinel, api::kMaxAuthorizeRequestBytes, handle_authorize},
    {"POST", "/api/v1/license/release", kSentinel, kSmall, handle_release},
    {"POST", "/api/v1/license/challenge", kSentinel, kSmall, handle_challenge},
    {"POST", "/api/v1/license/enroll", kSentinel, api::kMaxAuthorizeRequestBytes, handle_enroll},
    {"POST", "/api/v1/license/activate", kSentinel, kSmall, handle_activate},
    {"GET", "/api/v1/license/events", kSentinel, 0, handle_wait_for_hint},
    {"POST", "/api/v1/usage", kSentinel, api::kMaxUsageReportBytes, handle_report_usage},
    {"POST", "/api/v1/audit/checkpoints", kSentinel, kMaxCheckpointBytes, handle_audit_checkpoint},
    {"POST", "/api/v1/assets/register", kProvider, api::kMaxRegisterRequestBytes, handle_register_asset},
    {"GET", "/api/v1/assets", kReader, 0, handle_list_assets},
    {"GET", "/api/v1/assets/{id}", kReader, 0, handle_get_asset},
    {"DELETE", "/api/v1/assets/{id}", kProvider, 0, handle_delete_asset},
    {"PUT", "/api/v1/assets/{id}/blobs/{kind}", kProvider, api::kMaxUploadPieceBytes, handle_put_blob},
    {"GET", "/api/v1/keys/wrapping", kProvider, 0, handle_wrapping_keys},
    {"POST", "/api/v1/contracts", kProvider, api::kMaxContractBytes, handle_create_contract},
    {"GET", "/api/v1/contracts", kReader, 0, handle_list_contracts},
    {"GET", "/api/v1/contracts/{id}", kReader, 0, handle_get_contract},
    {"PATCH", "/api/v1/contracts/{id}", kProvider, api::kMaxContractBytes, handle_patch_contract},
    {"POST", "/api/v1/contracts/{id}/suspend", kProvider, kSmall, handle_suspend_contract},
    {"POST", "/api/v1/contracts/{id}/resume", kProvider, kSmall, handle_resume_contract},
    {"POST", "/api/v1/contracts/{id}/revoke", kProvider, kSmall, handle_revoke_contract},
    {"POST", "/api/v1/contracts/{id}/simulate", kReader, api::kMaxContractBytes, handle_simulate_contract},
    {"POST", "/api/v1/contracts/{id}/activation-token", kProvider, kSmall, handle_activation_token},
    {"POST", "/api/v1/contracts/{id}/hardware", kProvider, kSmall, handle_set_hardware},
    {"GET", "/api/v1/contracts/{id}/machines", kReader, 0, handle_list_machines},
    {"POST", "/api/v1/contracts/{id}/machines", kProvider, kSmall, handle_set_machine},
    {"GET", "/api/v1/contracts/{id}/leases", kReader, 0, handle_list_leases},
    {"DELETE", "/api/v1/contracts/{id}/leases/{lease}", kProvider, 0, handle_evict_lease},
    {"GET", "/api/v1/contracts/{id}/audit-logs", kReader, 0, handle_list_audit_logs},
    {"GET", "/api/v1/usage", kReader, 0, handle_list_usage},
    {"GET", "/api/v1/events", kReader, 0, handle_list_events},
    {"GET", "/api/v1/events/{seq}/proof", kReader, 0, handle_event_proof},
    {"GET", "/api/v1/log/checkpoint", kReader, 0, handle_log_checkpoint},
    {"GET", "/api/v1/log/consistency", kReader, 0, handle_log_consistency},
    // A tile's path has as many parts as its number has groups of three digits, and two more for a partial one.
    {"GET", "/api/v1/log/tile/{level}/{a}", kAuditor, 0, handle_log_tile},
    {"GET", "/api/v1/log/tile/{level}/{a}/{b}", kAuditor, 0, handle_log_tile},
    {"GET", "/api/v1/log/tile/{level}/{a}/{b}/{c}", kAuditor, 0, handle_log_tile},
    {"GET", "/api/v1/log/tile/{level}/{a}/{b}/{c}/{d}", kAuditor, 0, handle_log_tile},
    {"GET", "/blobs/{tenant}/{asset_id}/{name}", kPublic, 0, handle_get_blob},
    {"GET", "/healthz", kPublic, 0, handle_healthz},
    {"GET", "/readyz", kPublic, 0, handle_readyz},
    {"GET", "/metrics", kReader, 0, handle_metrics},
    {"GET", "/api/v1/openapi.json", kPublic, 0, handle_openapi},
};

}  // namespace

http::Router make_router(Deps& deps) {
  std::vector<http::Route> routes;
  for (const Row& row : kRows) {
    routes.push_back(
        {.method = std::string(row.method),
         .pattern = std::string(row.pattern),
         .who = std::string(row.who),
         .body_limit_bytes = row.body_limit_bytes,
         .handler = [&deps, handler = row.handler](const http::Request& request) { return handler(request, deps); }});
  }
  return http::Router(std::move(routes), make_gate(deps));
}

}  // namespace tb::controlplane
