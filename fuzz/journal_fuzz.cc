// A journal that is accepted is written the same again.
#include <algorithm>

#include "fuzz.h"
#include "hydrate/journal.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  using namespace tb::hydrate;
  if (bytes < 1) return 0;
  const tb::Digest digest{};
  const auto layout = tb::value_or_throw(tb::tbenc::Layout::from_plaintext(data[0] * 1024U, 1024));
  // The head is known to the reader: what an attacker of the disk can choose are the bits and the length.
  tb::Bytes whole = journal_head(digest, layout);
  whole.insert(whole.end(), data + 1, data + bytes);
  const auto present = parse_journal(whole, digest, layout);
  if (!present) {
    FUZZ_CHECK(present.error().reason == "journal_malformed");
    return 0;
  }
  FUZZ_CHECK(present->size() == layout.chunk_count());
  for (std::size_t i = kJournalHeadBytes; i < whole.size(); ++i) {
    FUZZ_CHECK(journal_byte(*present, i - kJournalHeadBytes) == whole[i]);
  }
  return 0;
}
