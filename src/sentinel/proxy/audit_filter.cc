// A record for every request. A place for it is taken before anything is done, so that what was served is recorded.
#include <algorithm>
#include <array>
#include <cstdint>

#include "base/clock.h"
#include "sentinel/audit.h"
#include "sentinel/proxy/filters.h"

namespace tb::sentinel::proxy {
namespace {

/// A body as it passes. A short one is kept: the log's writer hashes many at once, for less than one here.
class PassingBody {
 public:
  PassingBody() {}  // NOLINT: most of `text_` is never written
  void take(ByteView bytes, const AuditLog& log, std::string_view request_id) {
    if (!hash_ && bytes.size() <= text_.size() - held_) {
      std::ranges::copy(bytes, text_.begin() + static_cast<std::ptrdiff_t>(held_));
      held_ += bytes.size();
      return;
    }
    if (!hash_) hash_.emplace(log.body_hash(request_id)).update(text());
    hash_->update(bytes);
  }
  bool is_kept() const { return !hash_; }
  ByteView text() const { return ByteView(text_).first(held_); }
  /// Of one that was not kept; once.
  Digest digest() { return hash_->finish(); }

 private:
  static constexpr std::size_t kMostKept = 4096;
  std::size_t held_ = 0;
  std::optional<BodyHash> hash_;
  std::array<std::uint8_t, kMostKept> text_;
};

class AuditVisit final : public Visit {
 public:
  AuditVisit(AuditLog& log, AuditEntry& entry) : log_(log), entry_(entry), reserved_(log.reserve()) {}
  ~AuditVisit() override {
    if (reserved_) log_.give_back();
  }

  std::optional<Refusal> on_request(Exchange&) override {
    if (reserved_) return std::nullopt;
    return Refusal{503, "audit_unavailable", "requests cannot be recorded at the moment"};
  }
  void on_request_chunk(Exchange& exchange, ByteView bytes) override {
    if (reserved_) request_.take(bytes, log_, exchange.request_id);
  }
  void on_response_chunk(Exchange& exchange, ByteView bytes) override {
    if (reserved_ && log_.hashes_responses()) response_.take(bytes, log_, exchange.request_id);
  }
  void on_end(Exchange& exchange) override {
    if (!reserved_) return log_.count_unrecorded();
    reserved_ = false;
    AuditEntry& entry = entry_;
    entry.request_id = exchange.request_id;
    entry.subject = exchange.subject;
    entry.method = exchange.request.method;
    const std::string_view target = exchange.request.target;
    entry.path = target.substr(0, std::min(target.find('?'), kMaxAuditPathBytes));
    entry.model = exchange.model;
    UnhashedBodies bodies;
    if (request_.is_kept()) {
      bodies.request = request_.text();
    } else {
      entry.req_sha256 = request_.digest();
    }
    if (log_.hashes_responses() && response_.is_kept()) {
      bodies.response = response_.text();
    } else if (log_.hashes_responses()) {
      entry.resp_sha256 = response_.digest();
    }
    entry.req_bytes = exchange.request_bytes;
    entry.resp_bytes = exchange.response_bytes;
    entry.status = exchange.status;
    entry.latency_ms = boot_ms_now() - exchange.started_boot_ms;
    entry.outcome = exchange.outcome;
    entry.usage = exchange.usage;
    log_.append(entry, bodies);
  }

 private:
  AuditLog& log_;
  AuditEntry& entry_;  ///< all visits', with its memory
  bool reserved_;
  PassingBody request_, response_;
};

class AuditFilter final : public Filter {
 public:
  explicit AuditFilter(AuditLog& log) : log_(log) {}
  std::unique_ptr<Visit> visit(const Exchange&) override { return std::make_unique<AuditVisit>(log_, entry_); }
  void after_round() override { log_.advance(); }

 private:
  AuditLog& log_;
  AuditEntry entry_;
};

}  // namespace

std::unique_ptr<Filter> audit_filter(AuditLog& log) {
  return std::make_unique<AuditFilter>(log);
}

}  // namespace tb::sentinel::proxy
