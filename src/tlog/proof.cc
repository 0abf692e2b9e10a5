#include "tlog/proof.h"

#include <fmt/format.h>

#include "tlog/chain.h"

namespace tb::tlog {
namespace {

constexpr std::string_view kProofHead = "c2sp.org/tlog-proof@v1";

[[noreturn]] void malformed(std::string why) {
  throw Error("proof_malformed", std::move(why));
}

std::string_view take_line(std::string_view& text) {
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos) malformed("the proof is cut short");
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end + 1);
  return line;
}

/// Takes the rest of a line that begins with `word` and a space; nothing if it does not.
std::optional<std::string_view> after_word(std::string_view line, std::string_view word) {
  if (!line.starts_with(word) || line.size() <= word.size() || line[word.size()] != ' ') return std::nullopt;
  return line.substr(word.size() + 1);
}

/// Hash lines up to the empty one.
std::vector<Digest> take_hashes(std::string_view& text) {
  std::vector<Digest> out;
  for (std::string_view line = take_line(text); !line.empty(); line = take_line(text)) {
    if (out.size() == kMaxProofHashes) malformed("the proof has too many hashes");
    out.push_back(parse_hash(line, "a hash of the proof"));
  }
  return out;
}

/// A note whose text is a checkpoint.
Note checkpoint_note(std::string_view text) {
  Note note = Note::parse(text);
  Checkpoint::parse(note.text);
  return note;
}

std::string lines_of(const std::vector<Digest>& hashes) {
  std::string out;
  for (const Digest& hash : hashes) out += to_base64(hash) + "\n";
  return out;
}

}  // namespace

std::string InclusionProof::to_text() const {
  std::string out = fmt::format("{}\n", kProofHead);
  if (extra) out += fmt::format("extra {}\n", to_base64(as_bytes(*extra)));
  out += fmt::format("index {}\n{}\n{}", index, lines_of(hashes), checkpoint.to_text());
  return out;
}

InclusionProof InclusionProof::parse(std::string_view text) {
  if (text.size() > kMaxProofBytes) malformed("the proof is too long");
  if (take_line(text) != kProofHead) malformed(fmt::format("the proof does not begin with {}", kProofHead));
  InclusionProof out;
  std::string_view line = take_line(text);
  if (const auto extra = after_word(line, "extra")) {
    const auto bytes = from_base64(*extra);
    if (!bytes) malformed("extra of the proof is not base64");
    out.extra = std::string(as_text(*bytes));
    line = take_line(text);
  }
  const auto index = after_word(line, "index");
  if (!index) malformed("the proof lacks its index");
  out.index = parse_size(*index, "the index of the proof");
  out.hashes = take_hashes(text);
  out.checkpoint = checkpoint_note(text);
  return out;
}

Checkpoint verified_inclusion(const InclusionProof& proof, std::string_view record, const Ed25519PublicKey& key) {
  Checkpoint checkpoint = verified_checkpoint(proof.checkpoint, key);
  if (!verify_inclusion(leaf_hash(record), proof.index, checkpoint.size, proof.hashes, checkpoint.root)) {
    throw Error("proof_mismatch", fmt::format("the record is not number {} of {}", proof.index, checkpoint.origin));
  }
  return checkpoint;
}

std::string AddCheckpoint::to_text() const {
  return fmt::format("old {}\n{}\n{}", old_size, lines_of(consistency), checkpoint.to_text());
}

AddCheckpoint AddCheckpoint::parse(std::string_view text) {
  if (text.size() > kMaxNoteBytes + kMaxProofHashes * 64) malformed("the request is too long");
  AddCheckpoint out;
  const auto size = after_word(take_line(text), "old");
  if (!size) malformed("the request does not begin with the old size");
  out.old_size = parse_size(*size, "the old size");
  out.consistency = take_hashes(text);
  out.checkpoint = checkpoint_note(text);
  return out;
}

}  // namespace tb::tlog
