// Checking a log that somebody else keeps: a file of JSON lines (a sentinel's audit log, or exported events), or a
// control plane's event log over HTTP. Both are one chain and one Merkle tree (tlog).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/control_plane.h"
#include "tlog/proof.h"

namespace tb::cli {

/// What a checkpoint was found to be.
struct CheckpointVerdict {
  std::string name;  ///< its file
  tlog::Checkpoint checkpoint;
  bool signed_by_key = false;                       ///< false: no key was given
  std::optional<std::uint64_t> cosigned_seconds{};  ///< by the witness whose key was given, when
};

struct LogVerdict {
  std::uint64_t first = 0;  ///< record that the kept part begins with: the ones before were deleted
  std::uint64_t records = 0;
  std::string head, root;                         ///< lower hex
  std::optional<std::uint64_t> cosigned_records;  ///< by the witness whose key was given: so many
  std::vector<CheckpointVerdict> checkpoints;
};

struct LogFile {
  std::string path;
  std::vector<std::string> checkpoints;  ///< note files; none: `<path>.checkpoint*` beside it
  std::string key_file;                  ///< public key of the log; empty: signatures are not checked
  std::string witness_key_file;          ///< of a witness whose cosignature a checkpoint must carry; empty: none
};

/// Every line of every part of the log (tlog/segments.h), every checkpoint. Where the first parts are gone, the cut
/// before the first that is left must be signed by the log's key, and a checkpoint must cover it. Throws "chain_broken"
/// naming file and line; "log_forked" for a checkpoint that the log does not continue, or from which records are
/// missing; what notes and keys throw.
LogVerdict verify_log(const LogFile& log);

/// The proof that record `seq` is in the checkpoint (one file, or the largest beside the log). Throws as verify_log,
/// and "usage" if the checkpoint does not reach so far.
tlog::InclusionProof prove_record(const LogFile& log, std::uint64_t seq);

/// A `.tlog-proof` file that carries its record: the record and the checkpoint that it is in. Throws "proof_malformed"
/// if it carries none, "proof_mismatch", "note_unverified".
struct ProvenRecord {
  std::string line;
  std::uint64_t index = 0;
  tlog::Checkpoint checkpoint;
};
ProvenRecord verify_proof(const std::string& path, const std::string& key_file);

/// Writes the last `lines` lines, and with `follow` what is appended, until an interrupt.
void tail_log(const std::string& path, std::uint64_t lines, bool follow,
              const std::function<void(std::string_view line)>& write);
/// One record for people: time, and what its members say.
std::string record_text(std::string_view line);

// ---- audit_remote.cc ----

struct RemoteLog {
  std::string state_file;   ///< the checkpoint kept from last time; made at the first
  std::string export_file;  ///< all lines go there, and the checkpoint to `<it>.checkpoint`; empty: nowhere
};

struct RemoteVerdict {
  tlog::Checkpoint checkpoint;
  std::optional<tlog::Checkpoint> earlier;  ///< what the log was found to continue
  std::uint64_t events = 0;                 ///< checked
  bool whole = false;  ///< all of the log; else a tenant's own events, each of the new ones by its proof
};

/// Throws "log_forked" if the log does not continue the kept checkpoint; else as verify_log.
RemoteVerdict verify_remote(ControlPlane& control_plane, const Ed25519PublicKey& identity, const RemoteLog& log);
/// Fetches the proof of one event and checks it.
tlog::InclusionProof prove_event(ControlPlane& control_plane, const Ed25519PublicKey& identity, std::uint64_t seq);

}  // namespace tb::cli
