#include "meter/hour_outbox.h"

#include <algorithm>
#include <map>

#include "api/usage.h"

namespace tb::meter {

HourOutbox::HourOutbox(HourBooks& books, std::vector<std::string> dimensions)
    : books_(books), dimensions_(std::move(dimensions)) {}

void HourOutbox::seal(UnixMs now, UnixMs settle_ms) {
  const UnixMs ended = (now - settle_ms) / api::kHourMs * api::kHourMs - api::kHourMs;
  const UnixMs oldest = (now - kOldestMs + kMarginMs) / api::kHourMs * api::kHourMs + api::kHourMs;
  std::vector<HourEvent> made;
  for (const auto& dimension : dimensions_) {
    auto [owed, held, taken] = books_.standing(dimension, oldest, ended);
    for (const auto& [hour, owed_by_then] : owed) {
      const std::int64_t quantity = owed_by_then - held;
      if (quantity <= 0 || taken.contains(hour)) continue;
      made.push_back({.dimension = dimension, .hour = hour, .quantity = quantity});
      held += quantity;
    }
  }
  if (!made.empty()) books_.add(made);
}

void HourOutbox::set(const HourEvent& event, EventState state, bool fate_unknown, const std::string& detail) {
  books_.set(std::span(&event, 1), state, fate_unknown, detail);
}

void HourOutbox::give_up(const WaitingEvent& row, const std::string& why, Round& round) {
  set(row.event, EventState::kGivenUp, false, why);
  ++round.given_up;
}

/// Events that are too old to be sent and may have been taken, a day and dimension at a time, once all of that day are.
void HourOutbox::look_up(std::span<const WaitingEvent> rows, EventSink& sink, UnixMs now, Round& round) {
  std::map<std::pair<std::string, UnixMs>, std::vector<WaitingEvent>> days;
  for (const WaitingEvent& row : rows) {
    if (row.fate_unknown) days[{row.event.dimension, row.event.hour / api::kDayMs * api::kDayMs}].push_back(row);
  }
  for (const auto& [key, of_day] : days) {
    const bool all_old =
        std::ranges::all_of(of_day, [&](const WaitingEvent& row) { return now - row.event.hour >= kLookUpMs; });
    if (all_old) look_up_day(of_day, sink, round);
  }
}

/// What the marketplace took beyond what we know of is the sum of some of these events. Where several choices have that
/// sum, each leaves the books right. Where none has, somebody else reports for this resource too: the events stay as
/// they are, neither lost nor billed again.
void HourOutbox::look_up_day(std::span<const WaitingEvent> rows, EventSink& sink, Round& round) {
  const std::string& dimension = rows.front().event.dimension;
  const UnixMs day = rows.front().event.hour / api::kDayMs * api::kDayMs;
  try {
    const auto known = books_.accepted_of_day(dimension, day);
    const auto all = sink.submitted(dimension, day);
    for (std::uint32_t choice = 0; rows.size() <= kMaxLookUp && choice < (1U << rows.size()); ++choice) {
      EventSum sum = known;
      for (std::size_t i = 0; i < rows.size(); ++i) {
        if ((choice >> i & 1) == 0) continue;
        sum.quantity += rows[i].event.quantity;
        ++sum.count;
      }
      if (sum.quantity != all.quantity || sum.count != all.count) continue;
      for (std::size_t i = 0; i < rows.size(); ++i) {
        if ((choice >> i & 1) == 0) {
          give_up(rows[i], "was never taken", round);
        } else {
          set(rows[i].event, EventState::kAccepted, false, "found in the marketplace's books");
          ++round.accepted;
        }
      }
      return;
    }
    round.trouble = Error("marketplace_refused", "the marketplace's books of a day do not fit ours: who else reports?");
  } catch (const Error& error) {
    round.trouble = error;
  }
}

HourOutbox::Round HourOutbox::drain(EventSink& sink, UnixMs now) {
  Round round;
  std::vector<WaitingEvent> rows = books_.waiting();
  look_up(rows, sink, now, round);
  const auto is_old = [&](const WaitingEvent& row) { return now - row.event.hour >= kOldestMs - kMarginMs; };
  for (const WaitingEvent& row : rows) {
    if (is_old(row) && !row.fate_unknown) give_up(row, "too old", round);
    if (is_old(row) && row.fate_unknown) ++round.waiting;
  }
  std::erase_if(rows, is_old);
  // An event of the future waits until its hour has come: our clock was wrong.
  std::erase_if(rows, [&](const WaitingEvent& row) { return row.event.hour > now; });
  for (std::size_t at = 0; at < rows.size(); at += EventSink::kMaxBatch) {
    const auto batch = std::span(rows).subspan(at, std::min(EventSink::kMaxBatch, rows.size() - at));
    if (send(batch, sink, round)) continue;
    round.waiting += rows.size() - at;
    break;
  }
  return round;
}

bool HourOutbox::send(std::span<const WaitingEvent> batch, EventSink& sink, Round& round) {
  std::vector<HourEvent> events, first_time;
  for (const WaitingEvent& row : batch) {
    events.push_back(row.event);
    if (!row.fate_unknown) first_time.push_back(row.event);
  }
  if (!first_time.empty()) books_.set(first_time, EventState::kPending, true, "");
  const auto answers = sink.send(events);
  if (answers && answers->size() == batch.size()) {
    for (std::size_t i = 0; i < batch.size(); ++i) take_answer(batch[i], (*answers)[i], round);
    return true;
  }
  if (answers) {
    round.trouble = Error("answer_malformed", "the marketplace answered fewer or more events than it was sent");
    return false;
  }
  round.trouble = answers.error().error;
  round.retry_after_ms = answers.error().retry_after_ms;
  if (answers.error().certainly_not_taken && !first_time.empty()) {
    books_.set(first_time, EventState::kPending, false, answers.error().error.reason);
  }
  return false;
}

void HourOutbox::take_answer(const WaitingEvent& row, const EventAnswer& answer, Round& round) {
  using Kind = EventAnswer::Kind;
  switch (answer.kind) {
    case Kind::kAccepted:
      set(row.event, EventState::kAccepted, false, "");
      ++round.accepted;
      return;
    case Kind::kDuplicate:
      // Of an event that was never sent before, an equal one is somebody else's.
      if (!row.fate_unknown || !answer.same) return give_up(row, "the hour was taken: " + answer.detail, round);
      set(row.event, EventState::kAccepted, false, "");
      ++round.accepted;
      return;
    case Kind::kExpired:
      if (!row.fate_unknown) return give_up(row, "too old", round);
      break;
    case Kind::kInactive:
      round.inactive = Error("subscription_inactive", "the marketplace says that the subscription is not active");
      [[fallthrough]];
    case Kind::kNotNow:
    case Kind::kRefused:
      set(row.event, EventState::kPending, row.fate_unknown, answer.detail);
      if (answer.kind == Kind::kRefused) round.trouble = Error("marketplace_refused", answer.detail);
      break;
    case Kind::kUnclear:
      break;
  }
  ++round.waiting;
}

}  // namespace tb::meter
