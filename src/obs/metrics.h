// Counters, gauges and histograms, and their Prometheus text (exposition format 0.0.4). Updating one is an atomic
// operation; looking one up takes a lock, so keep the reference, which lives as long as its Metrics.
// Labels are bounded: a family holds at most kMaxSeries label sets, further ones share one set whose values are
// "other".
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tb::obs {

inline constexpr std::size_t kMaxSeries = 200;

/// Label name and value pairs, in the order in which they are printed.
using Labels = std::vector<std::pair<std::string, std::string>>;

/// Only grows.
class Counter {
 public:
  void add(std::uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

/// A value of now.
class Gauge {
 public:
  void set(double v) { value_.store(v, std::memory_order_relaxed); }
  void add(double v) { value_.fetch_add(v, std::memory_order_relaxed); }
  double value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_{0};
};

/// Counts of observations by upper bound, their number and their sum.
class Histogram {
 public:
  explicit Histogram(std::vector<double> upper_bounds);
  void observe(double v);
  std::uint64_t count() const;
  double sum() const { return sum_.load(std::memory_order_relaxed); }
  const std::vector<double>& upper_bounds() const { return bounds_; }
  /// Observations at or below upper_bounds()[i], not cumulated over i; i == size() is the rest.
  std::uint64_t bucket(std::size_t i) const { return buckets_[i].load(std::memory_order_relaxed); }

 private:
  std::vector<double> bounds_;
  std::vector<std::atomic<std::uint64_t>> buckets_;
  std::atomic<double> sum_{0};
};

/// Seconds, from 1 ms to 60 s.
const std::vector<double>& latency_buckets();

class Metrics {
 public:
  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  /// The series of `name` and `labels`, made at first use. A name is of one kind and one set of label names: anything
  /// else throws "internal", as does a name outside [a-zA-Z_:][a-zA-Z0-9_:]*.
  Counter& counter(std::string_view name, std::string_view help, const Labels& labels = {});
  Gauge& gauge(std::string_view name, std::string_view help, const Labels& labels = {});
  Histogram& histogram(std::string_view name, std::string_view help, const std::vector<double>& upper_bounds,
                       const Labels& labels = {});

  /// All families, by name.
  std::string prometheus_text() const;

 private:
  struct Family;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tb::obs
