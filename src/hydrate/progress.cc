#include "hydrate/progress.h"

namespace tb::hydrate {
namespace {
constexpr std::int64_t kWindowMs = 10'000;
constexpr std::int64_t kStepMs = 500;
}  // namespace

void Meter::start(std::uint64_t total) {
  const std::lock_guard lock(mutex_);
  total_ = total;
  bytes_ = from_cache_ = retries_ = cache_faults_ = 0;
  samples_ = {{now_(), 0}};
}

void Meter::add(std::uint64_t bytes, bool from_cache) {
  const std::lock_guard lock(mutex_);
  bytes_ += bytes;
  if (from_cache) from_cache_ += bytes;
  const std::int64_t now = now_();
  if (samples_.empty() || now - samples_.back().at_ms >= kStepMs) samples_.push_back({now, bytes_});
  while (samples_.size() > 2 && now - samples_.front().at_ms > kWindowMs) samples_.pop_front();
}

void Meter::retried() {
  const std::lock_guard lock(mutex_);
  ++retries_;
}

void Meter::cache_failed() {
  const std::lock_guard lock(mutex_);
  ++cache_faults_;
}

Progress Meter::snapshot() const {
  const std::lock_guard lock(mutex_);
  Progress p{.bytes = bytes_,
             .total = total_,
             .from_cache_bytes = from_cache_,
             .retries = retries_,
             .cache_faults = cache_faults_};
  if (samples_.empty()) return p;
  const std::int64_t elapsed_ms = now_() - samples_.front().at_ms;
  if (elapsed_ms <= 0 || bytes_ == samples_.front().bytes) return p;
  p.bytes_per_second = static_cast<double>(bytes_ - samples_.front().bytes) * 1000 / static_cast<double>(elapsed_ms);
  if (bytes_ <= total_) p.eta_seconds = static_cast<double>(total_ - bytes_) / p.bytes_per_second;
  return p;
}

}  // namespace tb::hydrate
