// Key-encryption keys: what the keys in the database are wrapped under, and what is never in the database itself. A KEK
// is 32 bytes that the operator keeps (a file, the environment), or a key that never leaves a KMS (transit_kek.h).
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/secret.h"

namespace tb::controlplane {

class Kek {
 public:
  explicit Kek(std::string id) : id_(std::move(id)) {}
  virtual ~Kek() = default;
  Kek(const Kek&) = delete;
  Kek& operator=(const Kek&) = delete;

  /// Stands in the rows that it has wrapped; tells nothing of the key.
  const std::string& id() const { return id_; }
  /// `context` says what the row is about (asset_key_context, own_key_context). Thread-safe, as is unwrap.
  virtual Bytes wrap(std::string_view context, const Secret<32>& key) const = 0;
  /// "key_unwrap_failed" for changed bytes and for another row's context; "kms_unavailable" and "kms_refused" (both
  /// worth a retry) where the KEK lies in a KMS.
  virtual Secret<32> unwrap(std::string_view context, ByteView wrapped) const = 0;

 private:
  const std::string id_;
};

/// "asset-kek/v1" and "own-kek/v1", each with its parts behind their u32 lengths (wire 1.4): no two rows have one
/// context.
std::string asset_key_context(std::string_view tenant, std::string_view asset_id, std::string_view sha256_ciphertext);
std::string own_key_context(std::string_view name);

/// 64 hex digits; throws "config_invalid". Wraps by AES key wrap (RFC 3394) under HKDF(KEK, context).
std::unique_ptr<Kek> kek_from_hex(std::string_view hex);
/// Reads the file (0600), or makes it with a new random key, whole and fsynced. `may_create` is false where rows exist
/// that an older KEK wrapped: then a missing file is "kek_missing".
std::unique_ptr<Kek> load_or_create_kek(const std::string& path, bool may_create);

/// The KEK that new keys are wrapped under, and others whose rows are opened as well, as while `rekey` runs.
class KekSet {
 public:
  /// Gives an accepted KEK, or nothing while it cannot be had: a file that `rekey` has yet to make.
  using Opener = std::function<std::unique_ptr<Kek>()>;
  explicit KekSet(std::unique_ptr<Kek> current, std::vector<Opener> accepted = {});

  const Kek& current() const { return *current_; }
  /// Throws "kek_missing" if it is neither. Thread-safe: an accepted KEK is opened when a row first names it.
  const Kek& of(const std::string& id) const;

 private:
  struct Accepted {
    Opener open;
    std::unique_ptr<Kek> kek;
  };
  std::unique_ptr<Kek> current_;
  mutable std::mutex mutex_;
  mutable std::vector<Accepted> accepted_;
};

}  // namespace tb::controlplane
