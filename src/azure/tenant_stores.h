// Azure's blob store as the tenants' store: where each tenant's blobs lie, by the operator's settings, and the
// signatures that read them. Two tenants never have one place.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "azure/credential.h"
#include "azure/delegation_key.h"
#include "base/clock.h"
#include "blob/signing_store.h"

namespace tb::azure {

inline constexpr std::string_view kEndpoint = "https://{account}.blob.core.windows.net";

/// `azure:ACCOUNT/CONTAINER` or `azure:ACCOUNT/CONTAINER/PREFIX`.
struct Place {
  std::string account;
  std::string container;
  std::string prefix;  ///< without a final slash; may be empty
  bool operator==(const Place&) const = default;
};
/// With `for_any_tenant` "{tenant}" must stand in container or prefix, once; without, not at all. "config_invalid".
Result<Place> parse_place(std::string_view spec, bool for_any_tenant);

struct StoreSettings {
  std::optional<Place> any_tenant;  ///< with "{tenant}"
  std::map<std::string, Place> of_tenant;
  std::string endpoint{kEndpoint};  ///< "{account}" in host or path; http on loopback only (an emulator)
  Credential credential;
  std::string ca_path;  ///< "" = the system's
};
/// What cannot stand, in words; empty if all can.
std::vector<std::string> faults_of(const StoreSettings& settings);

/// `https://account.blob.core.windows.net/container/prefix/asset/name`.
std::string blob_url(std::string_view endpoint, const Place& place, std::string_view asset_id, std::string_view name);

class TenantStores final : public blob::SigningStore {
 public:
  /// Asks nothing of anybody yet.
  explicit TenantStores(StoreSettings settings, Clock clock = unix_ms_now);

  std::string url(const blob::StoredObject& object) const override;
  bool covers(std::string_view url) const override;
  SecretUrl sign_read(const blob::StoredObject& object, UnixMs expires_at) override;

 private:
  std::optional<Place> place_of(const std::string& tenant) const;
  DelegationKeys& keys_of(const std::string& account);

  const StoreSettings settings_;
  const Clock clock_;
  std::unique_ptr<TokenSource> tokens_;
  std::mutex mutex_;
  std::map<std::string, std::unique_ptr<DelegationKeys>> keys_;  ///< by account; an account stays once it is here
};

}  // namespace tb::azure
