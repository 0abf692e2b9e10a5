#include "tlog/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace tb::tlog {
namespace {

[[noreturn]] void malformed(std::string why) {
  throw Error("checkpoint_malformed", std::move(why));
}

std::string_view take_line(std::string_view& text) {
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos) malformed("the checkpoint is cut short");
  const std::string_view line = text.substr(0, end);
  if (line.empty()) malformed("the checkpoint has an empty line");
  text.remove_prefix(end + 1);
  return line;
}

}  // namespace

std::uint64_t parse_size(std::string_view text, std::string_view what) {
  std::uint64_t value = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = fault == std::errc() && end == text.data() + text.size();
  if (!whole || value >> 63 != 0 || (text.size() > 1 && text.front() == '0')) {
    malformed(fmt::format("{} is not a plain decimal number", what));
  }
  return value;
}

Digest parse_hash(std::string_view text, std::string_view what) {
  const auto bytes = from_base64(text);
  Digest out;
  if (!bytes || bytes->size() != out.size()) malformed(fmt::format("{} is not 32 bytes in base64", what));
  std::ranges::copy(*bytes, out.begin());
  return out;
}

std::string Checkpoint::to_text() const {
  std::string out = fmt::format("{}\n{}\n{}\n", origin, size, to_base64(root));
  for (const auto& line : extensions) out += line + "\n";
  return out;
}

Checkpoint Checkpoint::parse(std::string_view text) {
  Checkpoint out;
  out.origin = take_line(text);
  out.size = parse_size(take_line(text), "the size of the checkpoint");
  out.root = parse_hash(take_line(text), "the root of the checkpoint");
  while (!text.empty()) out.extensions.emplace_back(take_line(text));
  return out;
}

std::string keyed_origin(const Ed25519PublicKey& key, std::string_view log) {
  return fmt::format("trustbridge/{}/{}", to_base64url(sha256(key)), log);
}

Note sign_checkpoint(const Checkpoint& checkpoint, const Ed25519PrivateKey& key) {
  Note note{.text = checkpoint.to_text(), .signatures = {}};
  note.signatures.push_back(sign(key, checkpoint.origin, note.text));
  return note;
}

Checkpoint verified_checkpoint(const Note& note, const Ed25519PublicKey& key) {
  Checkpoint checkpoint = Checkpoint::parse(note.text);
  const NoteKey known[] = {{.name = checkpoint.origin, .type = SignatureType::kEd25519, .key = key}};
  verify(note, known);
  return checkpoint;
}

}  // namespace tb::tlog
