// What the configuration says of the audit log, in the log's own words.
#pragma once

#include "sentinel/audit.h"
#include "sentinel/config.h"

namespace tb::sentinel {

AuditOptions audit_options(const Config& config);

}  // namespace tb::sentinel
