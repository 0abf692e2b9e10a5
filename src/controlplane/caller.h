// Who asks, on the routes of people and programs: a bearer token, its role and its tenant.
#pragma once

#include <string>
#include <string_view>

#include "controlplane/deps.h"
#include "http/router.h"
#include "store/store.h"

namespace tb::controlplane {

// Values of http::Route::who. An operator may do everything.
inline constexpr std::string_view kPublic = "public";
inline constexpr std::string_view kSentinel = "sentinel";        ///< the handler looks at the contract's credential
inline constexpr std::string_view kProvider = "provider";        ///< changes
inline constexpr std::string_view kAuditor = "auditor";          ///< reads what providers do not
inline constexpr std::string_view kReader = "provider,auditor";  ///< reads

/// The router's gate: throws "token_refused" or "role_denied", or sets Request::caller to the store::Token.
http::Gate make_gate(Deps& deps);

/// The token that the gate found.
const store::Token& caller_of(const http::Request& request);
/// The tenant whose rows the caller sees: its own; for operators and auditors of everything that of `?tenant=`, or all.
store::Scope scope_of(const http::Request& request);
/// The one tenant that a request is about. Throws "usage" if the caller has none of its own and names none.
std::string tenant_of(const http::Request& request);

/// SHA-256 of a token: what is stored and looked up. 256 random bits need no slow hash.
Bytes token_hash(std::string_view token);

/// An event by this caller.
store::Event event_by(const http::Request& request, std::string type, std::string tenant, std::string subject);

}  // namespace tb::controlplane
