// The audit log (wire 2.5): one JSON line for each request, refused ones too, hash-chained by tlog.
//
// A record is written by one write(2) before the connection goes on to its next request, so a crash of the sentinel
// loses none that was written; a crash of the machine loses what the kernel had not yet put on the disk. A line that
// was cut short by a crash is dropped at the next start. When a record cannot be written, writable() is false and the
// proxy serves nobody.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/fs.h"
#include "base/hmac.h"
#include "base/secret.h"
#include "tlog/chain.h"

namespace tb::sentinel {

/// Digest of one body as it passes: HMAC-SHA256 under HMAC(K, request_id), or plain SHA-256 (the kept form).
class BodyHash {
 public:
  explicit BodyHash(const Digest* request_key);
  void update(ByteView bytes);
  /// Lower hex; once.
  std::string finish();
  std::uint64_t bytes() const { return bytes_; }

 private:
  std::optional<HmacSha256> keyed_;
  std::optional<Sha256> plain_;
  std::uint64_t bytes_ = 0;
};

enum class Outcome { kComplete, kAborted, kRefused, kUpstreamError };
std::string_view outcome_name(Outcome outcome);

struct AuditEntry {
  std::string request_id, subject;
  std::string method, path;  ///< as sent; without the query
  std::string req_sha256, resp_sha256;
  std::uint64_t req_bytes = 0, resp_bytes = 0;
  int status = 0;
  std::int64_t latency_ms = 0;
  Outcome outcome = Outcome::kRefused;
};

struct AuditOptions {
  std::string directory;  ///< made 0700
  std::string state_dir;  ///< of the key file `audit-key`
  std::string contract_id, asset_id;
  bool keyed = true;
  bool hash_responses = true;
  Clock clock = unix_ms_now;
};

class AuditLog {
 public:
  /// Opens `<directory>/audit.jsonl` and takes up its chain. Throws "output_exists" if another
  /// process writes it, "chain_broken" if its last line is no record, and what the file system says.
  explicit AuditLog(AuditOptions options);

  /// Writes one record; false if it could not be written. Thread-safe.
  bool append(const AuditEntry& entry);
  bool writable() const { return writable_; }
  /// For the request's body; responses get one only if hashes_responses().
  BodyHash body_hash(std::string_view request_id) const;
  bool hashes_responses() const { return options_.hash_responses; }
  std::uint64_t records() const;

 private:
  void take_up();

  AuditOptions options_;
  std::optional<Secret<32>> key_;
  Fd file_;
  mutable std::mutex mutex_;
  std::uint64_t file_bytes_ = 0;
  tlog::ChainHead head_;
  std::atomic<bool> writable_ = true;
};

}  // namespace tb::sentinel
