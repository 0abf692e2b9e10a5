// Which contract a sentinel speaks for: found by its credential, never by its word alone. Contract ids are one tenant's
// own, so a request may match several rows; only the one whose credential verifies exists for the caller.
#pragma once

#include <optional>
#include <string>

#include "controlplane/deps.h"
#include "http/message.h"
#include "store/store.h"

namespace tb::controlplane {

/// The contract whose credential the request carries, or nothing. The work done is the same whether the id is unknown,
/// the token is wrong or has expired.
std::optional<store::ContractRow> verified_contract(const http::Request& request, const std::string& contract_id,
                                                    Deps& deps);

/// 403 with `status: denied`, counted by reason. `authentication_required` is one fixed body.
http::Response denied(std::string_view reason, Deps& deps);

}  // namespace tb::controlplane
