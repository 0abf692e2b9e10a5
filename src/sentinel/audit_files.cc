#include "sentinel/audit_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "base/json.h"
#include "base/result.h"
#include "deliver/wipe.h"
#include "sentinel/audit_keys.h"

namespace tb::sentinel {
namespace {

constexpr std::int64_t kDayMs = 24 * 3600 * std::int64_t{1000};
constexpr std::string_view kSetAside = "ended-";

std::int64_t day_of(UnixMs time) {
  return time / kDayMs;
}

/// The log on disk is not the one that was signed.
Error not_continued(std::string why) {
  return {"log_forked", std::move(why)};
}

}  // namespace

void AuditBatch::add(std::string_view record) {
  const std::size_t from = text_.size();
  text_ += record;
  close_record(from);
}

void AuditBatch::add(const AuditFrame& frame, const AuditEntry& entry) {
  const std::size_t from = text_.size();
  writer_.append(text_, frame, entry);
  close_record(from);
}

void AuditBatch::close_record(std::size_t from) {
  tlog::close_record(head_, text_, from);
  const std::vector<tlog::Node> completed = tree_.append(head_.prev);
  nodes_.insert(nodes_.end(), completed.begin(), completed.end());
  completed_.push_back(completed.size());
  text_ += '\n';
}

AuditFiles::AuditFiles(AuditPlace place, obs::Log log) : place_(std::move(place)), log_(std::move(log)) {
  value_or_throw(deliver::open_owned_dir(place_.directory, 0700));
  lock_ = value_or_throw(open_file(place_.directory + "/lock", O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  if (flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    throw Error("output_exists", fmt::format("another process writes {}", log_path()))
        .with_hint("give each sentinel its own TB_AUDIT_DIR");
  }
  open_or_begin();
}

void AuditFiles::open_or_begin() {
  const tlog::Segments parts = tlog::list_segments(log_path());
  const bool has_records = parts.has_open || !parts.closed.empty();
  key_ = load_signing_key(place_.state_dir);
  const auto is_there = [](const std::string& path) { return ::access(path.c_str(), F_OK) == 0; };
  const bool was_signed = !parts.cuts.empty() || is_there(log_path() + ".checkpoint") || is_there(countersigned_path());
  if (!key_ && !(has_records && was_signed)) key_ = make_signing_key(place_.state_dir);
  std::vector<Signed> must;
  std::uint64_t countersigned = 0;
  try {
    if (!key_) throw not_continued("the key that signs the log is gone");
    if (const auto last = stored_checkpoint(countersigned_path())) {
      countersigned = last->size;
      must.push_back(*last);
      witnessed_ = true;
    }
    countersigned_ = countersigned;
    if (const auto newest = stored_checkpoint(log_path() + ".checkpoint")) {
      must.push_back(*newest);
      signed_ = newest->size;
    }
    take_up(must);
  } catch (const Error& error) {
    const bool is_other = error.reason == "log_forked" || error.reason == "chain_broken" ||
                          error.reason == "file_not_found" || error.reason == "note_unverified" ||
                          error.code() == Code::kMalformed;
    if (!is_other) throw;
    log_.error("the audit log cannot be continued: it is set aside and a new one begins", error);
    std::uint64_t expected = 0;
    for (const Signed& each : must) expected = std::max(expected, each.size);
    begin_origin(error.message, head_.records, expected);
  }
  value_or_throw(
      write_file_atomically(place_.directory + "/audit.pub", to_base64url(key_->public_key()) + "\n", 0644, true));
}

std::optional<AuditFiles::Signed> AuditFiles::stored_checkpoint(const std::string& path) const {
  auto text = read_small_file(path, tlog::kMaxNoteBytes);
  if (!text && text.error().reason == "file_not_found") return std::nullopt;
  const tlog::Note note = tlog::Note::parse(value_or_throw(std::move(text)));
  try {
    const auto checkpoint = tlog::verified_checkpoint(note, key_->public_key());
    return Signed{checkpoint.size, checkpoint.root};
  } catch (const Error& error) {
    throw not_continued(fmt::format("{} is not signed by the log's key", path));
  }
}

void AuditFiles::compare(const std::vector<Signed>& must) {
  for (const Signed& each : must) {
    if (each.size == tree_.size() && each.root != tree_.root()) {
      throw not_continued(fmt::format("the first {} records are not those that were signed", each.size));
    }
    if (witnessed_ && each.size == countersigned_ && each.size == tree_.size() && growth_.begin() != each.size) {
      growth_ = tlog::Growth(tree_);
    }
  }
}

/// From the part that holds what the witness has seen last, or else the open one, to the end.
void AuditFiles::take_up(const std::vector<Signed>& must) {
  const tlog::Segments parts = tlog::list_segments(log_path());
  const std::uint64_t last_cut = parts.cuts.empty() ? 0 : parts.cuts.back();
  // A crash between closing a part and opening the next leaves no open one, and its cut may be missing.
  const bool read_last_closed = !parts.has_open && !parts.closed.empty() && parts.closed.back() >= last_cut;
  first_ = read_last_closed ? parts.closed.back() : last_cut;
  std::uint64_t start = first_;
  if (witnessed_ && countersigned_ < start) {
    const auto kept = std::ranges::upper_bound(parts.closed, countersigned_.load());
    if (kept != parts.closed.begin()) start = *std::prev(kept);
  }
  if (start > 0) {
    const tlog::Cut cut = tlog::read_cut(log_path(), start);
    if (tlog::verified_checkpoint(cut.checkpoint, key_->public_key()).size != start) throw not_continued("a cut lies");
    head_ = cut.head();
    tree_ = cut.tree;
  }
  compare(must);
  for (const std::uint64_t first : parts.closed) {
    if (first < start) continue;
    if (first != head_.records) throw not_continued(fmt::format("the records from {} on are gone", head_.records));
    read_part(tlog::segment_path(log_path(), first), false, must);
  }
  std::uint64_t torn_bytes = 0;
  if (parts.has_open) {
    if (head_.records != first_) throw not_continued(fmt::format("the records from {} on are gone", head_.records));
    torn_bytes = read_part(log_path(), true, must);
  }
  for (const Signed& each : must) {
    if (each.size > head_.records) {
      throw not_continued(fmt::format("{} records were signed, and {} are there", each.size, head_.records));
    }
  }
  if (torn_bytes != 0) cut_torn_end(torn_bytes);
  if (!parts.has_open) {
    if (head_.records > first_) {
      tlog::Cut cut{.tree = tree_, .prev = head_.prev, .checkpoint = sign(tree_)};
      value_or_throw(write_file_atomically(tlog::cut_path(log_path(), head_.records), cut.to_text(), 0600, true));
    }
    open_part(head_.records);
  }
}

/// Gives how many bytes stand behind the last record.
std::uint64_t AuditFiles::read_part(const std::string& path, bool open_part, const std::vector<Signed>& must) {
  tlog::LineReader lines(path);
  std::uint64_t good = 0;
  std::optional<Error> fault;
  try {
    for (std::string line; lines.next(line);) {
      tlog::verify_record(head_, line);
      good = lines.offset();
      growth_.append(tree_.append(head_.prev));
      compare(must);
      if (open_part && !part_day_) {
        const auto json = Json::parse(line);
        const Json* ts = json ? json->find("ts") : nullptr;
        const auto time = from_rfc3339(ts != nullptr && ts->is_string() ? ts->as_string() : "");
        part_day_ = day_of(time ? *time : place_.clock());
      }
    }
  } catch (const Error& error) {
    if (error.reason != "chain_broken") throw;
    fault = error;
  }
  if (!open_part) {
    if (fault) throw Error(*fault);
    if (lines.has_partial()) throw not_continued(fmt::format("{} is cut short", path));
    return 0;
  }
  file_ = value_or_throw(open_file(path, O_RDWR | O_APPEND | O_NOFOLLOW, 0600));
  const std::uint64_t size = value_or_throw(file_size(file_.get(), path));
  file_bytes_ = good;
  // What one commit may have left, no more: everything before it was synced.
  if (size - good > kMaxAuditBatchBytes || (fault && good == 0)) {
    throw fault ? Error(*fault) : not_continued(fmt::format("{} ends in something else", path));
  }
  return size - good;
}

/// Only once the log is known to be all that was signed: the record of it would else make up for a missing one.
void AuditFiles::cut_torn_end(std::uint64_t bytes) {
  Bytes dropped(bytes);
  value_or_throw(pread_full(file_.get(), dropped, file_bytes_, log_path()));
  value_or_throw(write_file_atomically(fmt::format("{}/dropped-{}-{}", place_.directory, head_.records, place_.clock()),
                                       as_text(dropped), 0600, true));
  if (ftruncate(file_.get(), static_cast<off_t>(file_bytes_)) != 0) throw error_from_errno(errno, log_path());
  log_.warn("a record that a crash cut short was removed from the audit log", {{"bytes", bytes}});
  value_or_throw(
      record_event(event_record_text(place_.frame, place_.clock(), "end_repaired", {{"dropped_bytes", bytes}})));
}

Result<> AuditFiles::record_event(const std::string& record) {
  AuditBatch batch = begin();
  batch.add(record);
  return commit(batch);
}

void AuditFiles::open_part(std::uint64_t first) {
  file_ = value_or_throw(open_file(log_path(), O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW, 0600));
  file_bytes_ = 0;
  first_ = first;
  part_day_.reset();
}

AuditBatch AuditFiles::begin() {
  must_truncate_ = must_truncate_ || begun_;
  begun_ = false;
  const std::scoped_lock lock(mutex_);
  return {head_, tree_};
}

Result<> AuditFiles::cut_back() {
  if (ftruncate(file_.get(), static_cast<off_t>(file_bytes_)) != 0) {
    return std::unexpected(error_from_errno(errno, log_path()));
  }
  must_truncate_ = false;
  return {};
}

Result<> AuditFiles::taken_back(Result<> failed) {
  begun_ = false;
  must_truncate_ = true;
  (void)cut_back();
  return failed;
}

Result<> AuditFiles::write(AuditBatch& batch) {
  if (must_truncate_) TRY(cut_back());
  auto written = write_full(file_.get(), as_bytes(batch.text_), log_path());
  if (!written) return taken_back(std::move(written));
  begun_ = true;
  batch.written_ += batch.text_.size();
  batch.text_.clear();
  return {};
}

Result<> AuditFiles::commit(AuditBatch& batch) {
  TRY(write(batch));
  // What did not reach the disk is written again: a page whose writing failed is not dirty any more.
  if (fdatasync(file_.get()) != 0) return taken_back(std::unexpected(error_from_errno(errno, log_path())));
  begun_ = false;
  file_bytes_ += batch.written_;
  if (!part_day_) part_day_ = day_of(place_.clock());
  const std::scoped_lock lock(mutex_);
  head_ = batch.head_;
  tree_ = batch.tree_;
  std::span<const tlog::Node> nodes(batch.nodes_);
  for (const std::size_t count : batch.completed_) {
    growth_.append(nodes.first(count));
    if (pending_) pending_->since.append(nodes.first(count));
    nodes = nodes.subspan(count);
  }
  return {};
}

tlog::Note AuditFiles::sign(const tlog::Frontier& tree) const {
  return tlog::sign_checkpoint({.origin = tlog::keyed_origin(key_->public_key(), "audit"),
                                .size = tree.size(),
                                .root = tree.root(),
                                .extensions = {}},
                               *key_);
}

Result<> AuditFiles::checkpoint() {
  if (signed_ == tree_.size()) return {};
  TRY(write_file_atomically(log_path() + ".checkpoint", sign(tree_).to_text(), 0600, true));
  signed_ = tree_.size();
  return {};
}

Result<> AuditFiles::rotate_if_due() {
  if (head_.records == first_) return {};
  const bool other_day = part_day_ && day_of(place_.clock()) > *part_day_;
  if (file_bytes_ < place_.segment_bytes && !other_day) return {};
  const std::scoped_lock names(parts_);
  // Made before the old one goes, so that a full disk stops nothing half way. A crash in between leaves no open part:
  // the next start makes what is missing.
  const std::string next = place_.directory + "/next-part";
  ::unlink(next.c_str());
  Fd file = TRY(open_file(next, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW, 0600));
  const std::string closed = tlog::segment_path(log_path(), first_);
  if (::rename(log_path().c_str(), closed.c_str()) != 0) return std::unexpected(error_from_errno(errno, closed));
  const tlog::Cut cut{.tree = tree_, .prev = head_.prev, .checkpoint = sign(tree_)};
  auto made = write_file_atomically(tlog::cut_path(log_path(), head_.records), cut.to_text(), 0600, true);
  if (made && ::rename(next.c_str(), log_path().c_str()) != 0) {
    made = std::unexpected(error_from_errno(errno, log_path()));
  }
  if (!made) {
    ::unlink(tlog::cut_path(log_path(), head_.records).c_str());
    (void)!::rename(closed.c_str(), log_path().c_str());
    return made;
  }
  file_ = std::move(file);
  file_bytes_ = 0;
  first_ = head_.records;
  part_day_.reset();
  log_.info("audit log part closed", {{"records", head_.records}});
  return {};
}

std::size_t AuditFiles::retire() {
  if (place_.retention_ms == 0) return 0;
  const std::scoped_lock names(parts_);
  const tlog::Segments parts = tlog::list_segments(log_path());
  std::size_t gone = 0;
  for (std::size_t i = 0; i < parts.closed.size(); ++i) {
    const std::uint64_t end = i + 1 < parts.closed.size() ? parts.closed[i + 1] : first_;
    const std::string path = tlog::segment_path(log_path(), parts.closed[i]);
    struct stat status{};
    if (end > countersigned_ || ::stat(path.c_str(), &status) != 0) break;
    if (place_.clock() - std::int64_t{status.st_mtime} * 1000 < place_.retention_ms) break;
    // The part first: a cut without its part is harmless, a part without its cut could not be checked.
    if (::unlink(path.c_str()) != 0) break;
    ::unlink(tlog::cut_path(log_path(), parts.closed[i]).c_str());
    ++gone;
  }
  if (gone != 0) log_.info("old parts of the audit log were deleted", {{"parts", gone}});
  return gone;
}

/// Everything of the origin goes into a folder of its own; its key is not needed any more.
void AuditFiles::set_aside() {
  file_.reset();
  const std::string folder = fmt::format("{}/{}{}", place_.directory, kSetAside, place_.clock());
  bool made = false;
  for (const auto& entry : std::filesystem::directory_iterator(place_.directory)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("audit")) continue;
    if (!made) value_or_throw(make_directories(folder, 0700));
    made = true;
    if (::rename(entry.path().c_str(), (folder + "/" + name).c_str()) != 0) throw error_from_errno(errno, name);
  }
}

void AuditFiles::begin_origin(std::string_view why, std::uint64_t found, std::uint64_t expected) {
  const std::scoped_lock names(parts_);
  const std::string previous = key_ ? tlog::keyed_origin(key_->public_key(), "audit") : "";
  drop_signing_key(place_.state_dir);  // first: whoever finds records and no key goes on here
  set_aside();
  open_part(0);
  {
    const std::scoped_lock lock(mutex_);
    key_ = make_signing_key(place_.state_dir);
    head_ = {};
    tree_ = {};
    growth_ = tlog::Growth(tlog::Frontier());
    pending_.reset();
    witnessed_ = shown_ = false;
  }
  countersigned_ = 0;
  signed_ = 0;
  begun_ = must_truncate_ = false;
  value_or_throw(
      write_file_atomically(place_.directory + "/audit.pub", to_base64url(key_->public_key()) + "\n", 0644, true));
  value_or_throw(record_event(event_record_text(place_.frame, place_.clock(), "origin_begun",
                                                {{"records_found", found}, {"records_signed", expected}},
                                                {{"previous_origin", previous}, {"why", why}})));
}

std::uint64_t AuditFiles::records() const {
  const std::scoped_lock lock(mutex_);
  return head_.records;
}

std::string AuditFiles::origin() const {
  return tlog::keyed_origin(public_key(), "audit");
}

Ed25519PublicKey AuditFiles::public_key() const {
  const std::scoped_lock lock(mutex_);
  return key_->public_key();
}

std::optional<tlog::AddCheckpoint> AuditFiles::to_submit() {
  const std::scoped_lock lock(mutex_);
  if (!pending_) {
    if (shown_ && growth_.begin() == tree_.size()) return std::nullopt;
    pending_.emplace(Pending{.note = sign(tree_),
                             .old_size = growth_.begin(),
                             .proof = growth_.consistency_proof(),
                             .since = tlog::Growth(tree_)});
  }
  return tlog::AddCheckpoint{
      .old_size = pending_->old_size, .consistency = pending_->proof, .checkpoint = pending_->note};
}

AuditFiles::WitnessView AuditFiles::witness_is_at(std::uint64_t size) {
  const std::scoped_lock names(parts_);
  std::uint64_t to = 0;
  {
    const std::scoped_lock lock(mutex_);
    if (size > tree_.size()) return WitnessView::kLogIsShorter;
    if (!pending_ || size == pending_->old_size) return WitnessView::kContradiction;
    if (size > pending_->since.begin()) {  // a later one of ours that it has signed, and whose answer was lost
      pending_.emplace(Pending{.note = sign(tree_), .old_size = size, .proof = {}, .since = tlog::Growth(tree_)});
    }
    to = pending_->since.begin();
    pending_->old_size = size;
    pending_->proof.clear();
  }
  if (size == 0 || size == to) return WitnessView::kContinue;
  std::vector<Digest> proof = proof_from_files(size, to);
  const std::scoped_lock lock(mutex_);
  pending_->proof = std::move(proof);
  return WitnessView::kContinue;
}

std::vector<Digest> AuditFiles::proof_from_files(std::uint64_t from, std::uint64_t to) const {
  const tlog::Segments parts = tlog::list_segments(log_path());
  std::vector<std::uint64_t> firsts = parts.closed;
  firsts.push_back(first_);
  auto at = std::ranges::upper_bound(firsts, from);
  if (at == firsts.begin()) throw Error("file_not_found", "the records that the witness has not seen are not kept");
  --at;
  tlog::Frontier tree = *at == 0 ? tlog::Frontier() : tlog::read_cut(log_path(), *at).tree;
  std::optional<tlog::Growth> growth;
  for (; at != firsts.end() && tree.size() < to; ++at) {
    tlog::LineReader lines(*at == first_ ? log_path() : tlog::segment_path(log_path(), *at));
    if (tree.size() == from) growth.emplace(tree);
    for (std::string line; tree.size() < to && lines.next(line);) {
      const Digest leaf = tlog::leaf_hash(line);
      const std::vector<tlog::Node> completed = tree.append(leaf);
      if (growth) growth->append(completed);
      if (tree.size() == from) growth.emplace(tree);
    }
  }
  if (!growth || growth->end() != to) throw Error("chain_broken", "the log has fewer records than it had");
  return growth->consistency_proof();
}

void AuditFiles::countersigned(const tlog::NoteSignature& signature) {
  const std::scoped_lock names(parts_);  // no new origin begins between what was shown and its file
  tlog::Note note;
  {
    const std::scoped_lock lock(mutex_);
    if (!pending_) return;
    note = pending_->note;
  }
  note.signatures.push_back(signature);
  value_or_throw(write_file_atomically(countersigned_path(), note.to_text(), 0600, true));
  const std::scoped_lock lock(mutex_);
  countersigned_ = pending_->since.begin();
  growth_ = std::move(pending_->since);
  witnessed_ = shown_ = true;
  pending_.reset();
}

}  // namespace tb::sentinel
