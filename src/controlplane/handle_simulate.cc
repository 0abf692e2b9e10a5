// POST /api/v1/contracts/{id}/simulate: what a change of terms would have refused and allowed, run over the recorded
// requests. It reads, and changes nothing; what it would not be allowed to change is refused as the change itself.
#include <algorithm>
#include <mutex>

#include "api/usage.h"
#include "controlplane/caller.h"
#include "controlplane/handlers.h"
#include "controlplane/simulation.h"

namespace tb::controlplane {
namespace {

constexpr std::size_t kMaxEvents = 50000;  // some 30 MB while they are replayed
constexpr std::int64_t kEventsAtOnce = 1000;
constexpr std::size_t kMaxUsageSums = 50000;
constexpr std::int64_t kLongestPeriodMs = 31 * api::kDayMs;

struct Asked {
  api::ContractTerms terms;
  UnixMs from = 0;
  UnixMs to = 0;
  bool at_now = false;
};

UnixMs time_of(const std::string& text, std::string_view name) {
  const auto time = from_rfc3339(text);
  if (!time) throw Error("field_invalid", std::string(name) + " of the simulation must be an RFC 3339 time");
  return *time;
}

Asked parse(const std::string& body, const api::ContractTerms& present, UnixMs now) {
  const Json json = value_or_throw(Json::parse(body, {.bytes = api::kMaxContractBytes, .depth = 13}));
  if (!json.is_object()) throw Error("json_malformed", "a simulation must be an object");
  const JsonReader reader(json, "simulation");
  value_or_throw(reader.only({"terms", "from", "to", "at"}));
  const Json* terms = json.find("terms");
  if (terms == nullptr) throw Error("field_missing", "terms is missing from the simulation");
  if (!terms->is_object()) throw Error("field_invalid", "terms of the simulation must be an object");
  Asked out;
  out.from = time_of(value_or_throw(reader.string("from")), "from");
  const auto to = value_or_throw(reader.optional_string("to"));
  out.to = to ? time_of(*to, "to") : now;
  if (out.to < out.from) throw Error("field_invalid", "to of the simulation lies before from");
  const std::string at = value_or_throw(reader.optional_string("at")).value_or("event");
  if (at != "event" && at != "now") throw Error("field_invalid", "at of the simulation must be event or now");
  out.at_now = at == "now";
  try {
    out.terms = api::patched(present, terms->dump());
  } catch (const Error& error) {
    throw Error(error.reason, "terms of the simulation: " + error.message).with_hint(std::string(error.hint()));
  }
  return out;
}

struct Recorded {
  std::vector<LoggedRequest> requests;  ///< oldest first
  std::int64_t events = 0;              ///< read within the span
  bool complete = true;                 ///< false: there are more, older ones within the span
};

Recorded read_requests(const api::Contract& contract, const Asked& asked, Deps& deps) {
  Recorded out;
  std::optional<std::int64_t> before;
  for (bool more = true; more;) {
    const auto page = deps.store.list_events_about(contract.tenant, contract.contract_id, before, kEventsAtOnce);
    more = static_cast<std::int64_t>(page.size()) == kEventsAtOnce;
    for (const auto& stored : page) {
      before = stored.seq;
      auto request = parse_logged_request(stored.seq, stored.line);
      if (!request || request->at > asked.to) continue;
      if (request->at < asked.from) {
        more = false;
        break;
      }
      if (out.requests.size() == kMaxEvents) {
        out.complete = more = false;
        break;
      }
      out.requests.push_back(std::move(*request));
    }
  }
  std::ranges::reverse(out.requests);
  out.events = static_cast<std::int64_t>(out.requests.size());
  return out;
}

/// Hours from the longest period before `from` on, and all that was before as one.
UsageHistory read_usage(const api::Contract& contract, const Asked& asked, Deps& deps) {
  UsageHistory history;
  if (contract.terms.quotas.as_object().empty() && asked.terms.quotas.as_object().empty()) return history;
  const UnixMs begin = std::max<UnixMs>(0, asked.from - kLongestPeriodMs) / api::kDayMs * api::kDayMs;
  std::size_t sums = 0;
  const auto read = [&](store::UsageQuery query, std::optional<UnixMs> all_at) {
    query.contract_id = contract.contract_id;
    std::optional<store::UsageSum> after;
    for (;;) {
      const auto rows = deps.store.list_usage(contract.tenant, query, after, kEventsAtOnce);
      for (const auto& row : rows) history.add(row.dimension, all_at.value_or(row.start), row.quantity);
      sums += rows.size();
      if (sums > kMaxUsageSums) throw Error("simulation_too_large", "the usage of that time has too many parts");
      if (static_cast<std::int64_t>(rows.size()) < kEventsAtOnce) return;
      after = rows.back();
    }
  };
  if (begin > 0) read({.from = 0, .to = begin, .bucket_ms = 0}, 0);
  read({.from = begin, .bucket_ms = api::kHourMs}, std::nullopt);
  return history;
}

}  // namespace

http::Response handle_simulate_contract(const http::Request& request, Deps& deps) {
  const std::string tenant = tenant_of(request);
  const std::string& id = request.param("id");
  const auto row = deps.store.find_contract(tenant, id);
  if (!row) throw Error("contract_not_found", "there is no contract " + id);
  const api::Contract& contract = row->contract;
  const UnixMs now = deps.clock();
  const Asked asked = parse(request.body, contract.terms, now);
  check_allowed(asked.terms, deps);
  const std::unique_lock turn(deps.simulating, std::try_to_lock);
  if (!turn) throw Error("server_busy", "another simulation runs");
  const Recorded recorded = read_requests(contract, asked, deps);
  const UsageHistory history = read_usage(contract, asked, deps);
  const auto judged_at = asked.at_now ? std::optional(now) : std::nullopt;
  const SimulationReport report = simulate(contract, asked.terms, recorded.requests, history, judged_at);
  Json body = Json::object();
  body.set("contract_id", contract.contract_id);
  body.set("policy_version", contract.policy_version);
  const bool cut = !recorded.complete && !recorded.requests.empty();
  body.set("from", to_rfc3339(cut ? recorded.requests.front().at : asked.from, true));
  body.set("to", to_rfc3339(asked.to, true));
  body.set("at", asked.at_now ? "now" : "event");
  body.set("events", recorded.events);
  body.set("complete", recorded.complete);
  const Json told = to_json(report);
  for (const auto& [name, value] : told.as_object()) body.set(name, value);
  return http::json(200, body);
}

}  // namespace tb::controlplane
