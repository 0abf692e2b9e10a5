// The control plane's keys. A KEK, outside the database (kek.h), under which everything else is wrapped: asset keys,
// each bound to what its row is about (so that rows cannot be swapped), and keys of the control plane itself: the
// identity key (Ed25519) that others pin, wrapping keys (P-256) that providers seal asset keys to, and the key that
// signs URLs.
//
// Wrapping keys can be replaced while services run: they are looked up in the store each time, so that every node takes
// what the console of one has added and refuses what it has retired.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/secret.h"
#include "controlplane/kek.h"
#include "jose/p256.h"
#include "store/store.h"

namespace tb::controlplane {

struct WrappingKey {
  jose::PublicKey key;
  UnixMs made_at = 0;  ///< 0: at the first start
};

class Keyring {
 public:
  /// Makes the control plane's own keys at the first start. Throws "kek_missing" if any stored key is wrapped under
  /// a KEK that is not of `keks`, "key_unwrap_failed" if a row was changed, "kms_unavailable" or "kms_refused".
  Keyring(std::unique_ptr<KekSet> keks, store::Store& store);
  Keyring(std::unique_ptr<Kek> kek, store::Store& store);

  /// Under the current KEK, bound to what the row is about. Throws as Kek::wrap.
  store::WrappedKey wrap(const std::string& tenant, const std::string& asset_id, const std::string& sha256_ciphertext,
                         const FileKey& key) const;
  /// Throws "kek_missing", "key_unwrap_failed" (another row's bytes, or changed ones), or as Kek::unwrap.
  FileKey unwrap(const std::string& tenant, const std::string& asset_id, const std::string& sha256_ciphertext,
                 const store::WrappedKey& wrapped) const;

  const Ed25519PrivateKey& identity() const { return *identity_; }
  /// Public halves, newest first; never empty.
  std::vector<WrappingKey> wrapping_keys() const;
  /// The one with this RFC 7638 thumbprint; nothing if it is not, or no longer, published. Throws as unwrap.
  std::optional<jose::PrivateKey> wrapping_key(std::string_view kid) const;
  /// A new one beside those that are there, published and accepted at once. Event "wrapping_key_added".
  WrappingKey add_wrapping_key(UnixMs now) const;
  /// What is sealed to it is refused from now on. Event "wrapping_key_retired". Throws "not_found", or
  /// "wrapping_key_last".
  void retire_wrapping_key(std::string_view kid) const;
  const Secret<32>& url_key() const { return url_key_; }
  /// Names the URL key in signed URLs.
  const std::string& url_kid() const { return url_kid_; }

 private:
  store::WrappedKey wrap_own(const std::string& name, const Secret<32>& key) const;
  Secret<32> unwrap_own(const store::OwnKey& own) const;
  store::OwnKey new_wrapping_key(const std::string& name) const;
  jose::PrivateKey open_wrapping_key(const store::OwnKey& own) const;

  store::Store* store_;
  std::unique_ptr<KekSet> keks_;
  std::unique_ptr<Ed25519PrivateKey> identity_;
  Secret<32> url_key_;
  std::string url_kid_;
};

}  // namespace tb::controlplane
