// Brings the ledger's records to the control plane (wire 1.2, POST /api/v1/usage). A record is sent until it is
// answered: the control plane knows it again by its id, so a repeat is harmless.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/error.h"
#include "meter/ledger.h"

namespace tb::meter {

struct ReportAnswer {
  int status = 0;
  std::string body;
};
/// Posts one report as the holder of the lease. Throws what sending throws.
using PostReport = std::function<ReportAnswer(const std::string& body)>;

struct ReportRound {
  std::size_t reported = 0, conflicts = 0, refused = 0;
  std::optional<Error> trouble;  ///< why it ended before all was reported; it is tried again later
};

/// Reports what the ledger has sealed. A record that contradicts one that was counted, or that the control plane cannot
/// take, is marked and left: an event there, a metric here, and never in the way of the others.
ReportRound report_usage(Ledger& ledger, const std::string& contract_id, const std::string& lease_id,
                         const PostReport& post);

}  // namespace tb::meter
