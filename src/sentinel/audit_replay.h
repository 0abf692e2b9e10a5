// Reads from the audit log what its records cost, for a ledger that has fallen behind it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "meter/ledger.h"
#include "sentinel/audit_record.h"

namespace tb::sentinel {

/// What one record is to the ledger. Counted as a request is what the runtime answered: a POST with a 2xx, or one whose
/// usage is known although its client had left.
meter::LedgerEntry ledger_entry(const AuditEntry& entry);
/// The same of a record's line; one that tells of the log itself costs nothing. Throws "chain_broken" for a line that
/// is no record.
meter::LedgerEntry ledger_entry(std::string_view line);

/// Gives records number `from` and following of the log in `directory`, some at a time, with the first one's number.
/// Records before the oldest that is kept are not given.
void replay_audit(const std::string& directory, std::uint64_t from,
                  const std::function<void(std::uint64_t first, std::span<const meter::LedgerEntry>)>& take);

}  // namespace tb::sentinel
