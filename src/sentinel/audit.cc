#include "sentinel/audit.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>

#include "base/json.h"
#include "base/result.h"
#include "deliver/wipe.h"

namespace tb::sentinel {
namespace {

constexpr std::size_t kMaxLineBytes = 16 * 1024;
constexpr std::size_t kMaxPathBytes = 1024;

/// What a client sent may hold anything; a record is printable.
std::string printable(std::string_view text) {
  std::string out(text.substr(0, kMaxPathBytes));
  std::ranges::replace_if(out, [](char c) { return c < 0x20 || c >= 0x7f; }, '?');
  return out;
}

Secret<32> read_or_make_key(const std::string& path) {
  auto stored = read_secret_file(path);
  if (stored) {
    const Bytes raw = value_or_throw(from_hex(std::string_view(stored->reveal()).substr(0, 64)));
    if (raw.size() != 32) throw Error("config_invalid", fmt::format("{} is no audit key", path));
    return Secret<32>(std::span<const std::uint8_t, 32>(raw.data(), 32));
  }
  if (stored.error().reason != "file_not_found") throw stored.error();
  FileKey key = random_key();
  const SecretString text(to_hex(key.reveal()) + "\n");
  value_or_throw(write_file_atomically(path, text.reveal(), 0600, false));
  return key;
}

}  // namespace

BodyHash::BodyHash(const Digest* request_key) {
  if (request_key != nullptr) {
    keyed_.emplace(*request_key);
  } else {
    plain_.emplace();
  }
}

void BodyHash::update(ByteView bytes) {
  bytes_ += bytes.size();
  if (keyed_) keyed_->update(bytes);
  if (plain_) plain_->update(bytes);
}

std::string BodyHash::finish() {
  return to_hex(keyed_ ? keyed_->finish() : plain_->finish());
}

std::string_view outcome_name(Outcome outcome) {
  switch (outcome) {
    case Outcome::kComplete:
      return "complete";
    case Outcome::kAborted:
      return "aborted";
    case Outcome::kRefused:
      return "refused";
    case Outcome::kUpstreamError:
      return "upstream_error";
  }
  return "";
}

AuditLog::AuditLog(AuditOptions options) : options_(std::move(options)) {
  value_or_throw(deliver::open_owned_dir(options_.directory, 0700));
  if (options_.keyed) key_ = read_or_make_key(options_.state_dir + "/audit-key");
  const std::string path = options_.directory + "/audit.jsonl";
  file_ = value_or_throw(open_file(path, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW, 0600));
  if (flock(file_.get(), LOCK_EX | LOCK_NB) != 0) {
    throw Error("output_exists", fmt::format("another process writes {}", path))
        .with_hint("give each sentinel its own TB_AUDIT_DIR");
  }
  take_up();
}

void AuditLog::take_up() {
  file_bytes_ = value_or_throw(file_size(file_.get(), "audit log"));
  const std::uint64_t tail_bytes = std::min<std::uint64_t>(file_bytes_, 2 * kMaxLineBytes);
  Bytes raw(tail_bytes);
  value_or_throw(pread_full(file_.get(), raw, file_bytes_ - tail_bytes, "audit log"));
  std::string_view tail = as_text(raw);
  const std::size_t end = tail.rfind('\n');
  const std::size_t whole = end == std::string_view::npos ? 0 : end + 1;
  if (whole == 0 && file_bytes_ > tail_bytes) throw Error("chain_broken", "the audit log does not end in a record");
  if (whole < tail.size()) {
    file_bytes_ -= tail.size() - whole;
    if (ftruncate(file_.get(), static_cast<off_t>(file_bytes_)) != 0) throw error_from_errno(errno, "audit log");
    tail = tail.substr(0, whole);
  }
  if (tail.empty()) return;
  tail.remove_suffix(1);
  const std::size_t before = tail.rfind('\n');
  const std::string_view line = before == std::string_view::npos ? tail : tail.substr(before + 1);
  const auto json = Json::parse(line);
  const Json* seq = json ? json->find("seq") : nullptr;
  if (seq == nullptr || !seq->is_integer() || seq->as_integer() < 0) {
    throw Error("chain_broken", "the last line of the audit log is no record");
  }
  head_.records = static_cast<std::uint64_t>(seq->as_integer()) + 1;
  head_.prev = tlog::leaf_hash(line);
}

bool AuditLog::append(const AuditEntry& entry) {
  Json record = Json::object();
  record.set("ts", to_rfc3339(options_.clock(), true));
  record.set("contract_id", options_.contract_id);
  record.set("asset_id", options_.asset_id);
  record.set("method", printable(entry.method));
  record.set("path", printable(entry.path));
  record.set("req_sha256", entry.req_sha256);
  record.set("status", entry.status);
  record.set("latency_ms", entry.latency_ms);
  record.set("request_id", entry.request_id);
  record.set("subject", entry.subject);
  if (options_.hash_responses) record.set("resp_sha256", entry.resp_sha256);
  record.set("hash_alg", options_.keyed ? "HMAC-SHA256" : "SHA-256");
  record.set("req_bytes", entry.req_bytes);
  record.set("resp_bytes", entry.resp_bytes);
  record.set("outcome", outcome_name(entry.outcome));

  const std::scoped_lock lock(mutex_);
  tlog::ChainHead next = head_;
  const std::string line = tlog::append_record(next, std::move(record)) + "\n";
  if (!write_full(file_.get(), as_bytes(line), "audit log")) {
    writable_ = false;
    (void)!ftruncate(file_.get(),
                     static_cast<off_t>(file_bytes_));  // no half line may stay, so that the next one can follow
    return false;
  }
  file_bytes_ += line.size();
  head_ = next;
  writable_ = true;
  return true;
}

BodyHash AuditLog::body_hash(std::string_view request_id) const {
  if (!key_) return BodyHash(nullptr);
  const Digest request_key = hmac_sha256(key_->reveal(), as_bytes(request_id));
  return BodyHash(&request_key);
}

std::uint64_t AuditLog::records() const {
  const std::scoped_lock lock(mutex_);
  return head_.records;
}

}  // namespace tb::sentinel
