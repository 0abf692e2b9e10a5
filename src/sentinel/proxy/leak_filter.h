// Keeps from clients where the weights lie: paths in JSON, event streams and other text of the runtime's answers become
// the name that the model is served by; fields of the head that tell one do not leave. Answers that are no text (audio,
// images) pass as they are.
#pragma once

#include <memory>

#include "obs/metrics.h"
#include "sentinel/config.h"
#include "sentinel/proxy/path_rewrite.h"

namespace tb::sentinel::proxy {

/// Where this configuration puts the model, and what it says besides.
HiddenPaths hidden_paths(const Config& config);

/// `trustbridge_sentinel_answers_rewritten_total` counts answers in which something was found.
std::unique_ptr<Filter> leak_filter(HiddenPaths hidden, obs::Metrics& metrics);

/// Whether a body of this Content-Type is looked into. One without a type is not: no runtime sends its JSON so.
bool is_text(std::string_view content_type);

}  // namespace tb::sentinel::proxy
