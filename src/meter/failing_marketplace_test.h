// A marketplace that fails in every way: it commits and loses the answer, refuses, says 429 and 5xx, takes a part of a
// batch, and other clients take hours of ours. Whoever asks it dies at any point.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <random>
#include <string>
#include <tuple>

#include "api/usage.h"
#include "meter/hour_outbox.h"

namespace tb::meter {

/// An event of somebody else's that equals one of ours whose answer was lost cannot be told from ours by anyone: theirs
/// differ (docs/metering.md names the rest).
inline constexpr std::int64_t kForeign = 1'000'000;

struct Killed {};

class FailingMarketplace final : public EventSink {
 public:
  using Kind = EventAnswer::Kind;
  explicit FailingMarketplace(std::mt19937& random) : random_(random) {}

  UnixMs now = 0;
  double trouble = 0.3;                                                        ///< how much goes wrong
  std::string resource = "res";                                                ///< that it is asked for now
  std::map<std::tuple<std::string, std::string, UnixMs>, std::int64_t> taken;  ///< by resource, dimension and hour
  std::map<std::string, std::int64_t> ours, theirs;                            ///< by dimension
  std::function<void()> meanwhile = [] {};                                     ///< happens while a batch is on its way

  std::expected<std::vector<EventAnswer>, Trouble> send(std::span<const HourEvent> events) override {
    EXPECT_GE(events.size(), 1U);
    EXPECT_LE(events.size(), kMaxBatch);
    const std::string to = resource;
    if (chance(trouble * 0.2)) throw Killed();
    if (chance(trouble * 0.3)) return lost();
    if (chance(trouble * 0.2)) {
      return std::unexpected(Trouble{Error("marketplace_refused", "401"), true, std::nullopt});
    }
    if (chance(0.5)) meanwhile();
    const std::size_t processed = chance(trouble * 0.2) ? random_() % (events.size() + 1) : events.size();
    std::vector<EventAnswer> out;
    for (std::size_t i = 0; i < events.size(); ++i) {
      out.push_back(i < processed ? take(to, events[i]) : EventAnswer{.kind = Kind::kUnclear});
    }
    if (chance(0.5)) meanwhile();
    if (chance(trouble * 0.2)) throw Killed();
    if (chance(trouble * 0.3)) return lost();
    return out;
  }

  EventSum submitted(const std::string& dimension, UnixMs day) override {
    if (chance(trouble)) throw Error("marketplace_unavailable", "503");
    EventSum out;
    for (const auto& [key, quantity] : taken) {
      const auto& [of, in, hour] = key;
      if (of != resource || in != dimension || hour / api::kDayMs * api::kDayMs != day) continue;
      out.quantity += quantity;
      ++out.count;
    }
    return out;
  }

  void take_for_another(const std::string& of, const std::string& dimension, UnixMs hour, std::int64_t quantity) {
    if (taken.emplace(std::tuple(of, dimension, hour), quantity).second) theirs[dimension] += quantity;
  }

 private:
  bool chance(double p) { return std::uniform_real_distribution<>(0, 1)(random_) < p; }
  std::unexpected<Trouble> lost() { return std::unexpected(Trouble{Error("marketplace_unavailable", "lost")}); }
  EventAnswer take(const std::string& of, const HourEvent& event) {
    EXPECT_GT(event.quantity, 0);
    EXPECT_EQ(event.hour % api::kHourMs, 0);
    if (chance(trouble * 0.1)) return {.kind = Kind::kNotNow};
    if (chance(trouble * 0.1)) return {.kind = Kind::kInactive};
    if (event.hour > now) return {.kind = Kind::kRefused, .detail = "in the future"};
    const std::tuple key(of, event.dimension, event.hour);
    const auto found = taken.find(key);
    if (found != taken.end()) return {.kind = Kind::kDuplicate, .same = found->second == event.quantity};
    if (now - event.hour >= HourOutbox::kOldestMs) return {.kind = Kind::kExpired};
    taken[key] = event.quantity;
    ours[event.dimension] += event.quantity;
    return {.kind = Kind::kAccepted};
  }

  std::mt19937& random_;
};

}  // namespace tb::meter
