// Checkpoints (C2SP tlog-checkpoint): what a log promises to be, at one size, as the text of a signed note.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tlog/note.h"

namespace tb::tlog {

struct Checkpoint {
  std::string origin;  ///< which log
  std::uint64_t size = 0;
  Digest root{};
  std::vector<std::string> extensions;  ///< kept because they are signed; nothing here reads them

  /// Three lines and the extensions.
  std::string to_text() const;
  /// Strict: what is accepted is written the same again. Throws "checkpoint_malformed".
  static Checkpoint parse(std::string_view text);
  bool operator==(const Checkpoint&) const = default;
};

/// A decimal of C2SP: no sign, no leading zeroes, below 2^63. Throws "checkpoint_malformed" naming `what`.
std::uint64_t parse_size(std::string_view text, std::string_view what);
/// 32 bytes in strict base64. Throws "checkpoint_malformed" naming `what`.
Digest parse_hash(std::string_view text, std::string_view what);

/// `trustbridge/<base64url SHA-256 of the key>/<log>`: an origin that commits to the key that signs it, so that nobody
/// needs to be told which key is whose.
std::string keyed_origin(const Ed25519PublicKey& key, std::string_view log);

/// Signed by the log itself, under the name of its origin.
Note sign_checkpoint(const Checkpoint& checkpoint, const Ed25519PrivateKey& key);

/// The checkpoint of a note that `key` has signed under the name of its origin. Throws "note_unverified",
/// "checkpoint_malformed".
Checkpoint verified_checkpoint(const Note& note, const Ed25519PublicKey& key);

}  // namespace tb::tlog
