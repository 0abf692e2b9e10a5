// The control plane's keys. One KEK, outside the database, under which everything else is wrapped: asset keys, each
// under a KEK of its own derived from what the row is about (so that rows cannot be swapped), and three keys of the
// control plane itself: the identity key (Ed25519) that others pin, the wrapping key (P-256) that providers seal asset
// keys to, and the key that signs URLs.
#pragma once

#include <memory>
#include <string>

#include "base/crypto.h"
#include "base/secret.h"
#include "jose/p256.h"
#include "store/store.h"

namespace tb::controlplane {

/// A key-encryption key and the id that stands in the rows: the start of an HMAC under it.
struct Kek {
  Secret<32> key;
  std::string id;
};

/// 64 hex digits; throws "config_invalid".
Kek kek_from_hex(std::string_view hex);
/// Reads the file (0600), or makes it with a new random key, whole and fsynced. `may_create` is false where rows exist
/// that an older KEK wrapped: then a missing file is "kek_missing".
Kek load_or_create_kek(const std::string& path, bool may_create);

class Keyring {
 public:
  /// Makes the control plane's own keys at the first start. Throws "kek_missing" if any stored key is wrapped under
  /// another KEK, "key_unwrap_failed" if a row was changed.
  Keyring(Kek kek, store::Store& store);

  /// AES key wrap under HKDF(KEK, "asset-kek/v1" ‖ u32 length ‖ tenant ‖ u32 length ‖ asset_id ‖ u32 length ‖ digest).
  store::WrappedKey wrap(const std::string& tenant, const std::string& asset_id, const std::string& sha256_ciphertext,
                         const FileKey& key) const;
  /// Throws "kek_missing" or "key_unwrap_failed" (another row's bytes, or changed ones).
  FileKey unwrap(const std::string& tenant, const std::string& asset_id, const std::string& sha256_ciphertext,
                 const store::WrappedKey& wrapped) const;

  const Ed25519PrivateKey& identity() const { return *identity_; }
  const jose::PrivateKey& wrapping_key() const { return *wrapping_; }
  const Secret<32>& url_key() const { return url_key_; }
  /// Names the URL key in signed URLs.
  const std::string& url_kid() const { return url_kid_; }

 private:
  Secret<32> derived(std::string_view purpose, std::initializer_list<std::string_view> parts) const;
  store::WrappedKey wrap_own(const std::string& name, const Secret<32>& key) const;
  Secret<32> unwrap_own(const store::OwnKey& own) const;

  Kek kek_;
  std::unique_ptr<Ed25519PrivateKey> identity_;
  std::unique_ptr<jose::PrivateKey> wrapping_;
  Secret<32> url_key_;
  std::string url_kid_;
};

}  // namespace tb::controlplane
