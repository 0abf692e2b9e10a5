#include "sentinel/runtime/counters.h"

#include <array>
#include <cstdlib>

#include "sentinel/runtime/probe.h"

namespace tb::sentinel::runtime {
namespace {

constexpr std::array<std::string_view, 4> kNames = {"vllm:prompt_tokens_total", "vllm:generation_tokens_total",
                                                    "llamacpp:prompt_tokens_total", "llamacpp:tokens_predicted_total"};
constexpr std::size_t kMostBytes = std::size_t{4} << 20;
constexpr std::int64_t kTimeoutMs = 5'000;
constexpr double kMostTokens = 1e15;

/// The value of one line of a series of ours; nothing for another line.
std::optional<double> value_of(std::string_view line) {
  for (const auto name : kNames) {
    if (!line.starts_with(name)) continue;
    std::string_view rest = line.substr(name.size());
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
  return std::nullopt;
}

}  // namespace

std::optional<std::int64_t> runtime_tokens(std::string_view prometheus_text) {
  std::optional<std::int64_t> sum;
  while (!prometheus_text.empty()) {
    const std::string_view line = prometheus_text.substr(0, prometheus_text.find('\n'));
    prometheus_text.remove_prefix(std::min(line.size() + 1, prometheus_text.size()));
    if (const auto value = value_of(line)) sum = sum.value_or(0) + static_cast<std::int64_t>(*value);
  }
  return sum;
}

TokenDrift::TokenDrift(obs::Metrics& metrics, std::function<std::int64_t()> billed, std::int64_t every_ms)
    : drift_(metrics.gauge("trustbridge_sentinel_metering_drift_tokens",
                           "tokens that the runtime counted beyond those that were billed")),
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
  const std::int64_t billed = billed_();
  // A counter that went back is another process's: what it had counted before is not known.
  if (last_runtime_ && *tokens >= *last_runtime_) sum_ += (*tokens - *last_runtime_) - (billed - last_billed_);
  last_runtime_ = tokens;
  last_billed_ = billed;
  drift_.set(static_cast<double>(sum_));
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
