// A hash chain of log records: the control plane's event log and the sentinel's audit log are both one.
//
// A record is one line of JSON. Its `seq` counts from 0 and its `prev` is the RFC 6962 leaf hash of the line before
// (SHA-256 of 0x00 ‖ the line without its newline), 32 zero bytes for the first. So a record cannot be changed, dropped
// or put elsewhere without all later ones showing it; a cut at the end is seen only by who remembers the head.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/crypto.h"
#include "base/json.h"

namespace tb::tlog {

/// SHA-256(0x00 ‖ line); `line` has no newline. RFC 6962 2.1.
Digest leaf_hash(std::string_view line);

/// Where a chain ends: what the next record needs.
struct ChainHead {
  std::uint64_t records = 0;  ///< also the next `seq`
  Digest prev{};              ///< leaf hash of the last line; zeros for none
  bool operator==(const ChainHead&) const = default;
};

/// The next line, without newline: `record` (an object without `seq` and `prev`; else "internal") with the two added
/// at its end as `seq` and lower-hex `prev`. Moves `head` on.
std::string append_record(ChainHead& head, Json record);

/// The same for a record that is text already: `text` from `from` on is an object with a member or more, without its
/// closing brace; `seq`, `prev` and the brace are appended.
void close_record(ChainHead& head, std::string& text, std::size_t from);

/// Checks one line against `head` and moves it on. Throws "chain_broken": not a strict JSON object of at most 1 MiB,
/// `seq` or `prev` missing or not what the chain says. The message names the record's number, not its content.
void verify_record(ChainHead& head, std::string_view line);

/// verify_record over all lines of `text` (each ended by a newline); returns the head at the end. "chain_broken" also
/// for a last line without newline.
ChainHead verify_lines(std::string_view text);

}  // namespace tb::tlog
