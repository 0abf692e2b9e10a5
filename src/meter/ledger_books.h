// The books of one sentinel: its ledger, and events beside it in the same database.
#pragma once

#include "meter/hour_books.h"
#include "meter/ledger_db.h"

namespace tb::meter {

class LedgerBooks final : public HourBooks {
 public:
  /// From the first time on that a dimension is named for a resource, its usage is owed.
  LedgerBooks(LedgerDb& db, std::string resource, const std::vector<std::string>& dimensions);

  Standing standing(const std::string& dimension, UnixMs oldest, UnixMs newest) override;
  void add(std::span<const HourEvent> events) override;
  std::vector<WaitingEvent> waiting() override;
  void set(std::span<const HourEvent> events, EventState state, bool fate_unknown, const std::string& detail) override;
  EventSum accepted_of_day(const std::string& dimension, UnixMs day) override;
  Sums sums(const std::string& dimension) override;

 private:
  LedgerDb& db_;
  std::string resource_;
};

}  // namespace tb::meter
