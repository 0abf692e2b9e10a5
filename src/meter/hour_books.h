// What an outbox of hours bills from, and where it keeps its events: a sentinel's ledger, or the control plane's sums
// of all sentinels of a contract. Only one outbox at a time writes the events of a book.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"

namespace tb::meter {

struct HourEvent {
  std::string dimension;
  UnixMs hour = 0;
  std::int64_t quantity = 0;
};

enum class EventState { kPending = 0, kAccepted = 1, kGivenUp = 2 };

struct WaitingEvent {
  HourEvent event;
  bool fate_unknown = false;  ///< it may have been taken: its answer was lost, or is still to come
};

/// How many events there are, and what they sum up to.
struct EventSum {
  std::int64_t quantity = 0, count = 0;
};

/// Each verb happens whole or not at all, and is on the disk when it returns. All throw what a database throws.
class HourBooks {
 public:
  virtual ~HourBooks() = default;

  struct Standing {
    std::map<UnixMs, std::int64_t> owed;  ///< by the end of each hour that was asked for, in whole units
    std::int64_t held = 0;                ///< in events that were not given up
    std::set<UnixMs> taken;               ///< hours that have an event, whatever became of it
  };
  virtual Standing standing(const std::string& dimension, UnixMs oldest, UnixMs newest) = 0;
  virtual void add(std::span<const HourEvent> events) = 0;
  /// By hour.
  virtual std::vector<WaitingEvent> waiting() = 0;
  /// Of events that are pending; others stay as they are.
  virtual void set(std::span<const HourEvent> events, EventState state, bool fate_unknown,
                   const std::string& detail) = 0;
  /// What is known to have been taken for the resource in one day of UTC.
  virtual EventSum accepted_of_day(const std::string& dimension, UnixMs day) = 0;

  /// Owed so far, accepted, in events whose fate is open.
  struct Sums {
    std::int64_t owed = 0, accepted = 0, pending = 0;
  };
  virtual Sums sums(const std::string& dimension) = 0;
};

}  // namespace tb::meter
