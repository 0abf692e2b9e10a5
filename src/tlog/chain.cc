// Appending and checking, one line at a time.
#include "tlog/chain.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace tb::tlog {
namespace {

constexpr std::size_t kMaxLineBytes = std::size_t{1} << 20;

[[noreturn]] void broken(std::uint64_t seq, std::string_view why) {
  throw Error("chain_broken", fmt::format("record {} {}", seq, why));
}

}  // namespace

Digest leaf_hash(std::string_view line) {
  constexpr std::uint8_t kLeaf = 0;
  Sha256 hash;
  hash.update({&kLeaf, 1});
  hash.update(as_bytes(line));
  return hash.finish();
}

std::string append_record(ChainHead& head, Json record) {
  if (!record.is_object() || record.find("seq") != nullptr || record.find("prev") != nullptr) {
    throw Error("internal", "a chain record is an object without seq and prev");
  }
  record.set("seq", head.records);
  record.set("prev", to_hex(head.prev));
  std::string line = record.dump();
  head.prev = leaf_hash(line);
  ++head.records;
  return line;
}

void close_record(ChainHead& head, std::string& text, std::size_t from) {
  constexpr std::string_view kSeq = ",\"seq\":", kPrev = ",\"prev\":\"", kEnd = "\"}";
  constexpr std::size_t kMost = kSeq.size() + 20 + kPrev.size() + 2 * std::tuple_size_v<Digest> + kEnd.size();
  const std::size_t before = text.size();
  text.resize_and_overwrite(before + kMost, [&](char* out, std::size_t) {
    char* at = std::ranges::copy(kSeq, out + before).out;
    at = std::to_chars(at, at + 20, head.records).ptr;
    at = std::ranges::copy(kPrev, at).out;
    at = put_hex(head.prev, at);
    return static_cast<std::size_t>(std::ranges::copy(kEnd, at).out - out);
  });
  head.prev = leaf_hash(std::string_view(text).substr(from));
  ++head.records;
}

void verify_record(ChainHead& head, std::string_view line) {
  const auto record = Json::parse(line, {.bytes = kMaxLineBytes});
  if (!record || !record->is_object()) broken(head.records, "is not a strict JSON object");
  const Json* seq = record->find("seq");
  if (seq == nullptr || !seq->is_integer() || seq->as_integer() < 0 ||
      static_cast<std::uint64_t>(seq->as_integer()) != head.records) {
    broken(head.records, "does not carry its number: records are missing, repeated or out of order");
  }
  const Json* prev = record->find("prev");
  if (prev == nullptr || !prev->is_string() || prev->as_string() != to_hex(head.prev)) {
    broken(head.records, "does not carry the hash of the record before it");
  }
  head.prev = leaf_hash(line);
  ++head.records;
}

ChainHead verify_lines(std::string_view text) {
  ChainHead head;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) broken(head.records, "is cut short");
    verify_record(head, text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  return head;
}

}  // namespace tb::tlog
