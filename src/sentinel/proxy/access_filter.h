// Who may: an API key, a token of the configured issuer, or a client certificate. Any that fits lets in, and says whose
// request it is and under which limits; all refusals look the same to a client.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "obs/metrics.h"
#include "sentinel/proxy/filter.h"
#include "sentinel/token_check.h"
#include "sentinel/token_keys.h"

namespace tb::sentinel::proxy {

/// What is asked of clients. What it points to outlives the filter.
struct Access {
  bool everybody = false;                              ///< nothing is asked; the subject is `anonymous`
  const ApiKeys* keys = nullptr;                       ///< subject: the key's id
  std::optional<TokenRules> token_rules = {};          ///< subject: `jwt:` and the token's
  TokenKeys* token_keys = nullptr;                     ///< with token_rules
  std::vector<std::string> certificate_subjects = {};  ///< these may; subject: `cert:` and the certificate's
};

/// `trustbridge_sentinel_access_refused_total{reason}`: the reason is not told to clients.
std::unique_ptr<Filter> access_filter(Access access, obs::Metrics& metrics);

}  // namespace tb::sentinel::proxy
