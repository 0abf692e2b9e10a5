// Usage for a marketplace that takes one event for each resource, dimension and hour, and nothing older than a day.
//
// What an hour is owed is not stored but follows: all usage up to the end of that hour, less what other events hold.
// So usage that comes late, remainders of a unit, and events that were not taken go into a later hour by themselves,
// and the sum of what was accepted is the sum of what was owed.
//
// An event is written down before it is sent, and marked before each sending: after a crash, or an answer that was
// lost, its fate is unknown until the marketplace says. Only then a "duplicate" that equals it counts as delivered.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "meter/hour_books.h"

namespace tb::meter {

/// What the marketplace said of one event.
struct EventAnswer {
  enum class Kind {
    kAccepted,
    kDuplicate,  ///< the hour has an event: `same` as this one, or another
    kExpired,    ///< too old; says nothing of an earlier sending
    kNotNow,     ///< not taken this time
    kUnclear,    ///< nobody knows whether it was taken
    kRefused,    ///< not taken as it is: for the publisher to mend
    kInactive,   ///< the subscription is suspended or over
  };
  Kind kind = Kind::kUnclear;
  bool same = false;
  std::string detail;  ///< for the log
};

class EventSink {
 public:
  static constexpr std::size_t kMaxBatch = 25;
  virtual ~EventSink() = default;
  /// Ends what is under way when stop is requested.
  virtual void use_stop(std::stop_token) {}

  struct Trouble {
    Error error;
    bool certainly_not_taken = false;  ///< nothing of the batch
    std::optional<std::int64_t> retry_after_ms = std::nullopt;
  };
  /// One answer for each of 1 to kMaxBatch events, or what went wrong with all.
  virtual std::expected<std::vector<EventAnswer>, Trouble> send(std::span<const HourEvent> events) = 0;
  /// What the marketplace took for the resource and dimension in one day of UTC, whoever sent it. Throws if it cannot
  /// say.
  virtual EventSum submitted(const std::string& dimension, UnixMs day) = 0;
};

class HourOutbox {
 public:
  static constexpr UnixMs kOldestMs = 24 * std::int64_t{3'600'000};
  /// Not sent any more some time before that, so that it is not too old on its way.
  static constexpr UnixMs kMarginMs = 10 * std::int64_t{60'000};
  /// When an event whose fate is unknown is looked up: the marketplace's books are complete by then.
  static constexpr UnixMs kLookUpMs = 48 * std::int64_t{3'600'000};
  /// Of one day and dimension, as many such events as can be told apart by their sum.
  static constexpr std::size_t kMaxLookUp = 16;
  /// After the end of an hour, for what is still on its way to the ledger.
  static constexpr UnixMs kSettleMs = 60'000;

  HourOutbox(HourBooks& books, std::vector<std::string> dimensions);

  /// Makes events of the hours that have ended. `now`: server-anchored.
  void seal(UnixMs now, UnixMs settle_ms = kSettleMs);

  struct Round {
    std::size_t accepted = 0, given_up = 0, waiting = 0;
    std::optional<Error> inactive;  ///< the subscription is suspended or over: the only answer that may suspend
    std::optional<Error> trouble;   ///< what else went wrong, for the log
    std::optional<std::int64_t> retry_after_ms;
  };
  /// Sends what waits, oldest first, and decides about what is too old.
  Round drain(EventSink& sink, UnixMs now);

 private:
  void set(const HourEvent& event, EventState state, bool fate_unknown, const std::string& detail);
  void take_answer(const WaitingEvent& row, const EventAnswer& answer, Round& round);
  void give_up(const WaitingEvent& row, const std::string& why, Round& round);
  void look_up(std::span<const WaitingEvent> rows, EventSink& sink, UnixMs now, Round& round);
  void look_up_day(std::span<const WaitingEvent> rows, EventSink& sink, Round& round);
  /// One batch of events. False: the others of this round stay, too.
  bool send(std::span<const WaitingEvent> batch, EventSink& sink, Round& round);

  HourBooks& books_;
  std::vector<std::string> dimensions_;
};

}  // namespace tb::meter
