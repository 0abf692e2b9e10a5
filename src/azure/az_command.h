// A token from Azure's command line, `az`, as whoever is logged in there: run without a shell, its answer bounded, its
// time too.
#pragma once

#include <cstdint>
#include <string>

#include "azure/credential.h"

namespace tb::azure {

struct AzCommand {
  std::string program = "az";  ///< looked for in PATH
  std::string tenant;          ///< "": the one that is logged in
  std::int64_t timeout_ms = 60'000;
};

/// Throws "credential_unavailable": not there, no answer in time, or none with a token (as when nobody is logged in).
AccessToken az_token(const AzCommand& command);

/// `accessToken` and `expires_on` of what az prints; nothing if it is none. `now` in Unix ms.
std::optional<AccessToken> parse_az_answer(std::string_view text, std::int64_t now);

}  // namespace tb::azure
