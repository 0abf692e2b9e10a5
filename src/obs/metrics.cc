#include "obs/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <mutex>

#include "base/error.h"

namespace tb::obs {

namespace {

bool is_name(std::string_view text, bool colon_allowed) {
  const auto ok = [&](char c, bool first) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (colon_allowed && c == ':') ||
           (!first && c >= '0' && c <= '9');
  };
  if (text.empty() || !ok(text[0], true)) return false;
  return std::all_of(text.begin(), text.end(), [&](char c) { return ok(c, false); });
}

std::string escaped(std::string_view text, bool quotes) {
  std::string out;
  for (const char c : text) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '"' && quotes) {
      out += "\\\"";
    } else {
      out += c;
    }
  }
  return out;
}

std::string label_text(const Labels& labels) {
  std::string out;
  for (const auto& [name, value] : labels) {
    out += fmt::format("{}{}=\"{}\"", out.empty() ? "" : ",", name, escaped(value, true));
  }
  return out;
}

std::string braced(const std::string& labels) {
  return labels.empty() ? "" : "{" + labels + "}";
}

}  // namespace

Histogram::Histogram(std::vector<double> upper_bounds)
    : bounds_(std::move(upper_bounds)), buckets_(bounds_.size() + 1) {}

void Histogram::observe(double v) {
  const auto at = std::lower_bound(bounds_.begin(), bounds_.end(), v) - bounds_.begin();
  buckets_[static_cast<std::size_t>(at)].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(v, std::memory_order_relaxed);
}

std::uint64_t Histogram::count() const {
  std::uint64_t total = 0;
  for (const auto& bucket : buckets_) total += bucket.load(std::memory_order_relaxed);
  return total;
}

const std::vector<double>& latency_buckets() {
  static const std::vector<double> kBuckets{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                            0.5,   1,      2.5,   5,    10,    30,   60};
  return kBuckets;
}

struct Metrics::Family {
  enum class Kind { kCounter, kGauge, kHistogram };
  Kind kind = Kind::kCounter;
  std::string help;
  std::vector<std::string> label_names;
  std::vector<double> bounds;
  std::map<std::string, std::unique_ptr<Counter>> counters;
  std::map<std::string, std::unique_ptr<Gauge>> gauges;
  std::map<std::string, std::unique_ptr<Histogram>> histograms;
};

struct Metrics::Impl {
  Family& family(std::string_view name, std::string_view help, const Labels& labels, Family::Kind kind) {
    std::vector<std::string> names;
    for (const auto& [label, value] : labels) {
      if (!is_name(label, false)) throw Error("internal", fmt::format("metric {}: bad label name {}", name, label));
      names.push_back(label);
    }
    const auto it = families.find(name);
    if (it == families.end()) {
      if (!is_name(name, true)) throw Error("internal", fmt::format("bad metric name {}", name));
      Family family;
      family.kind = kind;
      family.help = help;
      family.label_names = std::move(names);
      return families.emplace(name, std::move(family)).first->second;
    }
    if (it->second.kind != kind || it->second.label_names != names) {
      throw Error("internal", fmt::format("metric {} was made with another kind or other labels", name));
    }
    return it->second;
  }

  template <typename T, typename... Args>
  T& series(std::map<std::string, std::unique_ptr<T>>& all, const Labels& labels, const Args&... args) {
    std::string key = label_text(labels);
    auto it = all.find(key);
    if (it == all.end() && all.size() >= kMaxSeries) {
      Labels other = labels;
      for (auto& [name, value] : other) value = "other";
      key = label_text(other);
      it = all.find(key);
    }
    if (it == all.end()) it = all.emplace(key, std::make_unique<T>(args...)).first;
    return *it->second;
  }

  mutable std::mutex mutex;
  std::map<std::string, Family, std::less<>> families;
};

Metrics::Metrics() : impl_(std::make_unique<Impl>()) {}
Metrics::~Metrics() = default;

Counter& Metrics::counter(std::string_view name, std::string_view help, const Labels& labels) {
  std::lock_guard lock(impl_->mutex);
  return impl_->series(impl_->family(name, help, labels, Family::Kind::kCounter).counters, labels);
}

Gauge& Metrics::gauge(std::string_view name, std::string_view help, const Labels& labels) {
  std::lock_guard lock(impl_->mutex);
  return impl_->series(impl_->family(name, help, labels, Family::Kind::kGauge).gauges, labels);
}

Histogram& Metrics::histogram(std::string_view name, std::string_view help, const std::vector<double>& upper_bounds,
                              const Labels& labels) {
  std::lock_guard lock(impl_->mutex);
  return impl_->series(impl_->family(name, help, labels, Family::Kind::kHistogram).histograms, labels, upper_bounds);
}

std::string Metrics::prometheus_text() const {
  std::lock_guard lock(impl_->mutex);
  std::string out;
  const auto add = std::back_inserter(out);
  for (const auto& [name, family] : impl_->families) {
    constexpr std::string_view kKinds[] = {"counter", "gauge", "histogram"};
    fmt::format_to(add, "# HELP {} {}\n# TYPE {} {}\n", name, escaped(family.help, false), name,
                   kKinds[static_cast<std::size_t>(family.kind)]);
    for (const auto& [labels, counter] : family.counters) {
      fmt::format_to(add, "{}{} {}\n", name, braced(labels), counter->value());
    }
    for (const auto& [labels, gauge] : family.gauges) {
      fmt::format_to(add, "{}{} {}\n", name, braced(labels), gauge->value());
    }
    for (const auto& [labels, histogram] : family.histograms) {
      const std::string comma = labels.empty() ? "" : labels + ",";
      std::uint64_t total = 0;
      for (std::size_t i = 0; i <= histogram->upper_bounds().size(); ++i) {
        total += histogram->bucket(i);
        const std::string bound =
            i < histogram->upper_bounds().size() ? fmt::format("{}", histogram->upper_bounds()[i]) : "+Inf";
        fmt::format_to(add, "{}_bucket{{{}le=\"{}\"}} {}\n", name, comma, bound, total);
      }
      fmt::format_to(add, "{}_sum{} {}\n{}_count{} {}\n", name, braced(labels), histogram->sum(), name, braced(labels),
                     total);
    }
  }
  return out;
}

}  // namespace tb::obs
