#include "meter/ledger.h"

#include <algorithm>

#include "base/error.h"

namespace tb::meter {
namespace {

constexpr std::int64_t kMaxRecordQuantity = api::kMaxUsageQuantity / 4;
constexpr std::int64_t kMaxEntryQuantity = api::kMaxUsageQuantity / 4;
constexpr std::int64_t kBytesOfGb = 1'000'000'000, kMsOfMinute = 60'000;

struct OpenRecord {
  std::int64_t number = 0;  ///< 0: not in the database yet
  std::string origin;
  std::int64_t first_seq = 0, last_seq = -1;
  UnixMs from = 0, to = 0;
  std::int64_t requests = 0, input = 0, output = 0, bytes = 0;

  bool takes(const std::string& of, std::int64_t seq, UnixMs time) const {
    const bool follows = origin == of && last_seq + 1 == seq && time / api::kHourMs == to / api::kHourMs;
    return follows && std::max({input, output, bytes}) < kMaxRecordQuantity;
  }
};

std::optional<OpenRecord> open_record(sql::Connection& db) {
  auto row = db.prepare(
      "SELECT number, origin, first_seq, last_seq, from_ms, to_ms, requests, input_tokens, output_tokens, bytes "
      "FROM record WHERE state = 0");
  if (!row.step()) return std::nullopt;
  return OpenRecord{.number = row.integer(0),
                    .origin = row.text(1),
                    .first_seq = row.integer(2),
                    .last_seq = row.integer(3),
                    .from = row.integer(4),
                    .to = row.integer(5),
                    .requests = row.integer(6),
                    .input = row.integer(7),
                    .output = row.integer(8),
                    .bytes = row.integer(9)};
}

void save(sql::Connection& db, const OpenRecord& record) {
  if (record.number == 0) {
    db.prepare(
          "INSERT INTO record (origin, first_seq, last_seq, from_ms, to_ms, requests, input_tokens, output_tokens, "
          "bytes) VALUES (?,?,?,?,?,?,?,?,?)")
        .bind(record.origin)
        .bind(record.first_seq)
        .bind(record.last_seq)
        .bind(record.from)
        .bind(record.to)
        .bind(record.requests)
        .bind(record.input)
        .bind(record.output)
        .bind(record.bytes)
        .run();
    return;
  }
  db.prepare(
        "UPDATE record SET last_seq = ?, to_ms = ?, requests = ?, input_tokens = ?, output_tokens = ?, bytes = ? "
        "WHERE number = ?")
      .bind(record.last_seq)
      .bind(record.to)
      .bind(record.requests)
      .bind(record.input)
      .bind(record.output)
      .bind(record.bytes)
      .bind(record.number)
      .run();
}

std::int64_t one_integer(sql::Connection& db, std::string_view sql) {
  auto row = db.prepare(sql);
  return row.step() ? row.integer(0) : 0;
}

/// The record gets what has become whole units since the last one: what is left of a unit waits.
void seal_open(sql::Connection& db) {
  auto sums = db.prepare("SELECT coalesce(sum(bytes), 0), coalesce(sum(gpu_ms), 0) FROM hour");
  auto given = db.prepare("SELECT gb_transferred, gpu_minutes FROM given");
  if (!sums.step() || !given.step()) throw Error("database_failed", "the ledger lacks a row");
  const std::int64_t gb = sums.integer(0) / kBytesOfGb, minutes = sums.integer(1) / kMsOfMinute;
  const std::int64_t changed =
      db.prepare("UPDATE record SET state = 1, gb_transferred = ?, gpu_minutes = ? WHERE state = 0")
          .bind(gb - given.integer(0))
          .bind(minutes - given.integer(1))
          .run();
  if (changed > 0) db.prepare("UPDATE given SET gb_transferred = ?, gpu_minutes = ?").bind(gb).bind(minutes).run();
}

struct HourSums {
  std::int64_t requests = 0, input = 0, output = 0, bytes = 0, estimated = 0, disputed = 0;
};

void add_hour(sql::Connection& db, UnixMs start, const HourSums& sums) {
  db.prepare(
        "INSERT INTO hour (start, requests, input_tokens, output_tokens, bytes, estimated_requests, disputed_requests) "
        "VALUES (?,?,?,?,?,?,?) ON CONFLICT (start) DO UPDATE SET requests = requests + excluded.requests, "
        "input_tokens = input_tokens + excluded.input_tokens, output_tokens = output_tokens + excluded.output_tokens, "
        "bytes = bytes + excluded.bytes, estimated_requests = estimated_requests + excluded.estimated_requests, "
        "disputed_requests = disputed_requests + excluded.disputed_requests")
      .bind(start)
      .bind(sums.requests)
      .bind(sums.input)
      .bind(sums.output)
      .bind(sums.bytes)
      .bind(sums.estimated)
      .bind(sums.disputed)
      .run();
}

void add_subject(sql::Connection& db, const std::string& name, const HourSums& sums) {
  db.prepare(
        "INSERT INTO subject (name, requests, input_tokens, output_tokens) VALUES (?,?,?,?) ON CONFLICT (name) DO "
        "UPDATE SET requests = requests + excluded.requests, input_tokens = input_tokens + excluded.input_tokens, "
        "output_tokens = output_tokens + excluded.output_tokens")
      .bind(name)
      .bind(sums.requests)
      .bind(sums.input)
      .bind(sums.output)
      .run();
}

std::int64_t clamped(std::int64_t value) {
  return std::clamp<std::int64_t>(value, 0, kMaxEntryQuantity);
}

void add(HourSums& sums, const LedgerEntry& entry) {
  sums.requests += entry.served ? 1 : 0;
  sums.input += clamped(entry.usage.input_tokens);
  sums.output += clamped(entry.usage.output_tokens);
  sums.bytes +=
      clamped(static_cast<std::int64_t>(std::min<std::uint64_t>(entry.bytes, std::uint64_t{kMaxEntryQuantity})));
  sums.estimated += entry.usage.estimated ? 1 : 0;
  sums.disputed += entry.usage.disputed ? 1 : 0;
}

std::optional<std::int64_t> last_seq_of(sql::Connection& db, const std::string& origin) {
  auto row = db.prepare("SELECT last_seq FROM record WHERE origin = ? ORDER BY last_seq DESC LIMIT 1");
  row.bind(origin);
  return row.step() ? std::optional(row.integer(0)) : std::nullopt;
}

void forget(sql::Connection& db, const std::string& request_id) {
  db.prepare("DELETE FROM underway WHERE request_id = ?").bind(request_id).run();
}

}  // namespace

std::int64_t raw_of_unit(std::string_view dimension) {
  return dimension == "gb_transferred" ? kBytesOfGb : dimension == "gpu_minutes" ? kMsOfMinute : 1;
}

std::string_view raw_sql(std::string_view dimension) {
  if (dimension == "requests") return "requests";
  if (dimension == "tokens") return "input_tokens + output_tokens";
  if (dimension == "input_tokens") return "input_tokens";
  if (dimension == "output_tokens") return "output_tokens";
  if (dimension == "bytes" || dimension == "gb_transferred") return "bytes";
  if (dimension == "gpu_minutes") return "gpu_ms";
  throw Error("internal", "no such dimension of usage");
}

std::optional<std::int64_t> Ledger::last_seq(const std::string& origin) {
  return db_.with([&](sql::Connection& db) { return last_seq_of(db, origin); });
}

void Ledger::apply(const std::string& origin, std::int64_t first_seq, std::span<const LedgerEntry> entries) {
  db_.change([&](sql::Connection& db) {
    const std::int64_t done = last_seq_of(db, origin).value_or(-1);
    std::optional<OpenRecord> open = open_record(db);
    std::map<UnixMs, HourSums> hours;
    std::map<std::string_view, HourSums> subjects;
    const bool any_underway = one_integer(db, "SELECT count(*) FROM underway") > 0;
    std::int64_t seq = first_seq - 1;
    for (const LedgerEntry& entry : entries) {
      if (++seq <= done) continue;
      const UnixMs time = std::max<UnixMs>(0, entry.time);
      if (open && !open->takes(origin, seq, std::max(time, open->to))) {
        save(db, *open);
        seal_open(db);
        open.reset();
      }
      if (!open) open = OpenRecord{.origin = origin, .first_seq = seq, .from = time, .to = time};
      HourSums sums;
      add(sums, entry);
      open->last_seq = seq;
      open->to = std::max(open->to, time);
      open->requests += sums.requests;
      open->input += sums.input;
      open->output += sums.output;
      open->bytes += sums.bytes;
      add(hours[time / api::kHourMs * api::kHourMs], entry);
      if (entry.served || sums.input + sums.output > 0) add(subjects[entry.subject], entry);
      if (any_underway) forget(db, entry.request_id);
    }
    if (open) save(db, *open);
    for (const auto& [start, sums] : hours) add_hour(db, start, sums);
    for (const auto& [name, sums] : subjects) add_subject(db, std::string(name), sums);
  });
}

void Ledger::add_gpu_ms(UnixMs time, std::int64_t ms) {
  db_.change([&](sql::Connection& db) {
    db.prepare(
          "INSERT INTO hour (start, gpu_ms) VALUES (?,?) ON CONFLICT (start) DO UPDATE SET gpu_ms = gpu_ms + "
          "excluded.gpu_ms")
        .bind(time / api::kHourMs * api::kHourMs)
        .bind(ms)
        .run();
  });
}

void Ledger::note_underway(std::span<const Underway> requests) {
  if (requests.empty()) return;
  db_.change([&](sql::Connection& db) {
    for (const Underway& request : requests) {
      db.prepare(
            "INSERT INTO underway (request_id, subject, path, model, input_tokens, output_tokens) VALUES (?,?,?,?,?,?) "
            "ON CONFLICT (request_id) DO UPDATE SET output_tokens = excluded.output_tokens")
          .bind(request.request_id)
          .bind(request.subject)
          .bind(request.path)
          .bind(request.model)
          .bind(request.input_tokens)
          .bind(request.output_tokens)
          .run();
    }
  });
}

void Ledger::forget_underway(std::span<const std::string> request_ids) {
  if (request_ids.empty()) return;
  db_.change([&](sql::Connection& db) {
    for (const auto& id : request_ids) forget(db, id);
  });
}

std::vector<Underway> Ledger::underway() {
  return db_.with([](sql::Connection& db) {
    std::vector<Underway> out;
    auto row = db.prepare("SELECT request_id, subject, path, model, input_tokens, output_tokens FROM underway");
    while (row.step()) {
      out.push_back({row.text(0), row.text(1), row.text(2), row.text(3), row.integer(4), row.integer(5)});
    }
    return out;
  });
}

void Ledger::seal() {
  db_.change([](sql::Connection& db) { seal_open(db); });
}

std::vector<api::UsageRecord> Ledger::unreported(std::size_t limit) {
  return db_.with([&](sql::Connection& db) {
    std::vector<api::UsageRecord> out;
    auto row = db.prepare(
        "SELECT origin, first_seq, last_seq, from_ms, to_ms, requests, input_tokens, output_tokens, bytes, "
        "gb_transferred, gpu_minutes FROM record WHERE state = 1 ORDER BY number LIMIT ?");
    row.bind(static_cast<std::int64_t>(limit));
    while (row.step()) {
      api::UsageRecord record{.origin = row.text(0),
                              .first_seq = row.integer(1),
                              .last_seq = row.integer(2),
                              .from = row.integer(3),
                              .to = row.integer(4)};
      record.id = api::usage_id(record.origin, record.first_seq, record.last_seq);
      record.usage = {{"requests", row.integer(5)},     {"tokens", row.integer(6) + row.integer(7)},
                      {"input_tokens", row.integer(6)}, {"output_tokens", row.integer(7)},
                      {"bytes", row.integer(8)},        {"gb_transferred", row.integer(9)},
                      {"gpu_minutes", row.integer(10)}};
      out.push_back(std::move(record));
    }
    return out;
  });
}

void Ledger::mark(std::span<const api::UsageRecord> records, Report how) {
  if (records.empty()) return;
  db_.change([&](sql::Connection& db) {
    for (const auto& record : records) {
      db.prepare("UPDATE record SET state = ? WHERE origin = ? AND first_seq = ? AND last_seq = ? AND state = 1")
          .bind(static_cast<std::int64_t>(how))
          .bind(record.origin)
          .bind(record.first_seq)
          .bind(record.last_seq)
          .run();
    }
  });
}

void Ledger::purge(UnixMs before) {
  db_.change([&](sql::Connection& db) {
    db.prepare(
          "DELETE FROM record WHERE state = 2 AND to_ms < ? AND number NOT IN (SELECT max(number) FROM record GROUP BY "
          "origin)")
        .bind(before)
        .run();
  });
}

std::int64_t Ledger::used(std::string_view dimension, UnixMs from) {
  const std::string sql = "SELECT coalesce(sum(" + std::string(raw_sql(dimension)) + "), 0) FROM hour WHERE start >= ?";
  return db_.with([&](sql::Connection& db) {
    auto row = db.prepare(sql);
    row.bind(from);
    return row.step() ? row.integer(0) / raw_of_unit(dimension) : 0;
  });
}

std::map<std::string, std::int64_t, std::less<>> Ledger::used(const Budgets::Quotas& quotas, UnixMs now) {
  std::map<std::string, std::int64_t, std::less<>> out;
  for (const auto& [dimension, quota] : quotas) out[dimension] = used(dimension, quota.since(now));
  return out;
}

std::map<std::string, std::int64_t, std::less<>> Ledger::tokens_by_subject() {
  return db_.with([](sql::Connection& db) {
    std::map<std::string, std::int64_t, std::less<>> out;
    auto row = db.prepare(
        "SELECT name, input_tokens + output_tokens FROM subject ORDER BY input_tokens + output_tokens DESC LIMIT ?");
    row.bind(static_cast<std::int64_t>(kMaxSubjects));
    while (row.step()) out[row.text(0)] = row.integer(1);
    return out;
  });
}

Ledger::Totals Ledger::totals() {
  return db_.with([](sql::Connection& db) {
    Totals out;
    auto sums = db.prepare(
        "SELECT coalesce(sum(requests),0), coalesce(sum(input_tokens),0), coalesce(sum(output_tokens),0), "
        "coalesce(sum(bytes),0), coalesce(sum(estimated_requests),0), coalesce(sum(disputed_requests),0) FROM hour");
    if (sums.step()) {
      out = {.requests = sums.integer(0),
             .input_tokens = sums.integer(1),
             .output_tokens = sums.integer(2),
             .bytes = sums.integer(3),
             .estimated = sums.integer(4),
             .disputed = sums.integer(5)};
    }
    out.unreported = one_integer(db, "SELECT count(*) FROM record WHERE state = 1");
    out.conflicts = one_integer(db, "SELECT count(*) FROM record WHERE state = 3");
    out.refused = one_integer(db, "SELECT count(*) FROM record WHERE state = 4");
    return out;
  });
}

}  // namespace tb::meter
