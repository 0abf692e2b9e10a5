#include "sentinel/proxy/filters.h"

#include <map>

#include "base/clock.h"

namespace tb::sentinel::proxy {
namespace {

/// Looked up once: what a request costs here is an atomic addition each.
class RequestMetrics {
 public:
  explicit RequestMetrics(obs::Metrics& metrics)
      : in_flight(metrics.gauge("trustbridge_sentinel_requests_in_flight", "requests under way")),
        request_bytes(metrics.counter("trustbridge_sentinel_request_body_bytes_total", "bytes of request bodies")),
        response_bytes(metrics.counter("trustbridge_sentinel_response_body_bytes_total", "bytes of response bodies")),
        seconds(metrics.histogram("trustbridge_sentinel_request_seconds", "from head to end", obs::latency_buckets())),
        metrics_(metrics) {}

  obs::Counter& requests(int status, Outcome outcome) {
    obs::Counter*& found = by_end_[{status, outcome}];
    if (found == nullptr) {
      found = &metrics_.counter("trustbridge_sentinel_requests_total", "requests by status and outcome",
                                {{"code", std::to_string(status)}, {"outcome", std::string(outcome_name(outcome))}});
    }
    return *found;
  }

  obs::Gauge& in_flight;
  obs::Counter &request_bytes, &response_bytes;
  obs::Histogram& seconds;

 private:
  obs::Metrics& metrics_;
  std::map<std::pair<int, Outcome>, obs::Counter*> by_end_;
};

class MetricsVisit final : public Visit {
 public:
  explicit MetricsVisit(RequestMetrics& metrics) : metrics_(metrics) { metrics_.in_flight.add(1); }
  void on_end(Exchange& exchange) override {
    metrics_.in_flight.add(-1);
    metrics_.requests(exchange.status, exchange.outcome).add();
    metrics_.request_bytes.add(exchange.request_bytes);
    metrics_.response_bytes.add(exchange.response_bytes);
    metrics_.seconds.observe(static_cast<double>(boot_ms_now() - exchange.started_boot_ms) / 1000);
  }

 private:
  RequestMetrics& metrics_;
};

class MetricsFilter final : public Filter {
 public:
  explicit MetricsFilter(obs::Metrics& metrics) : metrics_(metrics) {}
  std::unique_ptr<Visit> visit(const Exchange&) override { return std::make_unique<MetricsVisit>(metrics_); }

 private:
  RequestMetrics metrics_;
};

class GateVisit final : public Visit {
 public:
  explicit GateVisit(const Gate& gate) : gate_(gate) {}
  std::optional<Refusal> on_request(Exchange&) override {
    const Gate::Door door = gate_.door();
    if (door == Gate::Door::kOpen) return std::nullopt;
    return reason_of(door);
  }

 private:
  const Gate& gate_;
};

class GateFilter final : public Filter {
 public:
  explicit GateFilter(const Gate& gate) : gate_(gate) {}
  std::unique_ptr<Visit> visit(const Exchange&) override { return std::make_unique<GateVisit>(gate_); }

 private:
  const Gate& gate_;
};

}  // namespace

Refusal reason_of(Gate::Door door) {
  switch (door) {
    case Gate::Door::kSuspended:
      return {403, "contract_suspended", "the contract does not allow this model to be used now"};
    case Gate::Door::kTraining:
      return {503, "training", "the model is being trained"};
    case Gate::Door::kNotReady:
    case Gate::Door::kOpen:
      break;
  }
  return {503, "not_ready", "the model is not ready yet"};
}

std::unique_ptr<Filter> metrics_filter(obs::Metrics& metrics) {
  return std::make_unique<MetricsFilter>(metrics);
}

std::unique_ptr<Filter> gate_filter(const Gate& gate) {
  return std::make_unique<GateFilter>(gate);
}

}  // namespace tb::sentinel::proxy
