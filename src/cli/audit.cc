#include "cli/audit.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <filesystem>
#include <map>
#include <thread>

#include "base/fs.h"
#include "cli/interrupt.h"
#include "cli/key_file.h"
#include "tlog/growth.h"
#include "tlog/segments.h"

namespace tb::cli {
namespace {

/// A log of one file or of several: where it begins, and its files in order.
struct Parts {
  tlog::Cut cut;  ///< before the first record; of no records where nothing is gone
  bool is_cut = false;
  std::vector<std::string> paths;
};

Parts parts_of(const LogFile& log) {
  const tlog::Segments found = tlog::list_segments(log.path);
  Parts out;
  for (const std::uint64_t first : found.closed) out.paths.push_back(tlog::segment_path(log.path, first));
  if (found.has_open || found.closed.empty()) out.paths.push_back(log.path);
  std::uint64_t first = 0;
  if (!found.closed.empty()) {
    first = found.closed.front();
  } else if (!found.cuts.empty()) {
    first = found.cuts.back();
  }
  if (first > 0) {
    out.cut = tlog::read_cut(log.path, first);
    out.is_cut = true;
    if (!log.key_file.empty()) tlog::verified_checkpoint(out.cut.checkpoint, read_public_key(log.key_file));
  }
  return out;
}

/// Calls `leaf` with the hash of each record and its line, once it has been found to continue the chain.
tlog::ChainHead read_chain(const Parts& parts, const std::function<void(const Digest&, const std::string&)>& leaf) {
  tlog::ChainHead head = parts.cut.head();
  for (const std::string& path : parts.paths) {
    tlog::LineReader lines(path);
    for (std::string line; lines.next(line);) {
      throw_if_interrupted();
      try {
        tlog::verify_record(head, line);
      } catch (const Error& error) {
        throw Error(error.reason, fmt::format("{} line {}: {}", path, lines.number(), error.message));
      }
      leaf(head.prev, line);
    }
    if (lines.has_partial()) {
      throw Error("chain_broken",
                  fmt::format("{} line {}: record {} is cut short", path, lines.number() + 1, head.records));
    }
  }
  return head;
}

std::vector<std::string> checkpoint_files(const LogFile& log) {
  if (!log.checkpoints.empty()) return log.checkpoints;
  const std::filesystem::path path(log.path);
  const auto folder = path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
  std::vector<std::string> out;
  std::error_code fault;
  for (const auto& entry : std::filesystem::directory_iterator(folder, fault)) {
    if (entry.path().filename().string().starts_with(path.filename().string() + ".checkpoint") &&
        entry.is_regular_file(fault)) {
      out.push_back(entry.path().string());
    }
  }
  std::ranges::sort(out);
  return out;
}

tlog::Note read_note(const std::string& path) {
  return tlog::Note::parse(value_or_throw(read_small_file(path, tlog::kMaxNoteBytes)));
}

template <typename F>
auto naming(const std::string& path, F&& action) {
  try {
    return action();
  } catch (const Error& error) {
    throw Error(error.reason, fmt::format("{}: {}", path, error.message));
  }
}

CheckpointVerdict read_checkpoint(const std::string& path, const LogFile& log) {
  return naming(path, [&] {
    const tlog::Note note = read_note(path);
    CheckpointVerdict out{.name = path, .checkpoint = {}};
    if (log.key_file.empty()) {
      out.checkpoint = tlog::Checkpoint::parse(note.text);
    } else {
      out.checkpoint = tlog::verified_checkpoint(note, read_public_key(log.key_file));
      out.signed_by_key = true;
    }
    if (!log.witness_key_file.empty()) {
      const Ed25519PublicKey key = read_public_key(log.witness_key_file);
      const tlog::NoteKey known[] = {
          {.name = tlog::keyed_origin(key, "witness"), .type = tlog::SignatureType::kCosignature, .key = key}};
      // The newest of a log that runs is not countersigned yet; a signature in that name that does not hold is refused.
      const bool is_named =
          std::ranges::any_of(note.signatures, [&](const auto& s) { return s.key_id == known[0].id(); });
      if (is_named) out.cosigned_seconds = tlog::verify(note, known).front().time_seconds;
    }
    return out;
  });
}

void compare(const CheckpointVerdict& verdict, const tlog::Frontier& tree) {
  if (verdict.checkpoint.size != tree.size() || verdict.checkpoint.root == tree.root()) return;
  throw Error("log_forked",
              fmt::format("{}: the first {} records are not those that were signed", verdict.name, tree.size()));
}

}  // namespace

LogVerdict verify_log(const LogFile& log) {
  LogVerdict out;
  std::multimap<std::uint64_t, std::size_t> by_size;
  for (const auto& path : checkpoint_files(log)) {
    by_size.emplace(out.checkpoints.emplace_back(read_checkpoint(path, log)).checkpoint.size,
                    out.checkpoints.size() - 1);
  }
  const Parts parts = parts_of(log);
  tlog::Frontier tree = parts.cut.tree;
  out.first = tree.size();
  const auto compare_here = [&] {
    const auto [begin, end] = by_size.equal_range(tree.size());
    for (auto at = begin; at != end; ++at) compare(out.checkpoints[at->second], tree);
  };
  compare_here();
  const tlog::ChainHead head = read_chain(parts, [&](const Digest& leaf, const std::string&) {
    tree.append(leaf);
    compare_here();
  });
  bool covers_cut = !parts.is_cut;
  for (const auto& verdict : out.checkpoints) {
    if (verdict.checkpoint.size > head.records) {
      throw Error("log_forked", fmt::format("{}: {} records were signed, the log has {}: its end was cut off",
                                            verdict.name, verdict.checkpoint.size, head.records));
    }
    covers_cut = covers_cut || verdict.checkpoint.size >= out.first;
    if (verdict.cosigned_seconds) {
      out.cosigned_records = std::max(out.cosigned_records.value_or(0), verdict.checkpoint.size);
    }
  }
  if (!covers_cut) throw Error("log_forked", "records before the first are gone, and no checkpoint covers them");
  if (!log.witness_key_file.empty() && !out.cosigned_records) {
    throw Error("note_unverified", "no checkpoint of this log is countersigned by that witness");
  }
  out.records = head.records;
  out.head = to_hex(head.prev);
  out.root = to_hex(tree.root());
  return out;
}

tlog::InclusionProof prove_record(const LogFile& log, std::uint64_t seq) {
  const auto files = checkpoint_files(log);
  if (files.empty()) throw Error("usage", "there is no checkpoint beside the log").with_hint("give --checkpoint FILE");
  std::optional<CheckpointVerdict> newest;
  for (const auto& path : files) {
    auto verdict = read_checkpoint(path, log);
    if (!newest || verdict.checkpoint.size > newest->checkpoint.size) newest = std::move(verdict);
  }
  const tlog::Checkpoint& checkpoint = newest->checkpoint;
  if (seq >= checkpoint.size) {
    throw Error("usage",
                fmt::format("{} is of {} records, so it has no record {}", newest->name, checkpoint.size, seq));
  }
  verify_log({.path = log.path, .checkpoints = {newest->name}, .key_file = log.key_file});
  const Parts parts = parts_of(log);
  const std::uint64_t first = parts.cut.tree.size();
  if (seq < first) throw Error("usage", fmt::format("the records before {} were deleted", first));
  std::vector<Digest> leaves;
  std::string record;
  read_chain(parts, [&](const Digest& leaf, const std::string& line) {
    const std::uint64_t number = first + leaves.size();
    if (number >= checkpoint.size) return;
    if (number == seq) record = line;
    leaves.push_back(leaf);
  });
  return {.extra = record,
          .index = seq,
          .hashes = tlog::inclusion_proof(seq, checkpoint.size, tlog::nodes_after(parts.cut.tree, leaves)),
          .checkpoint = read_note(newest->name)};
}

ProvenRecord verify_proof(const std::string& path, const std::string& key_file) {
  return naming(path, [&] {
    const auto proof = tlog::InclusionProof::parse(value_or_throw(read_small_file(path, tlog::kMaxProofBytes)));
    if (!proof.extra) throw Error("proof_malformed", "the proof does not carry its record");
    return ProvenRecord{.line = *proof.extra,
                        .index = proof.index,
                        .checkpoint = tlog::verified_inclusion(proof, *proof.extra, read_public_key(key_file))};
  });
}

void tail_log(const std::string& path, std::uint64_t lines, bool follow,
              const std::function<void(std::string_view line)>& write) {
  std::deque<std::string> last;
  const auto keep = [&](std::string line) {
    last.push_back(std::move(line));
    if (last.size() > lines) last.pop_front();
  };
  const tlog::Segments parts = tlog::list_segments(path);
  if (!parts.closed.empty()) {  // the open part may have just begun
    tlog::LineReader before(tlog::segment_path(path, parts.closed.back()));
    for (std::string line; before.next(line);) keep(std::move(line));
  }
  std::optional<tlog::LineReader> log(path);
  for (std::string line; log->next(line);) keep(std::move(line));
  for (const auto& line : last) write(line);
  while (follow) {
    throw_if_interrupted();
    const bool closed = log->is_replaced();
    for (std::string line; log->next(line);) write(line);
    if (closed && std::filesystem::exists(path)) {
      log.emplace(path);
      continue;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
}

std::string record_text(std::string_view line) {
  const auto record = Json::parse(line, {.bytes = tlog::kMaxRecordBytes});
  if (!record || !record->is_object()) return "(no record) " + printable(line);
  std::string out;
  for (const auto& [name, value] : record->as_object()) {
    if (name == "prev" || name == "hash_alg" || name.ends_with("_sha256") || value.is_null()) continue;
    const std::string text = printable(value.is_string() ? value.as_string() : value.dump());
    if (text.empty() || text == "{}") continue;
    out += (out.empty() ? "" : " ") + (name == "ts" ? text : printable(name) + "=" + text);
  }
  return out;
}

}  // namespace tb::cli
