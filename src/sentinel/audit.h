// The audit log (wire 2.5): one JSON line for each request, refused ones too, in one hash chain and one signed tree.
//
// The proxy's loop only puts records into a queue; a writer of its own gathers them for some milliseconds, appends them
// by one write, makes them durable by one fdatasync, and signs a checkpoint now and then. A crash loses at most what
// was in the queue: `most_pending` records, in practice those of the last `gather_ms` and one fdatasync
// (docs/audit.md).
//
// A request needs a place in the queue before anything is done for it: where there is none, or while records cannot be
// written, it is refused, and counted; the count becomes a record when writing goes on.
#pragma once

#include <array>
#include <condition_variable>
#include <functional>
#include <span>
#include <thread>

#include "sentinel/audit_files.h"

namespace tb::sentinel {

/// Sees records when they are durable, in their order, by the writer's thread: `first_seq` is that of the first.
/// What is counted from it is counted once, and says where in which log it stands. Must be quick, and not throw.
using OnDurable =
    std::function<void(const std::string& origin, std::uint64_t first_seq, std::span<const AuditEntry> entries)>;

struct AuditOptions {
  AuditPlace place;
  OnDurable on_durable = {};
  bool hash_responses = true;
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
  /// Uses a place up. The record's time is now, not `entry.time`.
  void append(const AuditEntry& entry);
  /// Gives a place back unused.
  void give_back();
  /// A request was refused for want of a place.
  void count_unrecorded();
  bool writable() const { return writable_ && pending_ < options_.most_pending; }
  /// For the bodies of one request; the response gets one only if hashes_responses().
  BodyHash body_hash(std::string_view request_id) const;
  /// Two at once, for what a request of its own key costs.
  std::pair<BodyHash, BodyHash> body_hashes(std::string_view request_id) const;
  bool hashes_responses() const { return options_.hash_responses; }
  AuditView view() const;

  // ---- any thread, waiting for the writer ----
  /// True once all that was appended before is durable; false if that took longer.
  bool flush(std::int64_t timeout_ms);
  /// Signs a checkpoint of what is durable.
  void checkpoint_now();
  /// The witness has seen more than there is.
  void begin_new_origin(std::uint64_t seen);
  AuditFiles& files() { return files_; }

 private:
  /// Entries in the order they came. Their texts keep their memory, and with it the threads their peace: what one of
  /// them allocates is not freed by the other.
  static constexpr std::size_t kTurns = 10;  ///< in which a batch is gathered
  struct Queue {
    std::vector<AuditEntry> entries;
    std::size_t used = 0;
    AuditEntry& next();
    std::span<const AuditEntry> all() const { return std::span(entries).first(used); }
    void clear();
  };

  void run(const std::stop_token& stop);
  void gather(const std::stop_token& stop);
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

  mutable std::mutex mutex_;  ///< of what follows
  std::condition_variable_any wake_;
  std::condition_variable written_;
  Queue queue_;
  std::uint64_t appended_ = 0, durable_ = 0;
  bool idle_ = false;   ///< the writer waits for work
  bool hurry_ = false;  ///< somebody waits: do not gather
  bool checkpoint_wanted_ = false;
  std::optional<std::uint64_t> witness_has_seen_;
  // The writer's.
  std::int64_t checkpoint_boot_ms_ = 0;
  std::array<Queue, kTurns> gathered_;
  std::optional<AuditBatch> batch_;  ///< of what is gathered; nothing: it has to be written in pieces
  std::jthread writer_;
};

}  // namespace tb::sentinel
