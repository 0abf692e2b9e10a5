#include "meter/hour_outbox.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "api/usage.h"
#include "meter/ledger.h"

namespace tb::meter {
namespace {

/// Raw units of the ledger in all hours up to `last`.
std::int64_t raw_until(sql::Connection& db, const std::string& dimension, UnixMs last) {
  auto row = db.prepare(fmt::format("SELECT coalesce(sum({}), 0) FROM hour WHERE start <= ?", raw_sql(dimension)));
  row.bind(last);
  return row.step() ? row.integer(0) : 0;
}

std::int64_t raw_before(sql::Connection& db, const std::string& resource, const std::string& dimension) {
  auto row = db.prepare("SELECT before_raw FROM billed WHERE resource = ? AND dimension = ?");
  row.bind(resource).bind(dimension);
  return row.step() ? row.integer(0) : 0;
}

/// What live events hold.
std::int64_t held(sql::Connection& db, const std::string& resource, const std::string& dimension) {
  auto row =
      db.prepare("SELECT coalesce(sum(quantity), 0) FROM event WHERE resource = ? AND dimension = ? AND state <> 2");
  row.bind(resource).bind(dimension);
  return row.step() ? row.integer(0) : 0;
}

bool has_event(sql::Connection& db, const std::string& resource, const std::string& dimension, UnixMs hour) {
  auto row = db.prepare("SELECT 1 FROM event WHERE resource = ? AND dimension = ? AND hour = ?");
  row.bind(resource).bind(dimension).bind(hour);
  return row.step();
}

}  // namespace

HourOutbox::HourOutbox(LedgerDb& db, std::string resource, std::vector<std::string> dimensions)
    : db_(db), resource_(std::move(resource)), dimensions_(std::move(dimensions)) {
  db_.change([&](sql::Connection& sql) {
    for (const auto& dimension : dimensions_) {
      const std::int64_t before = raw_until(sql, dimension, INT64_MAX);
      sql.prepare("INSERT INTO billed (resource, dimension, before_raw) VALUES (?,?,?) ON CONFLICT DO NOTHING")
          .bind(resource_)
          .bind(dimension)
          .bind(before)
          .run();
    }
  });
}

void HourOutbox::seal(UnixMs now) {
  const UnixMs ended = (now - kSettleMs) / api::kHourMs * api::kHourMs - api::kHourMs;
  const UnixMs oldest = (now - kOldestMs + kMarginMs) / api::kHourMs * api::kHourMs + api::kHourMs;
  db_.change([&](sql::Connection& sql) {
    for (const auto& dimension : dimensions_) {
      const std::int64_t before = raw_before(sql, resource_, dimension);
      const std::int64_t owed_now = (raw_until(sql, dimension, ended) - before) / raw_of_unit(dimension);
      if (owed_now <= held(sql, resource_, dimension)) continue;
      for (UnixMs hour = oldest; hour <= ended; hour += api::kHourMs) {
        const std::int64_t owed = (raw_until(sql, dimension, hour) - before) / raw_of_unit(dimension);
        const std::int64_t quantity = owed - held(sql, resource_, dimension);
        if (quantity <= 0 || has_event(sql, resource_, dimension, hour)) continue;
        sql.prepare("INSERT INTO event (resource, dimension, hour, quantity) VALUES (?,?,?,?)")
            .bind(resource_)
            .bind(dimension)
            .bind(hour)
            .bind(quantity)
            .run();
      }
    }
  });
}

std::vector<HourOutbox::Row> HourOutbox::waiting() {
  return db_.with([&](sql::Connection& sql) {
    std::vector<Row> out;
    auto row = sql.prepare(
        "SELECT dimension, hour, quantity, fate_unknown FROM event WHERE resource = ? AND state = 0 ORDER BY hour");
    row.bind(resource_);
    while (row.step()) {
      out.push_back(
          {{.dimension = row.text(0), .hour = row.integer(1), .quantity = row.integer(2)}, row.integer(3) != 0});
    }
    return out;
  });
}

void HourOutbox::set(const HourEvent& event, State state, bool fate_unknown, const std::string& detail) {
  db_.change([&](sql::Connection& sql) {
    sql.prepare(
           "UPDATE event SET state = ?, fate_unknown = ?, detail = ? WHERE resource = ? AND dimension = ? AND hour = ? "
           "AND state = 0")
        .bind(static_cast<std::int64_t>(state))
        .bind(fate_unknown ? 1 : 0)
        .bind(detail)
        .bind(resource_)
        .bind(event.dimension)
        .bind(event.hour)
        .run();
  });
}

void HourOutbox::give_up(const Row& row, const std::string& why, Round& round) {
  set(row.event, kGivenUp, false, why);
  ++round.given_up;
}

EventSink::Submitted HourOutbox::accepted_of_day(const std::string& dimension, UnixMs day) {
  return db_.with([&](sql::Connection& sql) {
    auto row = sql.prepare(
        "SELECT coalesce(sum(quantity), 0), count(*) FROM event WHERE resource = ? AND dimension = ? AND state = 1 AND "
        "hour >= ? AND hour < ?");
    row.bind(resource_).bind(dimension).bind(day).bind(day + api::kDayMs);
    return row.step() ? EventSink::Submitted{row.integer(0), row.integer(1)} : EventSink::Submitted{};
  });
}

/// Events that are too old to be sent and may have been taken, a day and dimension at a time, once all of that day are.
void HourOutbox::look_up(const std::vector<Row>& rows, EventSink& sink, UnixMs now, Round& round) {
  std::map<std::pair<std::string, UnixMs>, std::vector<Row>> days;
  for (const Row& row : rows) {
    if (row.fate_unknown) days[{row.event.dimension, row.event.hour / api::kDayMs * api::kDayMs}].push_back(row);
  }
  for (const auto& [key, of_day] : days) {
    const bool all_old = std::ranges::all_of(of_day, [&](const Row& row) { return now - row.event.hour >= kLookUpMs; });
    if (all_old) look_up_day(of_day, sink, round);
  }
}

/// What the marketplace took beyond what we know of is the sum of some of these events. Where several choices have that
/// sum, each leaves the books right. Where none has, somebody else reports for this resource too: the events stay as
/// they are, neither lost nor billed again.
void HourOutbox::look_up_day(std::span<const Row> rows, EventSink& sink, Round& round) {
  const std::string& dimension = rows.front().event.dimension;
  const UnixMs day = rows.front().event.hour / api::kDayMs * api::kDayMs;
  try {
    const auto known = accepted_of_day(dimension, day);
    const auto all = sink.submitted(dimension, day);
    for (std::uint32_t choice = 0; rows.size() <= kMaxLookUp && choice < (1U << rows.size()); ++choice) {
      EventSink::Submitted sum = known;
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
          set(rows[i].event, kAccepted, false, "found in the marketplace's books");
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
  std::vector<Row> rows = waiting();
  look_up(rows, sink, now, round);
  const auto is_old = [&](const Row& row) { return now - row.event.hour >= kOldestMs - kMarginMs; };
  for (const Row& row : rows) {
    if (is_old(row) && !row.fate_unknown) give_up(row, "too old", round);
    if (is_old(row) && row.fate_unknown) ++round.waiting;
  }
  std::erase_if(rows, is_old);
  // An event of the future waits until its hour has come: our clock was wrong.
  std::erase_if(rows, [&](const Row& row) { return row.event.hour > now; });
  for (std::size_t at = 0; at < rows.size(); at += EventSink::kMaxBatch) {
    const std::span<const Row> batch = std::span(rows).subspan(at, std::min(EventSink::kMaxBatch, rows.size() - at));
    std::vector<HourEvent> events;
    for (const Row& row : batch) {
      events.push_back(row.event);
      if (!row.fate_unknown) set(row.event, kPending, true, "");
    }
    const auto answers = sink.send(events);
    if (answers && answers->size() == batch.size()) {
      for (std::size_t i = 0; i < batch.size(); ++i) take_answer(batch[i], (*answers)[i], round);
      continue;
    }
    round.waiting += rows.size() - at;
    if (answers) {
      round.trouble = Error("answer_malformed", "the marketplace answered fewer or more events than it was sent");
      return round;
    }
    round.trouble = answers.error().error;
    round.retry_after_ms = answers.error().retry_after_ms;
    if (!answers.error().certainly_not_taken) return round;
    for (const Row& row : batch) {
      if (!row.fate_unknown) set(row.event, kPending, false, answers.error().error.reason);
    }
    return round;
  }
  return round;
}

void HourOutbox::take_answer(const Row& row, const EventAnswer& answer, Round& round) {
  using Kind = EventAnswer::Kind;
  switch (answer.kind) {
    case Kind::kAccepted:
      set(row.event, HourOutbox::kAccepted, false, "");
      ++round.accepted;
      return;
    case Kind::kDuplicate:
      // Of an event that was never sent before, an equal one is somebody else's.
      if (!row.fate_unknown || !answer.same) return give_up(row, "the hour was taken: " + answer.detail, round);
      set(row.event, HourOutbox::kAccepted, false, "");
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
      set(row.event, kPending, row.fate_unknown, answer.detail);
      if (answer.kind == Kind::kRefused) round.trouble = Error("marketplace_refused", answer.detail);
      break;
    case Kind::kUnclear:
      break;
  }
  ++round.waiting;
}

HourOutbox::Sums HourOutbox::sums(const std::string& dimension) {
  return db_.with([&](sql::Connection& sql) {
    const std::int64_t raw = raw_until(sql, dimension, INT64_MAX) - raw_before(sql, resource_, dimension);
    Sums out{.owed = raw / raw_of_unit(dimension)};
    auto row = sql.prepare(
        "SELECT coalesce(sum(CASE WHEN state = 1 THEN quantity END), 0), coalesce(sum(CASE WHEN state = 0 THEN "
        "quantity "
        "END), 0) FROM event WHERE resource = ? AND dimension = ?");
    row.bind(resource_).bind(dimension);
    if (row.step()) {
      out.accepted = row.integer(0);
      out.pending = row.integer(1);
    }
    return out;
  });
}

}  // namespace tb::meter
