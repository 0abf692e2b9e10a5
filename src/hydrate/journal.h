// Which records of an asset stand in its cache file, as bytes on a disk: a head that says whose journal it is, then one
// bit a record. It only saves downloads: whoever reads a record opens it by its tag, so a journal that lies, or that
// came to the disk before its records did, costs a download and nothing else.
//
//   magic "TBJRNL01" | SHA-256 of the manifest, 32 | chunks u64 | chunk_bytes u32 | 12 zero bytes | bits
//
// Record i is bit i % 8, counted from the lowest, of byte i / 8.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/crypto.h"
#include "base/result.h"
#include "tbenc/layout.h"

namespace tb::hydrate {

inline constexpr std::size_t kJournalHeadBytes = 64;

/// Bytes of a whole journal.
std::uint64_t journal_bytes(std::uint64_t chunks);
Bytes journal_head(const Digest& manifest_sha256, const tbenc::Layout& layout);
/// The bits of a whole journal, which must be the one of this manifest and layout: "journal_malformed" otherwise.
Result<std::vector<bool>> parse_journal(ByteView bytes, const Digest& manifest_sha256, const tbenc::Layout& layout);
/// Byte `index` of the bits.
std::uint8_t journal_byte(const std::vector<bool>& present, std::uint64_t index);

}  // namespace tb::hydrate
