// Billing: what a contract owes follows from its sums of usage and from the events that were made of them.
#include "store/sql_store.h"

#include <algorithm>

namespace tb::store {
namespace {

constexpr std::int64_t kEver = INT64_MAX;

struct Account {
  UnixMs from_hour = 0;
  std::int64_t before = 0;
};

std::optional<Account> account_of(sql::Connection& db, const BillingPlace& place, const std::string& dimension) {
  auto row = db.prepare(
      "SELECT from_hour, before_quantity FROM billing_account WHERE tenant = ? AND contract_id = ? AND dimension = ?");
  row.bind(place.tenant).bind(place.contract_id).bind(dimension);
  if (!row.step()) return std::nullopt;
  return Account{row.integer(0), row.integer(1)};
}

/// In hours from `from` to `to`, both included.
std::int64_t used(sql::Connection& db, const BillingPlace& place, const std::string& dimension, UnixMs from,
                  UnixMs to) {
  auto row = db.prepare(
      "SELECT CAST(coalesce(SUM(quantity), 0) AS BIGINT) FROM usage_sum WHERE tenant = ? AND contract_id = ? AND "
      "dimension = ? AND hour >= ? AND hour <= ?");
  row.bind(place.tenant).bind(place.contract_id).bind(dimension).bind(from).bind(to);
  row.step();
  return row.integer(0);
}

/// In events of one state, or in all that were not given up.
std::int64_t in_events(sql::Connection& db, const BillingPlace& place, const std::string& dimension,
                       std::optional<BillingState> state) {
  auto row = db.prepare(
      "SELECT CAST(coalesce(SUM(quantity), 0) AS BIGINT) FROM billing_event WHERE tenant = ?1 AND contract_id = ?2 AND "
      "dimension = ?3 AND state <> 2 AND (?4 IS NULL OR state = ?4)");
  row.bind(place.tenant).bind(place.contract_id).bind(dimension);
  row.bind(state ? std::optional(static_cast<std::int64_t>(*state)) : std::nullopt);
  row.step();
  return row.integer(0);
}

std::optional<api::MarketplaceTerms> place_of(const std::string& terms) {
  return api::parse_marketplace(
      api::terms_from_json(value_or_throw(Json::parse(terms, {.bytes = api::kMaxContractBytes * 2}))).marketplace);
}

}  // namespace

/// A dimension that the contract begins to name owes what is used from then on, and nothing of before.
void SqlStore::open_accounts(sql::Connection& db, const std::string& tenant, const std::string& contract_id,
                             const Json& before, const Json& after, UnixMs from) {
  const auto named = api::parse_marketplace(after);
  if (!named) return;
  const auto named_before = api::parse_marketplace(before);
  const BillingPlace place{.tenant = tenant, .contract_id = contract_id};
  for (const auto& dimension : named->dimensions) {
    if (named_before && std::ranges::find(named_before->dimensions, dimension) != named_before->dimensions.end()) {
      continue;
    }
    const UnixMs from_hour = from / api::kHourMs * api::kHourMs;
    db.prepare(
          "INSERT INTO billing_account (tenant, contract_id, dimension, from_hour, before_quantity) VALUES (?,?,?,?,?) "
          "ON CONFLICT (tenant, contract_id, dimension) DO UPDATE SET from_hour = excluded.from_hour, "
          "before_quantity = excluded.before_quantity")
        .bind(tenant)
        .bind(contract_id)
        .bind(dimension)
        .bind(from_hour)
        .bind(used(db, place, dimension, from_hour, kEver) - in_events(db, place, dimension, std::nullopt))
        .run();
  }
}

std::optional<Turn> SqlStore::take_turn(const std::string& name, const std::string& holder, UnixMs now, UnixMs until) {
  return write([&](Change& change) -> std::optional<Turn> {
    std::int64_t number = 1;
    auto row = change.db().prepare("SELECT number, holder, until FROM turn WHERE name = ?");
    row.bind(name);
    if (row.step()) {
      const bool ours = row.text(1) == holder;
      if (!ours && row.integer(2) > now) return std::nullopt;
      number = row.integer(0) + (ours ? 0 : 1);
    }
    change.db()
        .prepare(
            "INSERT INTO turn (name, number, holder, until) VALUES (?,?,?,?) ON CONFLICT (name) DO UPDATE SET number = "
            "excluded.number, holder = excluded.holder, until = excluded.until")
        .bind(name)
        .bind(number)
        .bind(holder)
        .bind(until)
        .run();
    change.commit();
    return Turn{.name = name, .number = number};
  });
}

void SqlStore::end_turn(const Turn& turn) {
  write([&](Change& change) {
    change.db()
        .prepare("UPDATE turn SET until = 0 WHERE name = ? AND number = ?")
        .bind(turn.name)
        .bind(turn.number)
        .run();
    change.commit();
  });
}

void SqlStore::require_turn(sql::Connection& db, const Turn& turn) {
  auto row = db.prepare("SELECT number FROM turn WHERE name = ?");
  row.bind(turn.name);
  if (row.step() && row.integer(0) == turn.number) return;
  throw Error("database_busy", "another node has taken over: " + turn.name);
}

std::vector<BillingAccount> SqlStore::billing_accounts() {
  return read([](sql::Connection& db) {
    std::vector<BillingAccount> out;
    std::map<std::pair<std::string, std::string>, std::optional<BillingPlace>> places;
    auto rows = db.prepare(
        "SELECT tenant, contract_id, terms FROM contract AS c WHERE EXISTS (SELECT 1 FROM billing_account AS a WHERE "
        "a.tenant = c.tenant AND a.contract_id = c.contract_id) ORDER BY (SELECT coalesce(max(e.hour), 0) FROM "
        "billing_event AS e WHERE e.tenant = c.tenant AND e.contract_id = c.contract_id AND e.state <> 2), tenant, "
        "contract_id");
    while (rows.step()) {
      auto& place = places[{rows.text(0), rows.text(1)}];
      if (auto terms = place_of(rows.text(2))) {
        place = BillingPlace{.tenant = rows.text(0),
                             .contract_id = rows.text(1),
                             .resource = terms->resource_id,
                             .plan = terms->plan_id};
        out.push_back({.place = *place, .dimensions = std::move(terms->dimensions)});
      }
    }
    auto left = db.prepare(
        "SELECT DISTINCT tenant, contract_id, resource, plan FROM billing_event WHERE state = 0 ORDER BY tenant, "
        "contract_id, resource, plan");
    while (left.step()) {
      BillingPlace place{left.text(0), left.text(1), left.text(2), left.text(3)};
      const auto& now = places[{place.tenant, place.contract_id}];
      if (now != place) out.push_back({.place = std::move(place), .dimensions = {}, .moved = now.has_value()});
    }
    return out;
  });
}

BillingStanding SqlStore::billing_standing(const BillingPlace& place, const std::string& dimension, UnixMs oldest,
                                           UnixMs newest) {
  return read([&](sql::Connection& db) {
    BillingStanding out;
    const auto account = account_of(db, place, dimension);
    if (!account) return out;
    std::int64_t owed = used(db, place, dimension, account->from_hour, oldest - 1) - account->before;
    std::map<UnixMs, std::int64_t> of_hour;
    auto hours = db.prepare(
        "SELECT hour, CAST(SUM(quantity) AS BIGINT) FROM usage_sum WHERE tenant = ? AND contract_id = ? AND dimension "
        "= ? AND hour >= ? AND hour <= ? GROUP BY hour");
    hours.bind(place.tenant).bind(place.contract_id).bind(dimension);
    hours.bind(std::max(oldest, account->from_hour)).bind(newest);
    while (hours.step()) of_hour[hours.integer(0)] = hours.integer(1);
    for (UnixMs hour = oldest; hour <= newest; hour += api::kHourMs) out.owed[hour] = owed += of_hour[hour];
    out.held = in_events(db, place, dimension, std::nullopt);
    auto events = db.prepare(
        "SELECT DISTINCT hour FROM billing_event WHERE lower(resource) = lower(?) AND dimension = ? AND hour >= ? AND "
        "hour <= ?");
    events.bind(place.resource).bind(dimension).bind(oldest).bind(newest);
    while (events.step()) out.taken.insert(events.integer(0));
    return out;
  });
}

void SqlStore::add_billing_events(const Turn& turn, const BillingPlace& place,
                                  const std::vector<BillingEvent>& events) {
  write([&](Change& change) {
    require_turn(change.db(), turn);
    for (const auto& event : events) {
      change.db()
          .prepare(
              "INSERT INTO billing_event (tenant, contract_id, resource, plan, dimension, hour, quantity) VALUES "
              "(?,?,?,?,?,?,?)")
          .bind(place.tenant)
          .bind(place.contract_id)
          .bind(place.resource)
          .bind(place.plan)
          .bind(event.dimension)
          .bind(event.hour)
          .bind(event.quantity)
          .run();
    }
    change.commit();
  });
}

std::vector<BillingEvent> SqlStore::waiting_billing_events(const BillingPlace& place) {
  return read([&](sql::Connection& db) {
    std::vector<BillingEvent> out;
    auto rows = db.prepare(
        "SELECT dimension, hour, quantity, fate_unknown FROM billing_event WHERE tenant = ? AND contract_id = ? AND "
        "resource = ? AND plan = ? AND state = 0 ORDER BY hour, dimension");
    rows.bind(place.tenant).bind(place.contract_id).bind(place.resource).bind(place.plan);
    while (rows.step()) {
      out.push_back({.dimension = rows.text(0),
                     .hour = rows.integer(1),
                     .quantity = rows.integer(2),
                     .fate_unknown = rows.integer(3) != 0});
    }
    return out;
  });
}

void SqlStore::set_billing_events(const Turn& turn, const BillingPlace& place, const std::vector<BillingEvent>& events,
                                  BillingState state, const std::string& detail) {
  write([&](Change& change) {
    require_turn(change.db(), turn);
    for (const auto& event : events) {
      change.db()
          .prepare(
              "UPDATE billing_event SET state = ?, fate_unknown = ?, detail = ? WHERE tenant = ? AND contract_id = ? "
              "AND resource = ? AND plan = ? AND dimension = ? AND hour = ? AND state = 0")
          .bind(static_cast<std::int64_t>(state))
          .bind(event.fate_unknown ? 1 : 0)
          .bind(detail)
          .bind(place.tenant)
          .bind(place.contract_id)
          .bind(place.resource)
          .bind(place.plan)
          .bind(event.dimension)
          .bind(event.hour)
          .run();
    }
    change.commit();
  });
}

BilledDay SqlStore::billed_of_day(const BillingPlace& place, const std::string& dimension, UnixMs day) {
  return read([&](sql::Connection& db) {
    auto row = db.prepare(
        "SELECT CAST(coalesce(SUM(quantity), 0) AS BIGINT), count(*) FROM billing_event WHERE lower(resource) = "
        "lower(?) AND lower(plan) = lower(?) AND dimension = ? AND state = 1 AND hour >= ? AND hour < ?");
    row.bind(place.resource).bind(place.plan).bind(dimension).bind(day).bind(day + api::kDayMs);
    row.step();
    return BilledDay{.quantity = row.integer(0), .count = row.integer(1)};
  });
}

BillingSums SqlStore::billing_sums(const BillingPlace& place, const std::string& dimension) {
  return read([&](sql::Connection& db) {
    BillingSums out;
    if (const auto account = account_of(db, place, dimension)) {
      out.owed = used(db, place, dimension, account->from_hour, kEver) - account->before;
    }
    out.accepted = in_events(db, place, dimension, BillingState::kAccepted);
    out.pending = in_events(db, place, dimension, BillingState::kPending);
    return out;
  });
}

}  // namespace tb::store
