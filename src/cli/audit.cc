#include "cli/audit.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <filesystem>
#include <fstream>
#include <map>
#include <thread>

#include "base/fs.h"
#include "cli/interrupt.h"
#include "cli/key_file.h"
#include "tlog/chain.h"

namespace tb::cli {
namespace {

constexpr std::size_t kMaxLineBytes = std::size_t{1} << 20;

/// The lines of a file, one at a time, each at most 1 MiB and ended by a newline.
class Lines {
 public:
  explicit Lines(const std::string& path) : path_(path), fd_(value_or_throw(open_file(path, O_RDONLY))) {}

  /// False at the end. `partial` is what stands there without a newline.
  bool next(std::string& line) {
    for (;;) {
      if (const std::size_t end = buffer_.find('\n', at_); end != std::string::npos) {
        line = buffer_.substr(at_, end - at_);
        at_ = end + 1;
        ++number_;
        return true;
      }
      buffer_.erase(0, at_);
      at_ = 0;
      if (buffer_.size() > kMaxLineBytes) {
        throw Error("chain_broken", fmt::format("{} line {} is longer than a record may be", path_, number_ + 1));
      }
      Bytes piece(std::size_t{256} << 10);
      const std::size_t bytes = value_or_throw(read_full(fd_.get(), piece, path_));
      buffer_.append(as_text(ByteView(piece).first(bytes)));
      if (bytes == 0) return false;
    }
  }
  bool has_partial() const { return at_ < buffer_.size(); }
  /// Of the line that next() gave last, from 1.
  std::uint64_t number() const { return number_; }

 private:
  std::string path_;
  Fd fd_;
  std::string buffer_;
  std::size_t at_ = 0;
  std::uint64_t number_ = 0;
};

/// Calls `leaf` with the hash of each record, once it has been found to continue the chain.
tlog::ChainHead read_chain(const std::string& path, const std::function<void(const Digest&)>& leaf) {
  Lines lines(path);
  tlog::ChainHead head;
  for (std::string line; lines.next(line);) {
    throw_if_interrupted();
    try {
      tlog::verify_record(head, line);
    } catch (const Error& error) {
      throw Error(error.reason, fmt::format("{} line {}: {}", path, lines.number(), error.message));
    }
    leaf(head.prev);
  }
  if (lines.has_partial()) {
    throw Error("chain_broken",
                fmt::format("{} line {}: record {} is cut short", path, lines.number() + 1, head.records));
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
      out.cosigned_seconds = tlog::verify(note, known).front().time_seconds;
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
  tlog::Frontier tree;
  const auto compare_here = [&] {
    const auto [begin, end] = by_size.equal_range(tree.size());
    for (auto at = begin; at != end; ++at) compare(out.checkpoints[at->second], tree);
  };
  compare_here();
  const tlog::ChainHead head = read_chain(log.path, [&](const Digest& leaf) {
    tree.append(leaf);
    compare_here();
  });
  for (const auto& verdict : out.checkpoints) {
    if (verdict.checkpoint.size > head.records) {
      throw Error("log_forked", fmt::format("{}: {} records were signed, the log has {}: its end was cut off",
                                            verdict.name, verdict.checkpoint.size, head.records));
    }
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
  std::vector<Digest> leaves;
  std::string record;
  Lines lines(log.path);
  for (std::string line; leaves.size() < checkpoint.size && lines.next(line);) {
    if (leaves.size() == seq) record = line;
    leaves.push_back(tlog::leaf_hash(line));
  }
  const tlog::NodeReader read = [&](unsigned height, std::uint64_t index) {
    tlog::Frontier part;
    for (std::uint64_t i = index << height; i < (index + 1) << height; ++i) part.append(leaves.at(i));
    return part.root();
  };
  return {.extra = record,
          .index = seq,
          .hashes = tlog::inclusion_proof(seq, checkpoint.size, read),
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
  Lines log(path);
  std::deque<std::string> last;
  for (std::string line; log.next(line);) {
    last.push_back(std::move(line));
    if (last.size() > lines) last.pop_front();
  }
  for (const auto& line : last) write(line);
  while (follow) {
    throw_if_interrupted();
    for (std::string line; log.next(line);) write(line);
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
}

std::string record_text(std::string_view line) {
  const auto record = Json::parse(line, {.bytes = kMaxLineBytes});
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
