// The event log of a control plane, checked from outside: what it says now must continue what it said last time.
#include <fmt/format.h>

#include "api/page.h"
#include "base/fs.h"
#include "cli/audit.h"
#include "tlog/chain.h"

namespace tb::cli {
namespace {

std::string get_text(ControlPlane& control_plane, const std::string& path) {
  const auto answer = control_plane.exchange({}, path);
  ControlPlane::require_success(answer);
  return answer.body;
}

tlog::Checkpoint checked(const tlog::Note& note, const Ed25519PublicKey& identity) {
  tlog::Checkpoint checkpoint = tlog::verified_checkpoint(note, identity);
  if (checkpoint.origin != tlog::keyed_origin(identity, "events")) {
    throw Error("proof_mismatch", "the checkpoint is of another log: " + printable(checkpoint.origin));
  }
  return checkpoint;
}

std::optional<tlog::Checkpoint> kept_checkpoint(const std::string& path, const Ed25519PublicKey& identity) {
  auto text = read_small_file(path, tlog::kMaxNoteBytes);
  if (!text && text.error().reason == "file_not_found") return std::nullopt;
  return checked(tlog::Note::parse(value_or_throw(std::move(text))), identity);
}

[[noreturn]] void forked(std::uint64_t old_size, std::string_view how) {
  throw Error("log_forked",
              fmt::format("the event log does not continue the {} records that it had: {}", old_size, how));
}

/// The newest checkpoint, shown to continue the earlier one.
tlog::Note newest(ControlPlane& control_plane, const std::optional<tlog::Checkpoint>& earlier,
                  const Ed25519PublicKey& identity) {
  const std::uint64_t old_size = earlier ? earlier->size : 0;
  const auto answer = control_plane.exchange({}, fmt::format("/api/v1/log/consistency?from={}", old_size));
  if (answer.status == 400 && earlier) forked(old_size, "it has fewer now");
  ControlPlane::require_success(answer);
  const auto proof = tlog::AddCheckpoint::parse(answer.body);
  const tlog::Checkpoint now = checked(proof.checkpoint, identity);
  const Digest old_root = earlier ? earlier->root : tlog::empty_root();
  if (!tlog::verify_consistency(old_size, old_root, now.size, now.root, proof.consistency)) {
    forked(old_size, "no proof leads from them to what it has now");
  }
  return proof.checkpoint;
}

/// Calls `event` with number and line of each event that the token sees, page by page.
void each_event(ControlPlane& control_plane,
                const std::function<void(std::uint64_t seq, const std::string& line)>& event) {
  for (std::string cursor;;) {
    std::string path = fmt::format("/api/v1/events?limit={}", api::kMaxPageItems);
    if (!cursor.empty()) path += "&cursor=" + path_part(cursor);
    const api::Page page = api::Page::parse(get_text(control_plane, path));
    for (const Json& item : page.items) {
      const std::string line = value_or_throw(JsonReader(item, "event").string("line"));
      const Json record = value_or_throw(Json::parse(line));
      const auto seq = value_or_throw(JsonReader(record, "event").integer("seq", 0, std::int64_t{1} << 53));
      event(static_cast<std::uint64_t>(seq), line);
    }
    if (!page.next_cursor) return;
    if (*page.next_cursor == cursor) throw Error("answer_malformed", "the list of events does not end");
    cursor = *page.next_cursor;
  }
}

/// The lines of the whole log, as they come.
class Export {
 public:
  explicit Export(const std::string& path) : path_(path) {
    if (!path.empty()) file_.emplace(value_or_throw(AtomicFile::create(path, 0600, false)));
  }
  void write(const std::string& line) {
    if (file_) value_or_throw(write_full(file_->fd(), as_bytes(line + "\n"), path_));
  }
  void commit(const tlog::Note& checkpoint) {
    if (!file_) return;
    value_or_throw(file_->commit());
    value_or_throw(write_file_atomically(path_ + ".checkpoint", checkpoint.to_text(), 0600, true));
  }

 private:
  std::string path_;
  std::optional<AtomicFile> file_;
};

/// Follows the chain from its first event. A tenant's token sees a part of it only: then each event is proven by
/// itself.
class EventCheck {
 public:
  EventCheck(ControlPlane& control_plane, const Ed25519PublicKey& identity, RemoteVerdict& verdict, Export& to)
      : control_plane_(control_plane), identity_(identity), verdict_(verdict), export_(to) {}

  void add(std::uint64_t seq, const std::string& line) {
    if (seq != head_.records) whole_ = false;
    if (whole_) {
      if (seq >= verdict_.checkpoint.size) return;  // appended since
      tlog::verify_record(head_, line);
      tree_.append(head_.prev);
      export_.write(line);
      if (verdict_.earlier && verdict_.earlier->size == tree_.size() && verdict_.earlier->root != tree_.root()) {
        forked(tree_.size(), "they are others now");
      }
    } else {
      if (seq >= verdict_.checkpoint.size || (verdict_.earlier && seq < verdict_.earlier->size)) return;
      const auto proof = prove_event(control_plane_, identity_, seq);
      if (proof.extra != line)
        throw Error("proof_mismatch", fmt::format("event {} is listed as another one than it is", seq));
    }
    ++verdict_.events;
  }

  void finish() {
    verdict_.whole = whole_ && tree_.size() == verdict_.checkpoint.size;
    if (!verdict_.whole) return;
    if (tree_.root() != verdict_.checkpoint.root) {
      throw Error("log_forked", "the events that are served are not those of the signed checkpoint");
    }
  }

 private:
  ControlPlane& control_plane_;
  const Ed25519PublicKey& identity_;
  RemoteVerdict& verdict_;
  Export& export_;
  tlog::ChainHead head_;
  tlog::Frontier tree_;
  bool whole_ = true;
};

}  // namespace

RemoteVerdict verify_remote(ControlPlane& control_plane, const Ed25519PublicKey& identity, const RemoteLog& log) {
  RemoteVerdict verdict;
  verdict.earlier = kept_checkpoint(log.state_file, identity);
  const tlog::Note note = newest(control_plane, verdict.earlier, identity);
  verdict.checkpoint = tlog::Checkpoint::parse(note.text);
  Export to(log.export_file);
  EventCheck check(control_plane, identity, verdict, to);
  each_event(control_plane, [&](std::uint64_t seq, const std::string& line) { check.add(seq, line); });
  check.finish();
  if (!log.export_file.empty() && !verdict.whole) {
    throw Error("role_denied", "this token does not see the whole log, so there is nothing to export")
        .with_hint("use an operator's token, or that of an auditor of no tenant");
  }
  to.commit(note);
  value_or_throw(write_file_atomically(log.state_file, note.to_text(), 0600, true));
  return verdict;
}

tlog::InclusionProof prove_event(ControlPlane& control_plane, const Ed25519PublicKey& identity, std::uint64_t seq) {
  auto proof = tlog::InclusionProof::parse(get_text(control_plane, fmt::format("/api/v1/events/{}/proof", seq)));
  if (!proof.extra || proof.index != seq)
    throw Error("answer_malformed", "the proof is not of the event that was asked for");
  tlog::verified_inclusion(proof, *proof.extra, identity);
  checked(proof.checkpoint, identity);
  return proof;
}

}  // namespace tb::cli
