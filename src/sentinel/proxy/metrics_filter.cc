// A series is looked up (under a lock, by its labels) once in the life of the process; a request adds to what is
// already found.
#include "sentinel/proxy/metrics_filter.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <vector>

#include "sentinel/proxy/allowed_paths.h"

namespace tb::sentinel::proxy {
namespace {

using SteadyClock = std::chrono::steady_clock;

double seconds_between(SteadyClock::time_point from, SteadyClock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

// Bounds that the conventions advise.
const std::vector<double> kTokenBounds{1,     4,     16,     64,      256,     1024,     4096,
                                       16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864};
const std::vector<double> kDurationBounds{0.01, 0.02, 0.04, 0.08,  0.16,  0.32,  0.64,
                                          1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92};
const std::vector<double> kFirstTokenBounds{0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1,
                                            0.25,  0.5,   0.75, 1.0,  2.5,  5.0,  7.5,  10.0};
const std::vector<double> kPerTokenBounds{0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5};

constexpr std::size_t kCodes = 600;
constexpr std::size_t kOutcomes = 4;
constexpr std::size_t kClientLeft = 1;  ///< no status of HTTP

std::size_t code_index(int status) {
  return status >= 100 && status < static_cast<int>(kCodes) ? static_cast<std::size_t>(status) : 0;
}

/// All series, each made at its first use. On the proxy's loop only.
class Series {
 public:
  Series(obs::Metrics& metrics, std::string model)
      : metrics_(metrics),
        model_(std::move(model)),
        in_flight(metrics.gauge("trustbridge_sentinel_requests_in_flight", "requests under way")),
        request_bytes(metrics.counter("trustbridge_sentinel_request_body_bytes_total", "bytes of request bodies")),
        response_bytes(metrics.counter("trustbridge_sentinel_response_body_bytes_total", "bytes of response bodies")),
        request_seconds(
            metrics.histogram("trustbridge_sentinel_request_seconds", "from head to end", obs::latency_buckets())),
        first_byte_seconds(metrics.histogram("trustbridge_sentinel_first_byte_seconds",
                                             "from the request's head to the first byte of the answer's body",
                                             obs::latency_buckets())) {
    // A rate wants to see a series before its first event.
    requests(200, Outcome::kComplete);
    duration(Operation::kChat, 200);
    tokens(Operation::kChat, true);
    tokens(Operation::kChat, false);
    first_token(Operation::kChat);
    per_token(Operation::kChat);
  }

  obs::Counter& requests(int status, Outcome outcome) {
    obs::Counter*& counter = requests_[code_index(status) * kOutcomes + static_cast<std::size_t>(outcome)];
    if (counter == nullptr) {
      counter = &metrics_.counter("trustbridge_sentinel_requests_total", "requests by status and outcome",
                                  {{"code", std::to_string(status)}, {"outcome", std::string(outcome_name(outcome))}});
    }
    return *counter;
  }

  obs::Histogram& duration(Operation operation, int status) {
    const std::size_t error = status == 0 ? kClientLeft : status < 400 ? 0 : code_index(status);
    obs::Histogram*& series = duration_[static_cast<std::size_t>(operation) * kCodes + error];
    if (series == nullptr) {
      obs::Labels labels = labels_of(operation);
      labels.emplace_back("error_type", error == 0 ? "" : status == 0 ? "client_left" : std::to_string(status));
      series = &metrics_.histogram("gen_ai_server_request_duration_seconds", "of requests to the model",
                                   kDurationBounds, labels);
    }
    return *series;
  }

  obs::Histogram& tokens(Operation operation, bool input) {
    obs::Histogram*& series = tokens_[static_cast<std::size_t>(operation) * 2 + (input ? 0 : 1)];
    if (series == nullptr) {
      obs::Labels labels = labels_of(operation);
      labels.emplace_back("gen_ai_token_type", input ? "input" : "output");
      series = &metrics_.histogram("gen_ai_client_token_usage", "tokens of a request, as they are metered",
                                   kTokenBounds, labels);
    }
    return *series;
  }

  obs::Histogram& first_token(Operation operation) {
    return of(first_token_, operation, "gen_ai_server_time_to_first_token_seconds",
              "of streamed answers: to the first event", kFirstTokenBounds);
  }
  obs::Histogram& per_token(Operation operation) {
    return of(per_token_, operation, "gen_ai_server_time_per_output_token_seconds",
              "of streamed answers: after the first event, for each token", kPerTokenBounds);
  }

 private:
  using ByOperation = std::array<obs::Histogram*, kOperations>;
  obs::Labels labels_of(Operation operation) const {
    return {{"gen_ai_operation_name", std::string(operation_name(operation))},
            {"gen_ai_provider_name", "trustbridge"},
            {"gen_ai_request_model", model_}};
  }
  obs::Histogram& of(ByOperation& all, Operation operation, const char* name, const char* help,
                     const std::vector<double>& bounds) {
    obs::Histogram*& series = all[static_cast<std::size_t>(operation)];
    if (series == nullptr) series = &metrics_.histogram(name, help, bounds, labels_of(operation));
    return *series;
  }

  obs::Metrics& metrics_;
  std::string model_;

 public:
  obs::Gauge& in_flight;
  obs::Counter& request_bytes;
  obs::Counter& response_bytes;
  obs::Histogram& request_seconds;
  obs::Histogram& first_byte_seconds;

 private:
  std::vector<obs::Counter*> requests_ = std::vector<obs::Counter*>(kCodes * kOutcomes);
  std::vector<obs::Histogram*> duration_ = std::vector<obs::Histogram*>(kOperations * kCodes);
  std::array<obs::Histogram*, kOperations * 2> tokens_{};
  ByOperation first_token_{}, per_token_{};
};

class MetricsVisit final : public Visit {
 public:
  explicit MetricsVisit(Series& series) : series_(series) { series_.in_flight.add(1); }

  BodyTransform* response_transform(Exchange&, ResponseHead& head) override {
    const Field* type = find_field(head.fields, "content-type");
    streamed_ = type != nullptr && equal_fold(std::string_view(type->value).substr(0, 17), "text/event-stream");
    return nullptr;
  }
  void on_response_chunk(Exchange&, ByteView) override {
    last_chunk_ = SteadyClock::now();
    if (first_chunk_ == SteadyClock::time_point()) first_chunk_ = last_chunk_;
  }

  void on_end(Exchange& exchange) override {
    const auto now = SteadyClock::now();
    const bool has_chunk = first_chunk_ != SteadyClock::time_point();
    series_.in_flight.add(-1);
    series_.requests(exchange.status, exchange.outcome).add();
    series_.request_bytes.add(exchange.request_bytes);
    series_.response_bytes.add(exchange.response_bytes);
    series_.request_seconds.observe(seconds_between(began_, now));
    if (has_chunk) series_.first_byte_seconds.observe(seconds_between(began_, first_chunk_));
    if (exchange.outcome == Outcome::kRefused) return;  // it never came to the model
    const Route* route = find_route(exchange.request.method, exchange.request.target);
    if (route == nullptr || route->operation == Operation::kDescribe) return;
    const Operation operation = route->operation;
    series_.duration(operation, exchange.status).observe(seconds_between(began_, now));
    if (exchange.usage) {
      series_.tokens(operation, true).observe(static_cast<double>(exchange.usage->input_tokens));
      series_.tokens(operation, false).observe(static_cast<double>(exchange.usage->output_tokens));
    }
    if (!streamed_ || !has_chunk || exchange.status != 200) return;
    series_.first_token(operation).observe(seconds_between(began_, first_chunk_));
    if (exchange.usage && exchange.usage->output_tokens > 1) {
      series_.per_token(operation).observe(seconds_between(first_chunk_, last_chunk_) /
                                           static_cast<double>(exchange.usage->output_tokens - 1));
    }
  }

 private:
  Series& series_;
  SteadyClock::time_point began_ = SteadyClock::now();
  SteadyClock::time_point first_chunk_, last_chunk_;
  bool streamed_ = false;
};

class MetricsFilter final : public Filter {
 public:
  MetricsFilter(obs::Metrics& metrics, std::string model) : series_(metrics, std::move(model)) {}
  std::unique_ptr<Visit> visit(const Exchange&) override { return std::make_unique<MetricsVisit>(series_); }

 private:
  Series series_;
};

}  // namespace

std::unique_ptr<Filter> metrics_filter(obs::Metrics& metrics, std::string served_model_name) {
  return std::make_unique<MetricsFilter>(metrics, std::move(served_model_name));
}

}  // namespace tb::sentinel::proxy
