#include "sentinel/proxy/fault_log_filter.h"

#include <algorithm>

#include "base/clock.h"
#include "sentinel/proxy/allowed_paths.h"

namespace tb::sentinel::proxy {
namespace {

constexpr int kLinesASecond = 10;

/// What all visits share. On the proxy's loop only.
class FaultLog {
 public:
  explicit FaultLog(obs::Log log) : log_(std::move(log)) {}

  void note(const Exchange& exchange) {
    const std::int64_t now = boot_ms_now();
    if (now - second_began_ms_ >= 1000) {
      if (left_out_ > 0) log_.warn("more requests failed than are logged", {{"left_out", std::to_string(left_out_)}});
      second_began_ms_ = now;
      lines_ = left_out_ = 0;
    }
    if (lines_ == kLinesASecond) {
      ++left_out_;
      return;
    }
    ++lines_;
    const Route* route = find_route(exchange.request.method, exchange.request.target);
    const Field* trace = find_field(exchange.request.fields, "traceparent");
    log_.warn(exchange.outcome == Outcome::kUpstreamError ? "the runtime failed in a request"
                                                          : "a request was answered by a server error",
              {{"request_id", exchange.request_id},
               {"trace_id", std::string(trace == nullptr ? "" : trace_id_of(trace->value))},
               {"subject", exchange.subject},
               {"path", std::string(route == nullptr ? "" : route->pattern)},
               {"status", std::to_string(exchange.status)},
               {"outcome", std::string(outcome_name(exchange.outcome))},
               {"ms", std::to_string(now - exchange.started_boot_ms)}});
  }

 private:
  obs::Log log_;
  std::int64_t second_began_ms_ = -1000;
  int lines_ = 0, left_out_ = 0;
};

class FaultLogVisit final : public Visit {
 public:
  explicit FaultLogVisit(FaultLog& log) : log_(log) {}
  void on_end(Exchange& exchange) override {
    const bool answered = exchange.status >= 500 && exchange.outcome != Outcome::kRefused;
    if (answered || exchange.outcome == Outcome::kUpstreamError) log_.note(exchange);
  }

 private:
  FaultLog& log_;
};

class FaultLogFilter final : public Filter {
 public:
  explicit FaultLogFilter(obs::Log log) : log_(std::move(log)) {}
  std::unique_ptr<Visit> visit(const Exchange&) override { return std::make_unique<FaultLogVisit>(log_); }

 private:
  FaultLog log_;
};

}  // namespace

std::string_view trace_id_of(std::string_view traceparent) {
  constexpr std::size_t kBegin = 3;
  constexpr std::size_t kHex = 32;
  if (traceparent.size() < kBegin + kHex + 1 || traceparent[2] != '-' || traceparent[kBegin + kHex] != '-') return {};
  const std::string_view id = traceparent.substr(kBegin, kHex);
  const bool hex = std::ranges::all_of(id, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
  const bool zero = std::ranges::all_of(id, [](char c) { return c == '0'; });
  return hex && !zero ? id : std::string_view();
}

std::unique_ptr<Filter> fault_log_filter(obs::Log log) {
  return std::make_unique<FaultLogFilter>(std::move(log));
}

}  // namespace tb::sentinel::proxy
