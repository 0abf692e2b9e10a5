#include "sentinel/audit.h"

#include <sched.h>

#include <algorithm>
#include <chrono>

#include "base/clock.h"
#include "base/result.h"
#include "sentinel/audit_keys.h"

namespace tb::sentinel {
namespace {

constexpr std::int64_t kRetryMs = 200;
/// In which a batch is brought to the file.
constexpr int kTurns = 5;
constexpr std::size_t kKeptHandfuls = 32;
/// Of bodies that wait for the writer. Beyond it, whoever appends hashes them.
constexpr std::size_t kMostWaitingBytes = std::size_t{8} << 20;
/// Worth an advance(): their bodies fill the lanes that hash them.
constexpr std::size_t kFewest = 8;

}  // namespace

bool runs_on_one_core() {
  cpu_set_t cores;
  return sched_getaffinity(0, sizeof cores, &cores) == 0 && CPU_COUNT(&cores) == 1;
}

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

void AuditLog::append(const AuditEntry& entry, const UnhashedBodies& bodies) {
  const UnixMs now = options_.place.clock();
  bool wake = false;
  {
    std::unique_lock lock(mutex_);
    if (bodies.bytes() > 0 && waiting_bytes_ + bodies.bytes() > kMostWaitingBytes) {
      lock.unlock();
      AuditEntry hashed = entry;
      const auto digest = [&](ByteView body) {
        BodyHash hash = body_hash(entry.request_id);
        hash.update(body);
        return hash.finish();
      };
      if (bodies.request) hashed.req_sha256 = digest(*bodies.request);
      if (bodies.response) hashed.resp_sha256 = digest(*bodies.response);
      return append(hashed);
    }
    if (waiting_.empty() || waiting_.back()->is_full()) {
      if (spare_.empty()) spare_.push_back(std::make_unique<AuditHandful>());
      waiting_.push_back(std::move(spare_.back()));
      spare_.pop_back();
    }
    waiting_.back()->add(entry, now, bodies);
    waiting_bytes_ += bodies.bytes();
    ++appended_;
    waiting_records_.fetch_add(1, std::memory_order_relaxed);
    wake = std::exchange(idle_, false) || waiting_.back()->is_full();
  }
  if (wake) wake_.notify_all();
}

void AuditLog::advance() {
  if (!options_.shares_a_core || waiting_records_.load(std::memory_order_relaxed) < kFewest) return;
  const std::unique_lock lock(batch_mutex_, std::try_to_lock);
  if (lock && batch_) take_handful(true);
}

BodyHash AuditLog::body_hash(std::string_view request_id) const {
  return key_ ? BodyHash(HmacKey(key_->mac(as_bytes(request_id)))) : BodyHash();
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
  while (true) {
    bool checkpoint = false;
    {
      std::unique_lock lock(mutex_);
      const std::int64_t until_checkpoint = checkpoint_boot_ms_ + options_.checkpoint_ms - boot_ms_now();
      const auto has_work = [&] {
        return !waiting_.empty() || hurry_ || checkpoint_wanted_ || witness_has_seen_ ||
               (unrecorded_ != 0 && writable_);
      };
      idle_ = true;
      wake_.wait_for(lock, stop, std::chrono::milliseconds(std::max<std::int64_t>(until_checkpoint, 0)), has_work);
      idle_ = false;
      checkpoint = std::exchange(checkpoint_wanted_, false);
    }
    start_anew();
    gather(stop);
    commit_or_write(stop);
    const bool last = stop.stop_requested();
    keep_house(checkpoint || last || boot_ms_now() - checkpoint_boot_ms_ >= options_.checkpoint_ms);
    if (last) {
      const std::scoped_lock lock(mutex_);
      if (waiting_.empty()) return;
    }
  }
}

/// What comes within `gather_ms`, made ready for one commit by the handful: on a core that the proxy's loop has too,
/// each is short enough not to be felt.
void AuditLog::gather(const std::stop_token& stop) {
  {
    const std::scoped_lock lock(batch_mutex_);
    batch_.emplace(files_.begin());
  }
  const std::chrono::steady_clock::duration whole = std::chrono::milliseconds(options_.gather_ms);
  const auto end = std::chrono::steady_clock::now() + whole;
  while (true) {
    bool all = false;
    {
      std::unique_lock lock(mutex_);
      const auto turn = std::min(end, std::chrono::steady_clock::now() + whole / kTurns);
      const auto has_full = [&] { return !waiting_.empty() && waiting_.front()->is_full(); };
      if (appended_ != durable_) wake_.wait_until(lock, stop, turn, [&] { return hurry_ || has_full(); });
      all = std::exchange(hurry_, false) || stop.stop_requested() || appended_ == durable_ ||
            std::chrono::steady_clock::now() >= end;
    }
    const std::scoped_lock lock(batch_mutex_);
    while (take_handful(all)) {
    }
    if (all || !batch_has_room()) return;
    if (!files_.write(*batch_)) return batch_.reset();
  }
}

bool AuditLog::batch_has_room() const {
  return batch_->bytes() + AuditHandful::kMost * kMaxAuditRecordBytes <= kMaxAuditBatchBytes;
}

/// Into the batch. False if there is no (full) one, or no room.
bool AuditLog::take_handful(bool also_if_not_full) {
  if (!batch_has_room()) return false;
  std::unique_ptr<AuditHandful> some;
  {
    const std::scoped_lock lock(mutex_);
    if (waiting_.empty() || !(also_if_not_full || waiting_.front()->is_full())) return false;
    some = std::move(waiting_.front());
    waiting_.pop_front();
    waiting_bytes_ -= some->text_bytes();
    waiting_records_.fetch_sub(some->entries().size(), std::memory_order_relaxed);
  }
  some->hash(key_, lanes_);
  for (const AuditEntry& entry : some->entries()) batch_->add(options_.place.frame, entry);
  gathered_.push_back(std::move(some));
  return true;
}

/// In one commit, as it mostly goes. False if nothing of it is in the log, or there is more to tell.
bool AuditLog::commit_gathered() {
  std::optional<AuditBatch> batch = std::exchange(batch_, std::nullopt);
  if (!batch || !writable_ || unrecorded_ != 0) return false;
  if (batch->records() == 0) return true;
  std::uint64_t seq = files_.records();
  if (!files_.commit(*batch)) return false;
  for (const auto& some : gathered_) {
    if (options_.on_durable) options_.on_durable(files_.origin(), seq, some->entries());
    seq += some->entries().size();
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
  for (const auto& some : gathered_) left += some->entries().size();
  std::optional<std::int64_t> give_up_boot_ms;
  for (std::size_t i = 0; i < gathered_.size() || unrecorded_ != 0; ++i) {
    auto entries = i < gathered_.size() ? gathered_[i]->entries() : std::span<const AuditEntry>();
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
          log_.error("audit records are lost", {{"records", left + waiting_records_}});
          waiting_.clear();
          waiting_records_ = waiting_bytes_ = 0;
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

void AuditLog::commit_or_write(const std::stop_token& stop) {
  const std::scoped_lock lock(batch_mutex_);
  if (!commit_gathered()) write_gathered(stop);
  const std::scoped_lock spare(mutex_);
  for (auto& some : gathered_) {
    if (spare_.size() == kKeptHandfuls) break;
    some->clear();
    spare_.push_back(std::move(some));
  }
  gathered_.clear();
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
