// Who may use the model, made from the configuration: the keys, the issuer's key set, the certificates.
#pragma once

#include <optional>

#include "obs/log.h"
#include "sentinel/api_keys.h"
#include "sentinel/config.h"
#include "sentinel/proxy/access_filter.h"
#include "sentinel/token_keys.h"

namespace tb::sentinel {

class Doorkeeper {
 public:
  /// Makes the first key where there is no file of keys, and says where it is.
  Doorkeeper(const Config& config, const obs::Log& log);
  Doorkeeper(const Doorkeeper&) = delete;
  Doorkeeper& operator=(const Doorkeeper&) = delete;

  /// Null: everybody may.
  const ApiKeys* keys() const { return keys_ ? &*keys_ : nullptr; }
  /// Refers to this object.
  proxy::Access access();

 private:
  const Config& config_;
  std::optional<ApiKeys> keys_;
  std::optional<TokenKeys> token_keys_;
};

}  // namespace tb::sentinel
