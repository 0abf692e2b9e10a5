// A note, a checkpoint, a proof or a request to a witness that is accepted is written the same again, and none verifies
// under a key that did not sign it.
#include "fuzz.h"
#include "tlog/proof.h"
#include "tlog/tile.h"

namespace {

using namespace tb::tlog;

/// What `parse` makes of `text`, written again; nothing if it was refused for one of the reasons that parsers give.
template <typename F>
std::optional<std::string> written_again(std::string_view text, F&& parse) {
  try {
    return parse(text);
  } catch (const tb::Error& error) {
    FUZZ_CHECK(error.reason == "note_malformed" || error.reason == "checkpoint_malformed" ||
               error.reason == "proof_malformed");
    return std::nullopt;
  }
}

void check_same(std::string_view text, const std::optional<std::string>& again) {
  if (again) FUZZ_CHECK(*again == text);
}

void check_unverified(const Note& note) {
  static const tb::Ed25519PublicKey stranger =
      tb::Ed25519PrivateKey(tb::Secret<32>(std::array<std::uint8_t, 32>{7})).public_key();
  for (const auto& signature : note.signatures) {
    const NoteKey known[] = {{.name = signature.name, .type = SignatureType::kEd25519, .key = stranger},
                             {.name = signature.name, .type = SignatureType::kCosignature, .key = stranger}};
    try {
      verify(note, known);
      FUZZ_CHECK(false);
    } catch (const tb::Error& error) {
      FUZZ_CHECK(error.reason == "note_unverified");
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  const std::string_view text = tb::as_text({data, bytes});
  check_same(text, written_again(text, [](std::string_view t) {
               const Note note = Note::parse(t);
               check_unverified(note);
               return note.to_text();
             }));
  check_same(text, written_again(text, [](std::string_view t) { return Checkpoint::parse(t).to_text(); }));
  check_same(text, written_again(text, [](std::string_view t) { return InclusionProof::parse(t).to_text(); }));
  check_same(text, written_again(text, [](std::string_view t) { return AddCheckpoint::parse(t).to_text(); }));
  if (const auto tile = parse_tile_path(text)) FUZZ_CHECK(tile_path(*tile) == text);
  return 0;
}
