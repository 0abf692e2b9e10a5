#include "hydrate/journal.h"

#include <algorithm>

namespace tb::hydrate {
namespace {
constexpr std::string_view kMagic = "TBJRNL01";
constexpr std::size_t kDigestAt = 8, kChunksAt = 40, kChunkBytesAt = 48;
}  // namespace

std::uint64_t journal_bytes(std::uint64_t chunks) {
  return kJournalHeadBytes + chunks / 8 + (chunks % 8 != 0 ? 1 : 0);
}

Bytes journal_head(const Digest& manifest_sha256, const tbenc::Layout& layout) {
  Bytes head(kJournalHeadBytes);
  std::ranges::copy(as_bytes(kMagic), head.begin());
  std::ranges::copy(manifest_sha256, head.begin() + kDigestAt);
  store_be64(&head[kChunksAt], layout.chunk_count());
  store_be32(&head[kChunkBytesAt], layout.chunk_bytes());
  return head;
}

Result<std::vector<bool>> parse_journal(ByteView bytes, const Digest& manifest_sha256, const tbenc::Layout& layout) {
  const std::uint64_t chunks = layout.chunk_count();
  if (bytes.size() != journal_bytes(chunks)) return fail("journal_malformed", "the journal has another length");
  if (!std::ranges::equal(bytes.first(kJournalHeadBytes), journal_head(manifest_sha256, layout))) {
    return fail("journal_malformed", "the journal is another asset's, or none");
  }
  const ByteView bits = bytes.subspan(kJournalHeadBytes);
  if (chunks % 8 != 0 && (bits.back() >> (chunks % 8)) != 0) {
    return fail("journal_malformed", "the journal names records that do not exist");
  }
  std::vector<bool> present(static_cast<std::size_t>(chunks));
  for (std::size_t i = 0; i < present.size(); ++i) present[i] = ((bits[i / 8] >> (i % 8)) & 1) != 0;
  return present;
}

std::uint8_t journal_byte(const std::vector<bool>& present, std::uint64_t index) {
  unsigned byte = 0;
  for (std::uint64_t bit = 0; bit < 8 && index * 8 + bit < present.size(); ++bit) {
    if (present[index * 8 + bit]) byte |= 1U << bit;
  }
  return static_cast<std::uint8_t>(byte);
}

}  // namespace tb::hydrate
