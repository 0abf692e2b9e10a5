// The audit log (wire 2.5): one JSON line for each request, refused ones too, in one hash chain and one signed tree.
//
// The proxy's loop only puts records into a queue; a writer of its own gathers them for some milliseconds, a handful at
// a time, makes them durable by one fdatasync, and signs a checkpoint now and then. A crash loses at most what
// was in the queue: `most_pending` records, in practice those of the last `gather_ms` and one fdatasync
// (docs/audit.md).
//
// A request needs a place in the queue before anything is done for it: where there is none, or while records cannot be
// written, it is refused, and counted; the count becomes a record when writing goes on.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <thread>

#include "sentinel/audit_files.h"
#include "sentinel/audit_handful.h"

namespace tb::sentinel {

/// Sees records when they are durable, in their order, by the writer's thread: `first_seq` is that of the first.
/// What is counted from it is counted once, and says where in which log it stands. Must be quick, and not throw.
using OnDurable =
    std::function<void(const std::string& origin, std::uint64_t first_seq, std::span<const AuditEntry> entries)>;

/// Whether this process may use one core only.
bool runs_on_one_core();

struct AuditOptions {
  AuditPlace place;
  OnDurable on_durable = {};
  bool hash_responses = true;
  bool shares_a_core = runs_on_one_core();  ///< writer and whoever appends
  std::int64_t gather_ms = 10;
  std::int64_t checkpoint_ms = 60'000;
  std::size_t most_pending = 32'768;  ///< places: requests under way and records that are not durable yet
  std::int64_t give_up_ms = 5'000;    ///< at the end, for a disk that takes nothing
};

struct AuditView {
  std::uint64_t records = 0;        ///< durable
  std::uint64_t countersigned = 0;  ///< of them
  std::uint64_t pending = 0;        ///< records in the queue
  std::uint64_t unrecorded = 0;     ///< refusals that are not in the log yet
  bool writable = true;
  std::string origin;
};

class AuditLog {
 public:
  /// Throws as AuditFiles.
  explicit AuditLog(AuditOptions options, obs::Log log = {});
  /// Writes what is in the queue, and a checkpoint.
  ~AuditLog();
  AuditLog(const AuditLog&) = delete;
  AuditLog& operator=(const AuditLog&) = delete;

  // ---- any thread, never blocking on the disk ----
  /// Takes a place for one record; false if there is none, or the log cannot be written.
  bool reserve();
  /// Uses a place up. The record's time is now, not `entry.time`; the digests of `bodies`, which are copied, are made
  /// by the writer, many at once.
  void append(const AuditEntry& entry, const UnhashedBodies& bodies = {});
  /// Gives a place back unused.
  void give_back();
  /// A request was refused for want of a place.
  void count_unrecorded();
  bool writable() const { return writable_ && pending_ < options_.most_pending; }
  /// For the bodies of one request; the response gets one only if hashes_responses().
  BodyHash body_hash(std::string_view request_id) const;
  bool hashes_responses() const { return options_.hash_responses; }
  AuditView view() const;
  /// To be called now and then by whoever appends, between two things of its own: where it shares a core with the
  /// writer it makes some records itself, which costs less than being interrupted for them. Elsewhere it does nothing.
  void advance();

  // ---- any thread, waiting for the writer ----
  /// True once all that was appended before is durable; false if that took longer.
  bool flush(std::int64_t timeout_ms);
  /// Signs a checkpoint of what is durable.
  void checkpoint_now();
  /// The witness has seen more than there is.
  void begin_new_origin(std::uint64_t seen);
  AuditFiles& files() { return files_; }

 private:
  void run(const std::stop_token& stop);
  void gather(const std::stop_token& stop);
  bool batch_has_room() const;
  bool take_handful(bool also_if_not_full);
  void commit_or_write(const std::stop_token& stop);
  bool commit_gathered();
  void write_gathered(const std::stop_token& stop);
  Result<std::size_t> write_some(std::span<const AuditEntry> entries);
  void keep_house(bool checkpoint);
  void start_anew();

  const AuditOptions options_;
  const obs::Log log_;
  std::optional<HmacKey> key_;
  AuditFiles files_;
  std::atomic<bool> writable_ = true;
  std::atomic<std::size_t> pending_ = 0;  ///< places that are taken
  std::atomic<std::uint64_t> unrecorded_ = 0;
  std::atomic<std::size_t> waiting_records_ = 0;

  mutable std::mutex mutex_;  ///< of what follows
  std::condition_variable_any wake_;
  std::condition_variable written_;
  std::deque<std::unique_ptr<AuditHandful>> waiting_;  ///< in order; all but the last are full
  std::vector<std::unique_ptr<AuditHandful>> spare_;
  std::size_t waiting_bytes_ = 0;  ///< of bodies that are not hashed
  std::uint64_t appended_ = 0, durable_ = 0;
  bool idle_ = false;   ///< the writer waits for work
  bool hurry_ = false;  ///< somebody waits: do not gather
  bool checkpoint_wanted_ = false;
  std::optional<std::uint64_t> witness_has_seen_;
  std::int64_t checkpoint_boot_ms_ = 0;  ///< the writer's

  std::mutex batch_mutex_;  ///< of what follows; before mutex_
  HmacLanes lanes_;
  std::vector<std::unique_ptr<AuditHandful>> gathered_;  ///< what `batch_` has
  std::optional<AuditBatch> batch_;                      ///< nothing: it has to be written in pieces
  std::jthread writer_;
};

}  // namespace tb::sentinel
