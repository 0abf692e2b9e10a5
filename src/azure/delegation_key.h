// User delegation keys: asked of the blob service with an OAuth token, kept while they last, asked anew when half of
// their life is over. A service that does not answer then is no trouble while the key that is here outlives what it
// signs.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "azure/credential.h"
#include "azure/sas.h"
#include "base/clock.h"

namespace tb::azure {

/// The answer to Get User Delegation Key: at most 16 KiB of XML; nothing if a part is missing or is not what it should
/// be.
std::optional<DelegationKey> parse_delegation_key(std::string_view xml);

/// Of one account. Thread-safe.
class DelegationKeys {
 public:
  /// `service_url`: "https://account.blob.core.windows.net". `tokens` outlives the object.
  DelegationKeys(std::string service_url, TokenSource& tokens, const std::string& ca_path, Clock clock);

  /// One that is good at least until `until`, which is at most an hour ahead. Throws "store_unavailable".
  std::shared_ptr<const DelegationKey> key_for(UnixMs until);

 private:
  std::shared_ptr<const DelegationKey> usable(UnixMs until) const;
  bool due() const;
  std::shared_ptr<const DelegationKey> fetch();

  const std::string service_url_;
  TokenSource& tokens_;
  http::Client client_;
  const Clock clock_;
  std::mutex renewing_;  ///< held while the service is asked; before mutex_
  mutable std::mutex mutex_;
  std::shared_ptr<const DelegationKey> key_;
  UnixMs ask_at_ = 0;
  std::optional<Error> last_failure_;
};

}  // namespace tb::azure
