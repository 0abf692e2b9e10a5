// A store elsewhere, in which tenants have places of their own and whose reads the control plane signs. What is signed
// is always a path made of the tenant, the asset and the object's name, never a URL that somebody gave.
#pragma once

#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/secret.h"

namespace tb::blob {

/// All parts are checked names of one path segment.
struct StoredObject {
  std::string tenant;
  std::string asset_id;
  std::string name;
};

class SigningStore {
 public:
  virtual ~SigningStore() = default;

  /// The object's URL without a signature; "" where the tenant has no place in this store.
  virtual std::string url(const StoredObject& object) const = 0;
  /// True if `url` lies where objects of some tenant lie.
  virtual bool covers(std::string_view url) const = 0;
  /// A URL that reads this one object until `expires_at`, cut to a second. Thread-safe. Throws "store_unavailable"
  /// (retryable) if what signs cannot be had, "not_found" where the tenant has no place.
  virtual SecretUrl sign_read(const StoredObject& object, UnixMs expires_at) = 0;
};

}  // namespace tb::blob
