// One digest over the settings that decide what becomes of the key and the weights on this machine (wire 1.1,
// "Evidence"): a contract can list the ones that it accepts. It is what the sentinel says of itself: worth as much as
// the boot state that the PCRs prove.
#pragma once

#include <string>

#include "base/json.h"
#include "sentinel/config.h"

namespace tb::sentinel {

/// Command, delivery, metering, CA, swap and isolation settings, as RFC 8785 puts them.
Json config_statement(const Config& config);
/// Lower-hex SHA-256 of config_statement's canonical form.
std::string config_digest(const Config& config);

}  // namespace tb::sentinel
