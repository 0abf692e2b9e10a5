// A record for every request. A place for it is taken before anything is done, so that what was served is recorded.
#include <algorithm>

#include "base/clock.h"
#include "sentinel/audit.h"
#include "sentinel/proxy/filters.h"

namespace tb::sentinel::proxy {
namespace {

class AuditVisit final : public Visit {
 public:
  AuditVisit(AuditLog& log, AuditEntry& entry, const Exchange& exchange)
      : log_(log), entry_(entry), reserved_(log.reserve()) {
    if (reserved_) hashes_ = log.body_hashes(exchange.request_id);
  }
  ~AuditVisit() override {
    if (reserved_) log_.give_back();
  }

  std::optional<Refusal> on_request(Exchange&) override {
    if (reserved_) return std::nullopt;
    return Refusal{503, "audit_unavailable", "requests cannot be recorded at the moment"};
  }
  void on_request_chunk(Exchange&, ByteView bytes) override {
    if (reserved_) hashes_.first.update(bytes);
  }
  void on_response_chunk(Exchange&, ByteView bytes) override {
    if (reserved_ && log_.hashes_responses()) hashes_.second.update(bytes);
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
    entry.req_sha256 = hashes_.first.finish();
    if (log_.hashes_responses()) entry.resp_sha256 = hashes_.second.finish();
    entry.req_bytes = exchange.request_bytes;
    entry.resp_bytes = exchange.response_bytes;
    entry.status = exchange.status;
    entry.latency_ms = boot_ms_now() - exchange.started_boot_ms;
    entry.outcome = exchange.outcome;
    entry.usage = exchange.usage;
    log_.append(entry);
  }

 private:
  AuditLog& log_;
  AuditEntry& entry_;  ///< all visits', with its memory
  bool reserved_;
  std::pair<BodyHash, BodyHash> hashes_;
};

class AuditFilter final : public Filter {
 public:
  explicit AuditFilter(AuditLog& log) : log_(log) {}
  std::unique_ptr<Visit> visit(const Exchange& exchange) override {
    return std::make_unique<AuditVisit>(log_, entry_, exchange);
  }

 private:
  AuditLog& log_;
  AuditEntry entry_;
};

}  // namespace

std::unique_ptr<Filter> audit_filter(AuditLog& log) {
  return std::make_unique<AuditFilter>(log);
}

}  // namespace tb::sentinel::proxy
