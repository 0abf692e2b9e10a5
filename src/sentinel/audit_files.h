// The files of an audit log and what they promise: one chain and one tree over numbered parts (tlog/segments.h), signed
// checkpoints beside them, and what a witness has countersigned.
//
// commit() is the only way in: a batch is written, at once or piece by piece, fdatasync'ed, and only then counts; one
// that fails or is given up leaves the log as it was. At the start the open part is read and checked against its cut
// and the checkpoints; an end that a crash left half written is cut off, and the next record says so. A log that is not
// what was signed (shorter, broken, another tree) is never continued: it is set aside whole, and a new origin (a new
// key) begins with a record of the gap.
//
// One thread writes (all but what is marked "any thread").
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/fs.h"
#include "obs/log.h"
#include "sentinel/audit_record.h"
#include "tlog/growth.h"
#include "tlog/proof.h"
#include "tlog/segments.h"

namespace tb::sentinel {

/// Most bytes of one commit, and so of what a crash can leave half written.
inline constexpr std::size_t kMaxAuditBatchBytes = std::size_t{4} << 20;

struct AuditPlace {
  std::string directory;  ///< made 0700
  std::string state_dir;
  AuditFrame frame;
  std::uint64_t segment_bytes = std::uint64_t{64} << 20;  ///< a part of this size or of another day (UTC) is closed
  std::int64_t retention_ms = 0;  ///< closed parts older than this go, if countersigned; 0: none
  Clock clock = unix_ms_now;
};

/// Records that are to be written together.
class AuditBatch {
 public:
  AuditBatch(tlog::ChainHead head, tlog::Frontier tree) : head_(head), tree_(std::move(tree)) {}
  /// `record` is a JSON object with a member or more, without its closing brace.
  void add(std::string_view record);
  void add(const AuditFrame& frame, const AuditEntry& entry);
  std::size_t bytes() const { return written_ + text_.size(); }
  std::size_t records() const { return completed_.size(); }

 private:
  friend class AuditFiles;
  void close_record(std::size_t from);
  tlog::ChainHead head_;
  tlog::Frontier tree_;
  AuditRecordWriter writer_;
  std::string text_;                    ///< that is not in the file yet
  std::size_t written_ = 0;             ///< bytes that are
  std::vector<tlog::Node> nodes_;       ///< that the records complete in the tree
  std::vector<std::size_t> completed_;  ///< how many of them by each record
};

class AuditFiles {
 public:
  /// Takes up the log in `place`, or begins one. Throws "output_exists" if another process writes it, and what the
  /// file system and the key files say.
  AuditFiles(AuditPlace place, obs::Log log);

  /// One batch at a time: what another has written and not committed is taken back.
  AuditBatch begin();
  /// Writes what the batch has so far, so that less is left to commit(). On an error the batch is lost.
  Result<> write(AuditBatch& batch);
  /// The batch is durable when this returns; on an error nothing of it is in the log.
  Result<> commit(AuditBatch& batch);
  /// Signs what is durable, as `audit.jsonl.checkpoint`, unless it did already.
  Result<> checkpoint();
  /// Closes the open part where that is due.
  Result<> rotate_if_due();
  /// Deletes closed parts that are old enough and countersigned; gives how many.
  std::size_t retire();
  /// Sets all of it aside, and begins anew with a record that says `why` and how many records were and should be there.
  void begin_origin(std::string_view why, std::uint64_t found, std::uint64_t expected);

  // ---- any thread ----
  std::uint64_t records() const;  ///< durable
  std::string origin() const;
  Ed25519PublicKey public_key() const;
  /// Up to which record the log is countersigned; 0: not at all.
  std::uint64_t countersigned_records() const { return countersigned_; }

  /// What to show the witness next: the same again until countersigned() or witness_is_at() has settled it. Nothing if
  /// it has all, and has said so since the start: a log that was restored together with all beside it is found out by
  /// nothing else.
  std::optional<tlog::AddCheckpoint> to_submit();
  enum class WitnessView { kContinue, kLogIsShorter, kContradiction };
  /// The witness says that it has seen `size` records. kContinue: to_submit() fits that now. May read the log.
  WitnessView witness_is_at(std::uint64_t size);
  /// The witness signed what to_submit() gave: kept beside the log. Throws what writing throws.
  void countersigned(const tlog::NoteSignature& signature);

 private:
  struct Pending {
    tlog::Note note;
    std::uint64_t old_size = 0;
    std::vector<Digest> proof;
    tlog::Growth since;
  };
  struct Signed {  ///< a checkpoint that the log must continue
    std::uint64_t size = 0;
    Digest root{};
  };

  std::string log_path() const { return place_.directory + "/audit.jsonl"; }
  std::string countersigned_path() const { return log_path() + ".checkpoint-countersigned"; }
  void open_or_begin();
  void take_up(const std::vector<Signed>& must);
  std::uint64_t read_part(const std::string& path, bool open_part, const std::vector<Signed>& must);
  void cut_torn_end(std::uint64_t bytes);
  void compare(const std::vector<Signed>& must);
  std::optional<Signed> stored_checkpoint(const std::string& path) const;
  void open_part(std::uint64_t first);
  void set_aside();
  tlog::Note sign(const tlog::Frontier& tree) const;
  std::vector<Digest> proof_from_files(std::uint64_t from, std::uint64_t to) const;
  Result<> record_event(const std::string& record);
  Result<> cut_back();
  Result<> taken_back(Result<> failed);

  const AuditPlace place_;
  const obs::Log log_;
  Fd lock_, file_;
  std::uint64_t file_bytes_ = 0;
  std::uint64_t first_ = 0;               ///< record that the open part begins with
  std::optional<std::int64_t> part_day_;  ///< of its first record, in days since 1970
  std::uint64_t signed_ = 0;              ///< records in the newest checkpoint of ours
  bool begun_ = false;                    ///< a batch has written some of it
  bool must_truncate_ = false;            ///< there may be bytes behind `file_bytes_` that nobody will commit

  mutable std::mutex parts_;  ///< names of the parts do not change meanwhile; before mutex_
  mutable std::mutex mutex_;  ///< of what follows
  std::optional<Ed25519PrivateKey> key_;
  tlog::ChainHead head_;
  tlog::Frontier tree_;
  tlog::Growth growth_{tlog::Frontier()};  ///< since what the witness has seen
  bool witnessed_ = false;                 ///< it has seen this origin
  bool shown_ = false;                     ///< and has signed in this process's time
  std::optional<Pending> pending_;
  std::atomic<std::uint64_t> countersigned_ = 0;
};

}  // namespace tb::sentinel
