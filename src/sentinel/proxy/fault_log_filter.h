// A line in the log for each request that failed by the runtime's or our own fault, with the request_id that the client
// was told and its trace id: what an operator looks for first. Nothing of a request's content, and no flood: ten lines
// a second, then a count.
#pragma once

#include <memory>

#include "obs/log.h"
#include "sentinel/proxy/filter.h"

namespace tb::sentinel::proxy {

std::unique_ptr<Filter> fault_log_filter(obs::Log log);

/// The trace id of a `traceparent` (W3C Trace Context 3.2), or "" where it is none.
std::string_view trace_id_of(std::string_view traceparent);

}  // namespace tb::sentinel::proxy
