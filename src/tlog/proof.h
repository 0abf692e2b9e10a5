// Proofs as text: the file that shows one record to be in a log (C2SP tlog-proof), and the request by which a witness
// is shown that a log has only grown (C2SP tlog-witness, add-checkpoint).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tlog/checkpoint.h"
#include "tlog/tree.h"

namespace tb::tlog {

inline constexpr std::size_t kMaxProofHashes = 63;
inline constexpr std::size_t kMaxProofBytes = std::size_t{2} << 20;

/// A `.tlog-proof` file. Ours carry the record itself as `extra`, so that the file stands alone; it counts for nothing
/// until its hash has been found in the tree.
struct InclusionProof {
  std::optional<std::string> extra;
  std::uint64_t index = 0;
  std::vector<Digest> hashes;
  Note checkpoint;

  std::string to_text() const;
  /// Strict: what is accepted is written the same again. Throws "proof_malformed", "checkpoint_malformed" (a number or
  /// hash) or "note_malformed".
  static InclusionProof parse(std::string_view text);
};

/// That the record is in the log whose checkpoint `key` has signed; gives that checkpoint. Throws "proof_mismatch",
/// "note_unverified", "checkpoint_malformed".
Checkpoint verified_inclusion(const InclusionProof& proof, std::string_view record, const Ed25519PublicKey& key);

/// The body of add-checkpoint.
struct AddCheckpoint {
  std::uint64_t old_size = 0;
  std::vector<Digest> consistency;
  Note checkpoint;

  std::string to_text() const;
  /// Strict, as InclusionProof::parse.
  static AddCheckpoint parse(std::string_view text);
};

}  // namespace tb::tlog
