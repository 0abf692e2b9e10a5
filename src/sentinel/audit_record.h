// One audit record (wire 2.5): what is known of a request when it ends, the digest of its bodies, and its line of JSON.
//
// A line is written without a JSON tree: every request pays for it. What a client chose (path, model) is cut to a
// length and to printable characters, so that it can neither break a line nor speak to the terminal of who reads it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/hmac.h"
#include "meter/token_usage.h"

namespace tb::sentinel {

/// No record is longer, whatever the client sent.
inline constexpr std::size_t kMaxAuditRecordBytes = 8192;

/// Digest of one body as it passes: HMAC-SHA256 under HMAC(K, request_id), or plain SHA-256 (the kept form).
class BodyHash {
 public:
  explicit BodyHash(const HmacKey& request_key) : keyed_(request_key) {}
  BodyHash() : plain_(Sha256()) {}
  void update(ByteView bytes) { keyed_ ? keyed_->update(bytes) : plain_->update(bytes); }
  /// Once.
  Digest finish() { return keyed_ ? keyed_->finish() : plain_->finish(); }

 private:
  std::optional<HmacSha256> keyed_;
  std::optional<Sha256> plain_;
};

enum class Outcome { kComplete, kAborted, kRefused, kUpstreamError };
std::string_view outcome_name(Outcome outcome);

/// Of a path, in a record.
inline constexpr std::size_t kMaxAuditPathBytes = 1024;

struct AuditEntry {
  UnixMs time = 0;  ///< of the request's end
  std::string request_id, subject;
  std::string method, path;  ///< as sent; without the query
  std::string model;         ///< as the client asked for it; may be empty
  Digest req_sha256{};
  std::optional<Digest> resp_sha256;  ///< of what was really sent
  std::uint64_t req_bytes = 0, resp_bytes = 0;
  int status = 0;  ///< 0: the client left before an answer
  std::int64_t latency_ms = 0;
  Outcome outcome = Outcome::kRefused;
  std::optional<meter::TokenUsage> usage;
};

/// What is the same in all records of a log.
struct AuditFrame {
  std::string contract_id, asset_id;
  bool keyed = true;
};

/// Writes records of one log. Those of one millisecond have their beginning in common.
class AuditRecordWriter {
 public:
  /// Appends the record as a JSON object without its closing brace: the log adds `seq` and `prev`.
  void append(std::string& out, const AuditFrame& frame, const AuditEntry& entry);

 private:
  UnixMs time_ = -1;
  std::string beginning_;
};

/// The same for what happened to the log itself (`event`): `{"ts":…,"contract_id":…,"asset_id":…,"event":…,` and
/// `numbers`.
std::string event_record_text(const AuditFrame& frame, UnixMs time, std::string_view event,
                              std::initializer_list<std::pair<std::string_view, std::uint64_t>> numbers,
                              std::initializer_list<std::pair<std::string_view, std::string_view>> words = {});

}  // namespace tb::sentinel
