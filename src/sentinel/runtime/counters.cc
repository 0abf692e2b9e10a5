#include "sentinel/runtime/counters.h"

#include <array>
#include <cstdlib>

#include "sentinel/runtime/probe.h"

namespace tb::sentinel::runtime {
namespace {

using meter::TokenCounts;

struct Series {
  std::string_view name;
  std::int64_t TokenCounts::* sum;
};
constexpr std::array<Series, 4> kSeries = {{{"vllm:prompt_tokens_total", &TokenCounts::input},
                                            {"vllm:generation_tokens_total", &TokenCounts::output},
                                            {"llamacpp:prompt_tokens_total", &TokenCounts::input},
                                            {"llamacpp:tokens_predicted_total", &TokenCounts::output}}};
constexpr std::size_t kMostBytes = std::size_t{4} << 20;
constexpr std::int64_t kTimeoutMs = 5'000;
constexpr double kMostTokens = 1e15;

/// The value of a line, past the name of its series; nothing for one of another name.
std::optional<double> value_of(std::string_view rest) {
  if (rest.starts_with('{')) {
    const std::size_t end = rest.rfind('}');
    if (end == std::string_view::npos) return std::nullopt;
    rest.remove_prefix(end + 1);
  }
  if (!rest.starts_with(' ')) return std::nullopt;
  const std::string text(rest.substr(1));
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (end == text.c_str() || !(value >= 0 && value <= kMostTokens)) return std::nullopt;
  return value;
}

obs::Gauge& drift_gauge(obs::Metrics& metrics, const char* direction) {
  return metrics.gauge("trustbridge_sentinel_metering_drift_tokens",
                       "tokens that the runtime counted beyond those that were billed", {{"direction", direction}});
}

}  // namespace

std::optional<TokenCounts> runtime_tokens(std::string_view prometheus_text) {
  std::optional<TokenCounts> sums;
  while (!prometheus_text.empty()) {
    const std::string_view line = prometheus_text.substr(0, prometheus_text.find('\n'));
    prometheus_text.remove_prefix(std::min(line.size() + 1, prometheus_text.size()));
    for (const auto& [name, sum] : kSeries) {
      const auto value = line.starts_with(name) ? value_of(line.substr(name.size())) : std::nullopt;
      if (!value) continue;
      if (!sums) sums.emplace();
      (*sums).*sum += static_cast<std::int64_t>(*value);
    }
  }
  return sums;
}

TokenDrift::TokenDrift(obs::Metrics& metrics, std::function<TokenCounts()> billed, std::int64_t every_ms)
    : input_(drift_gauge(metrics, "input")),
      output_(drift_gauge(metrics, "output")),
      seen_(metrics.gauge("trustbridge_sentinel_runtime_counts_tokens", "1: the runtime shows counters of its own")),
      billed_(std::move(billed)),
      every_ms_(every_ms),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

void TokenDrift::watch(std::optional<Channel> channel) {
  const std::scoped_lock lock(mutex_);
  channel_ = std::move(channel);
}

void TokenDrift::look(const Channel& channel) {
  const auto answer = ask_runtime(channel, "/metrics", kTimeoutMs, kMostBytes);
  const auto tokens = answer && answer->status == 200 ? runtime_tokens(answer->body) : std::nullopt;
  seen_.set(tokens ? 1 : 0);
  if (!tokens) return;
  const TokenCounts billed = billed_();
  // A counter that went back is another process's: what it had counted before is not known.
  if (last_runtime_ && tokens->input >= last_runtime_->input && tokens->output >= last_runtime_->output) {
    sum_.input += (tokens->input - last_runtime_->input) - (billed.input - last_billed_.input);
    sum_.output += (tokens->output - last_runtime_->output) - (billed.output - last_billed_.output);
  }
  last_runtime_ = tokens;
  last_billed_ = billed;
  input_.set(static_cast<double>(sum_.input));
  output_.set(static_cast<double>(sum_.output));
}

void TokenDrift::run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    std::optional<Channel> channel;
    {
      std::unique_lock lock(mutex_);
      channel = channel_;
    }
    if (channel) look(*channel);
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, stop, std::chrono::milliseconds(every_ms_), [] { return false; });
  }
}

}  // namespace tb::sentinel::runtime
