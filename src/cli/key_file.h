// Key files: 0600, first line 64 hex digits, second line what the key has served (`# asset <id> prefix <hex>`).
//
// One key serves one encryption only (spec: tbenc-v1 1). So the claim is written into the file, under a lock and
// synced, before the first byte is sealed; whoever comes second is refused. A key made for an encryption is born with
// its claim and appears under its name only when the ciphertext is complete.
#pragma once

#include <optional>
#include <string>

#include "base/crypto.h"
#include "base/fs.h"
#include "base/secret.h"
#include "oms/crypto_keys.h"
#include "tbenc/header.h"

namespace tb::cli {

/// A file key from `path`, or from standard input for "-". Throws "key_file_malformed", "file_mode_unsafe".
FileKey read_key_file(const std::string& path);

/// The key from the 64 hex digits of --key-hex. Throws "key_file_malformed"; the text is never shown.
FileKey key_from_hex(std::string_view text);

/// Makes a new file key that has served nothing. Throws "output_exists" unless `path` is free: a key is never replaced.
void make_key_file(const std::string& path);

/// True if the key file at `path` notes that it served the encryption whose nonces begin with `prefix` (hex). Throws as
/// read_key_file does.
bool key_file_serves(const std::string& path, const std::string& prefix);

/// The key of one encryption: claimed from an existing file, or new.
class EncryptionKey {
 public:
  /// If `path` exists: takes its lock, refuses with "key_already_used" if it has served, writes the claim, syncs.
  /// If not: makes a key that commit() will put there.
  static EncryptionKey take(const std::string& path, const std::string& asset_id, const tbenc::NoncePrefix& prefix);

  const FileKey& key() const { return key_; }
  bool is_new() const { return new_file_.has_value(); }
  /// Puts a new key file under its name; nothing to do for an existing one. Call before the ciphertext appears.
  void commit();

 private:
  EncryptionKey(FileKey key, std::optional<AtomicFile> file) : key_(std::move(key)), new_file_(std::move(file)) {}
  FileKey key_;
  std::optional<AtomicFile> new_file_;
};

/// Writes an Ed25519 pair: `path` 0600 with the private seed and `path`.pub 0644 with the raw public key, base64url,
/// a line each. Throws "output_exists" if either is there.
Ed25519PublicKey make_signing_pair(const std::string& path);
/// Writes an EC P-256 pair as PEM: `path` 0600 and `path`.pub 0644. Throws "output_exists" if either is there.
oms::PublicKey make_oms_pair(const std::string& path);
/// Throws "signing_key_malformed", "file_mode_unsafe".
Ed25519PrivateKey read_signing_key(const std::string& path);
/// A public key file as make_signing_pair writes it. Throws "public_key_malformed".
Ed25519PublicKey read_public_key(const std::string& path);

}  // namespace tb::cli
