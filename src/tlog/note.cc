#include "tlog/note.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace tb::tlog {
namespace {

constexpr std::string_view kDash = "\xe2\x80\x94 ";  // U+2014 and a space
constexpr std::size_t kIdBytes = 4;
constexpr std::size_t kTimeBytes = 8;
constexpr std::size_t kMaxNameBytes = 512;

[[noreturn]] void malformed(std::string why) {
  throw Error("note_malformed", std::move(why));
}

/// Unicode's White_Space outside ASCII, as UTF-8; U+2000 to U+200A apart.
constexpr std::array<std::string_view, 8> kSpaces = {"\xc2\x85",     "\xc2\xa0",     "\xe1\x9a\x80", "\xe2\x80\xa8",
                                                     "\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80"};

bool has_unicode_space(std::string_view text) {
  for (const std::string_view space : kSpaces) {
    if (text.find(space) != std::string_view::npos) return true;
  }
  for (std::size_t at = text.find("\xe2\x80"); at != std::string_view::npos; at = text.find("\xe2\x80", at + 1)) {
    if (at + 2 < text.size() && static_cast<unsigned char>(text[at + 2]) <= 0x8a) return true;
  }
  return false;
}

bool printable_text(std::string_view text) {
  return is_utf8(text) &&
         std::ranges::none_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 && c != '\n'; });
}

std::string cosigned_text(std::string_view text, std::uint64_t time_seconds) {
  return fmt::format("cosignature/v1\ntime {}\n{}", time_seconds, text);
}

/// A known key's signature: its time (0 for a plain one) if it verifies.
std::optional<std::uint64_t> verified_time(const NoteKey& key, std::string_view text, ByteView bytes) {
  if (key.type == SignatureType::kEd25519) {
    if (!ed25519_verify(key.key, as_bytes(text), bytes)) return std::nullopt;
    return 0;
  }
  if (bytes.size() != kTimeBytes + Ed25519Signature().size()) return std::nullopt;
  const std::uint64_t time_seconds = load_be64(bytes.data());
  if (time_seconds >> 63 != 0) return std::nullopt;
  const std::string message = cosigned_text(text, time_seconds);
  if (!ed25519_verify(key.key, as_bytes(message), bytes.subspan(kTimeBytes))) return std::nullopt;
  return time_seconds;
}

NoteSignature signature_of_line(std::string_view line) {
  if (!line.starts_with(kDash)) malformed("a signature line of the note does not begin with a dash");
  line.remove_prefix(kDash.size());
  const std::size_t space = line.find(' ');
  if (space == std::string_view::npos) malformed("a signature line of the note lacks its signature");
  NoteSignature out;
  out.name = line.substr(0, space);
  if (!valid_key_name(out.name)) malformed("a key name of the note is not one");
  const auto bytes = from_base64(line.substr(space + 1));
  if (!bytes || bytes->size() <= kIdBytes) malformed("a signature of the note is not base64 of a key id and more");
  out.key_id = load_be32(bytes->data());
  out.bytes.assign(bytes->begin() + kIdBytes, bytes->end());
  return out;
}

void check_signable(const std::string& name, std::string_view text) {
  if (!valid_key_name(name) || text.empty() || text.back() != '\n' || !printable_text(text)) {
    throw Error("internal", "a note cannot be signed under this name, or holds what no note may");
  }
}

}  // namespace

std::uint32_t NoteKey::id() const {
  Sha256 hash;
  const std::array<std::uint8_t, 2> middle = {'\n', static_cast<std::uint8_t>(type)};
  hash.update(as_bytes(name));
  hash.update(middle);
  hash.update(key);
  return load_be32(hash.finish().data());
}

bool valid_key_name(std::string_view name) {
  if (name.empty() || name.size() > kMaxNameBytes || !is_utf8(name) || has_unicode_space(name)) return false;
  return std::ranges::none_of(name,
                              [](char c) { return static_cast<unsigned char>(c) <= 0x20 || c == '+' || c == 0x7f; });
}

std::string NoteSignature::to_line() const {
  Bytes whole(kIdBytes);
  store_be32(whole.data(), key_id);
  whole.insert(whole.end(), bytes.begin(), bytes.end());
  return fmt::format("{}{} {}\n", kDash, name, to_base64(whole));
}

std::vector<NoteSignature> parse_signature_lines(std::string_view lines) {
  std::vector<NoteSignature> out;
  if (lines.size() > kMaxNoteBytes) malformed("the note is too long");
  if (!printable_text(lines)) malformed("the note holds control characters or is not UTF-8");
  while (!lines.empty()) {
    const std::size_t end = lines.find('\n');
    if (end == std::string_view::npos) malformed("the last line of the note is cut short");
    if (out.size() == kMaxNoteSignatures) malformed("the note has too many signatures");
    out.push_back(signature_of_line(lines.substr(0, end)));
    lines.remove_prefix(end + 1);
  }
  if (out.empty()) malformed("the note has no signature");
  return out;
}

Note Note::parse(std::string_view note) {
  if (note.size() > kMaxNoteBytes) malformed("the note is too long");
  // The text may hold empty lines: the last one of the note ends it.
  const std::size_t blank = note.rfind("\n\n");
  if (blank == std::string_view::npos) malformed("the note has no empty line before its signatures");
  Note out;
  out.text = note.substr(0, blank + 1);
  if (!printable_text(out.text)) malformed("the note holds control characters or is not UTF-8");
  out.signatures = parse_signature_lines(note.substr(blank + 2));
  return out;
}

std::string Note::to_text() const {
  std::string out = text + "\n";
  for (const auto& signature : signatures) out += signature.to_line();
  return out;
}

std::vector<Verified> verify(const Note& note, std::span<const NoteKey> known) {
  std::vector<Verified> out;
  for (const auto& signature : note.signatures) {
    for (const auto& key : known) {
      if (key.name != signature.name || key.id() != signature.key_id) continue;
      const auto time_seconds = verified_time(key, note.text, signature.bytes);
      if (!time_seconds) {
        throw Error("note_unverified", fmt::format("the signature by {} does not verify", signature.name));
      }
      out.push_back({.key = key, .time_seconds = *time_seconds});
    }
  }
  if (out.empty()) throw Error("note_unverified", "no signature is by a key that is known");
  return out;
}

NoteSignature sign(const Ed25519PrivateKey& key, const std::string& name, std::string_view text) {
  check_signable(name, text);
  const Ed25519Signature signature = key.sign(as_bytes(text));
  const NoteKey own{.name = name, .type = SignatureType::kEd25519, .key = key.public_key()};
  return {.name = name, .key_id = own.id(), .bytes = Bytes(signature.begin(), signature.end())};
}

NoteSignature cosign(const Ed25519PrivateKey& key, const std::string& name, std::string_view text,
                     std::uint64_t time_seconds) {
  check_signable(name, text);
  const Ed25519Signature signature = key.sign(as_bytes(cosigned_text(text, time_seconds)));
  const NoteKey own{.name = name, .type = SignatureType::kCosignature, .key = key.public_key()};
  Bytes bytes(kTimeBytes);
  store_be64(bytes.data(), time_seconds);
  bytes.insert(bytes.end(), signature.begin(), signature.end());
  return {.name = name, .key_id = own.id(), .bytes = std::move(bytes)};
}

}  // namespace tb::tlog
