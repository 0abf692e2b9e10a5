// trustbridge://CONTRACT/ASSET: how an orchestrator names a model. It holds no host: which control plane may be asked
// with this machine's activation token is the operator's setting, and never that of whoever writes a URI.
#pragma once

#include <string>
#include <string_view>

namespace tb::sentinel {

struct ModelUri {
  std::string contract_id, asset_id;
};

/// Throws "config_invalid" for anything that is not exactly that: other schemes, escapes, a query, names that contracts
/// and assets cannot have.
ModelUri parse_model_uri(std::string_view text);

std::string to_text(const ModelUri& uri);

}  // namespace tb::sentinel
