// Signed notes (C2SP signed-note): a text, a blank line, and a line for each signature. Checkpoints and the
// cosignatures of witnesses (C2SP tlog-cosignature) are such lines.
//
// A note is nothing until a key that was known beforehand has verified: parse() only takes it apart, verify() decides.
// Signatures by unknown keys are ignored; one by a known key that does not verify refuses the whole note.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/crypto.h"

namespace tb::tlog {

inline constexpr std::size_t kMaxNoteBytes = std::size_t{64} << 10;
inline constexpr std::size_t kMaxNoteSignatures = 64;

/// The byte that stands for the algorithm in a key id.
enum class SignatureType : std::uint8_t {
  kEd25519 = 0x01,      ///< over the text
  kCosignature = 0x04,  ///< Ed25519 over "cosignature/v1\ntime <seconds>\n" and the text; u64 time before the signature
};

/// A key that is known, by name.
struct NoteKey {
  std::string name;
  SignatureType type = SignatureType::kEd25519;
  Ed25519PublicKey key{};

  /// First four bytes of SHA-256(name ‖ 0x0A ‖ type ‖ key).
  std::uint32_t id() const;
};

/// Not empty, no spaces (Unicode's too), no `+`, no control characters, UTF-8, at most 512 bytes.
bool valid_key_name(std::string_view name);

struct NoteSignature {
  std::string name;
  std::uint32_t key_id = 0;
  Bytes bytes;

  /// `— name base64(id ‖ bytes)` with its newline.
  std::string to_line() const;
  bool operator==(const NoteSignature&) const = default;
};

struct Note {
  std::string text;  ///< ends in a newline
  std::vector<NoteSignature> signatures;

  /// Throws "note_malformed": control characters, bad UTF-8, no signature, more than kMaxNoteSignatures, too long.
  static Note parse(std::string_view note);
  std::string to_text() const;
  bool operator==(const Note&) const = default;
};

/// Signature lines alone, as a witness answers them. Throws "note_malformed".
std::vector<NoteSignature> parse_signature_lines(std::string_view lines);

/// What one known key says of a note.
struct Verified {
  NoteKey key;
  std::uint64_t time_seconds = 0;  ///< of a cosignature: when the witness had seen no larger tree
};

/// The known keys whose signatures verify, in the note's order. Throws "note_unverified" if there is none, or if one of
/// a known key does not verify.
std::vector<Verified> verify(const Note& note, std::span<const NoteKey> known);

/// Throws "internal" for a name or a text that no note can have.
NoteSignature sign(const Ed25519PrivateKey& key, const std::string& name, std::string_view text);
/// A witness's statement: no larger tree of this origin was seen until `time_seconds` (Unix), and this one is
/// consistent with all before.
NoteSignature cosign(const Ed25519PrivateKey& key, const std::string& name, std::string_view text,
                     std::uint64_t time_seconds);

}  // namespace tb::tlog
