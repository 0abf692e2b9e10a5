#include "sentinel/audit.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>

#include "base/clock.h"
#include "base/result.h"
#include "sentinel/audit_keys.h"

namespace tb::sentinel {
namespace {

/// Where the writer shares a core with the proxy's loop, requests go first; a quarter of the core is left to it still.
constexpr int kNice = 5;
constexpr std::int64_t kRetryMs = 200;
/// Of a queue, kept with their memory when it is empty.
constexpr std::size_t kKeptEntries = 256;

}  // namespace

AuditLog::AuditLog(AuditOptions options, obs::Log log)
    : options_(std::move(options)), log_(std::move(log)), files_(options_.place, log_) {
  if (options_.place.frame.keyed) key_ = load_or_make_body_key(options_.place.state_dir);
  checkpoint_boot_ms_ = boot_ms_now();
  writer_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

AuditLog::~AuditLog() {
  writer_.request_stop();
  wake_.notify_all();
  writer_.join();
}

bool AuditLog::reserve() {
  if (!writable_) return false;
  if (pending_.fetch_add(1, std::memory_order_relaxed) < options_.most_pending) return true;
  pending_.fetch_sub(1, std::memory_order_relaxed);
  return false;
}

void AuditLog::give_back() {
  pending_.fetch_sub(1, std::memory_order_relaxed);
}

void AuditLog::count_unrecorded() {
  {
    const std::scoped_lock lock(mutex_);  // the writer must not miss it on its way to sleep
    unrecorded_.fetch_add(1, std::memory_order_relaxed);
  }
  if (writable_) wake_.notify_all();
}

AuditEntry& AuditLog::Queue::next() {
  if (used == entries.size()) entries.emplace_back();
  return entries[used++];
}

void AuditLog::Queue::clear() {
  used = 0;
  if (entries.size() <= kKeptEntries) return;
  entries.resize(kKeptEntries);
  entries.shrink_to_fit();
}

void AuditLog::append(const AuditEntry& entry) {
  const UnixMs now = options_.place.clock();
  bool wake = false;
  {
    const std::scoped_lock lock(mutex_);
    AuditEntry& queued = queue_.next();
    queued = entry;
    queued.time = now;
    ++appended_;
    wake = std::exchange(idle_, false);
  }
  if (wake) wake_.notify_all();
}

BodyHash AuditLog::body_hash(std::string_view request_id) const {
  return key_ ? BodyHash(HmacKey(key_->mac(as_bytes(request_id)))) : BodyHash();
}

std::pair<BodyHash, BodyHash> AuditLog::body_hashes(std::string_view request_id) const {
  if (!key_) return {};
  const HmacKey request_key(key_->mac(as_bytes(request_id)));
  return {BodyHash(request_key), BodyHash(request_key)};
}

AuditView AuditLog::view() const {
  AuditView out{.records = files_.records(),
                .countersigned = files_.countersigned_records(),
                .unrecorded = unrecorded_,
                .writable = writable_,
                .origin = files_.origin()};
  const std::scoped_lock lock(mutex_);
  out.pending = appended_ - durable_;
  return out;
}

bool AuditLog::flush(std::int64_t timeout_ms) {
  std::unique_lock lock(mutex_);
  const std::uint64_t until = appended_;
  hurry_ = true;
  wake_.notify_all();
  return written_.wait_for(lock, std::chrono::milliseconds(timeout_ms), [&] { return durable_ >= until; });
}

void AuditLog::checkpoint_now() {
  const std::scoped_lock lock(mutex_);
  checkpoint_wanted_ = true;
  wake_.notify_all();
}

void AuditLog::begin_new_origin(std::uint64_t seen) {
  const std::scoped_lock lock(mutex_);
  witness_has_seen_ = seen;
  wake_.notify_all();
}

void AuditLog::run(const std::stop_token& stop) {
  setpriority(PRIO_PROCESS, 0, kNice);  // this thread's
  while (true) {
    bool checkpoint = false;
    {
      std::unique_lock lock(mutex_);
      const std::int64_t until_checkpoint = checkpoint_boot_ms_ + options_.checkpoint_ms - boot_ms_now();
      const auto has_work = [&] {
        return queue_.used > 0 || hurry_ || checkpoint_wanted_ || witness_has_seen_ || (unrecorded_ != 0 && writable_);
      };
      idle_ = true;
      wake_.wait_for(lock, stop, std::chrono::milliseconds(std::max<std::int64_t>(until_checkpoint, 0)), has_work);
      idle_ = false;
      checkpoint = std::exchange(checkpoint_wanted_, false);
    }
    start_anew();
    gather(stop);
    if (!commit_gathered()) write_gathered(stop);
    for (Queue& part : gathered_) part.clear();
    const bool last = stop.stop_requested();
    keep_house(checkpoint || last || boot_ms_now() - checkpoint_boot_ms_ >= options_.checkpoint_ms);
    if (last) {
      const std::scoped_lock lock(mutex_);
      if (queue_.used == 0) return;
    }
  }
}

/// What comes within `gather_ms`, made ready for one commit in a few turns: on a core that the proxy's loop has too,
/// each is short enough not to be felt.
void AuditLog::gather(const std::stop_token& stop) {
  batch_.emplace(files_.begin());
  const auto turn = std::chrono::microseconds(options_.gather_ms * 1000 / static_cast<std::int64_t>(kTurns));
  bool hurry = false;
  for (std::size_t i = 0; i < kTurns && !hurry; ++i) {
    Queue& part = gathered_[i];
    {
      std::unique_lock lock(mutex_);
      if (i > 0 || queue_.used > 0) wake_.wait_for(lock, stop, turn, [&] { return hurry_; });
      hurry = std::exchange(hurry_, false) || stop.stop_requested() || (i == 0 && queue_.used == 0);
      std::swap(part, queue_);
    }
    for (const AuditEntry& entry : part.all()) {
      if (!batch_) break;
      if (batch_->bytes() + kMaxAuditRecordBytes <= kMaxAuditBatchBytes) {
        batch_->add(options_.place.frame, entry);
      } else {
        batch_.reset();
      }
    }
    hurry = hurry || !batch_;
  }
}

/// In one commit, as it mostly goes. False if nothing of it is in the log, or there is more to tell.
bool AuditLog::commit_gathered() {
  const std::optional<AuditBatch> batch = std::exchange(batch_, std::nullopt);
  if (!batch || !writable_ || unrecorded_ != 0) return false;
  if (batch->records() == 0) return true;
  std::uint64_t seq = files_.records();
  if (!files_.commit(*batch)) return false;
  for (const Queue& part : gathered_) {
    if (options_.on_durable && part.used > 0) options_.on_durable(files_.origin(), seq, part.all());
    seq += part.used;
  }
  pending_.fetch_sub(batch->records(), std::memory_order_relaxed);
  const std::scoped_lock lock(mutex_);
  durable_ += batch->records();
  written_.notify_all();
  return true;
}

/// Until all of it is durable; a disk that takes nothing is asked again and again, and requests are refused meanwhile.
void AuditLog::write_gathered(const std::stop_token& stop) {
  std::size_t left = 0;
  for (const Queue& part : gathered_) left += part.used;
  std::optional<std::int64_t> give_up_boot_ms;
  for (const Queue& part : gathered_) {
    std::span<const AuditEntry> entries = part.all();
    while (!entries.empty() || unrecorded_ != 0) {
      const auto written = write_some(entries);
      if (written) {
        entries = entries.subspan(*written);
        left -= *written;
        pending_.fetch_sub(*written, std::memory_order_relaxed);
        if (!writable_.exchange(true)) log_.info("the audit log can be written again");
        const std::scoped_lock lock(mutex_);
        durable_ += *written;
        written_.notify_all();
        continue;
      }
      if (writable_.exchange(false)) {
        log_.error("the audit log cannot be written: requests are refused", written.error());
      }
      std::unique_lock lock(mutex_);
      if (stop.stop_requested()) {
        const std::int64_t now = boot_ms_now();
        if (!give_up_boot_ms) give_up_boot_ms = now + options_.give_up_ms;
        if (now >= *give_up_boot_ms) {
          log_.error("audit records are lost", {{"records", left + queue_.used}});
          queue_.clear();
          return;
        }
        lock.unlock();
        std::this_thread::sleep_for(std::chrono::milliseconds(kRetryMs));
      } else {
        wake_.wait_for(lock, stop, std::chrono::milliseconds(kRetryMs), [] { return false; });
      }
    }
  }
}

/// As many as one commit takes; gives their number.
Result<std::size_t> AuditLog::write_some(std::span<const AuditEntry> entries) {
  AuditBatch batch = files_.begin();
  const std::uint64_t unrecorded = unrecorded_;
  if (unrecorded != 0) {
    batch.add(event_record_text(options_.place.frame, options_.place.clock(), "refused_unrecorded",
                                {{"requests", unrecorded}}));
  }
  std::size_t taken = 0;
  while (taken < entries.size() && batch.bytes() + kMaxAuditRecordBytes <= kMaxAuditBatchBytes) {
    batch.add(options_.place.frame, entries[taken++]);
  }
  const std::uint64_t first_seq = files_.records() + (unrecorded != 0 ? 1 : 0);
  TRY(files_.commit(batch));
  unrecorded_ -= unrecorded;
  if (options_.on_durable && taken != 0) options_.on_durable(files_.origin(), first_seq, entries.first(taken));
  return taken;
}

void AuditLog::keep_house(bool checkpoint) {
  const auto told = [&](Result<> done, const char* what) {
    if (!done) log_.error(what, done.error(), obs::Level::kWarn);
  };
  try {
    told(files_.rotate_if_due(), "the audit log's part could not be closed");
    if (!checkpoint) return;
    checkpoint_boot_ms_ = boot_ms_now();
    told(files_.checkpoint(), "no checkpoint of the audit log could be written");
    files_.retire();
  } catch (const Error& error) {
    log_.error("the audit log's files could not be kept in order", error);
  }
}

void AuditLog::start_anew() {
  std::optional<std::uint64_t> seen;
  {
    const std::scoped_lock lock(mutex_);
    seen = std::exchange(witness_has_seen_, std::nullopt);
  }
  if (!seen) return;
  try {
    log_.error("the witness has seen more of the audit log than there is: a new one begins",
               {{"seen", *seen}, {"records", files_.records()}});
    files_.begin_origin("the witness has seen more records", files_.records(), *seen);
  } catch (const Error& error) {
    log_.error("no new audit log could be begun", error);
  }
}

}  // namespace tb::sentinel
