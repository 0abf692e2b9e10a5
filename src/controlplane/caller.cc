// The gate in front of the routes of people and programs.
#include "controlplane/caller.h"

#include "base/crypto.h"

namespace tb::controlplane {

http::Gate make_gate(Deps& deps) {
  return [&deps](http::Request& request, const http::Route& route) {
    if (route.who == kPublic) return;
    deps.rate_limits.take(request);
    if (route.who == kSentinel) return;
    const std::string_view token = request.bearer_token();
    if (token.empty()) throw Error("token_refused", "the request carries no bearer token");
    auto found = deps.store.find_token(token_hash(token), deps.clock());
    if (!found) throw Error("token_refused", "the bearer token is not known or has expired");
    const bool may =
        found->role == store::Role::kOperator ||
        ("," + route.who + ",").find("," + std::string(store::role_name(found->role)) + ",") != std::string::npos;
    if (!may) throw Error("role_denied", "the role of this token may not do this");
    request.caller = std::move(*found);
  };
}

const store::Token& caller_of(const http::Request& request) {
  const auto* token = std::any_cast<store::Token>(&request.caller);
  if (token == nullptr) throw Error("internal", "a route without gate asked for its caller");
  return *token;
}

store::Scope scope_of(const http::Request& request) {
  const auto named = request.query.one("tenant");
  const std::string& own = caller_of(request).tenant;
  if (own.empty()) return named;
  // Another tenant is as one that does not exist: the answer is that of an empty one.
  if (named && *named != own) return std::string();
  return own;
}

std::string tenant_of(const http::Request& request) {
  auto scope = scope_of(request);
  if (!scope) throw Error("usage", "this token is of no tenant: say which one with ?tenant=");
  if (scope->empty()) throw Error("not_found", "there is no such tenant");
  return std::move(*scope);
}

Bytes token_hash(std::string_view token) {
  const Digest digest = sha256(token);
  return {digest.begin(), digest.end()};
}

store::Event event_by(const http::Request& request, std::string type, std::string tenant, std::string subject) {
  return {.type = std::move(type),
          .tenant = std::move(tenant),
          .actor = caller_of(request).token_id,
          .subject = std::move(subject)};
}

}  // namespace tb::controlplane
