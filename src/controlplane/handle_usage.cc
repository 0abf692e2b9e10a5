// Metering: what sentinels report of their audit logs, and its sums. A repeated report is harmless, so a sentinel sends
// until it has an answer; a record that contradicts one that was counted is left out, told, and an event.
#include <array>
#include <charconv>

#include "api/usage.h"
#include "controlplane/caller.h"
#include "controlplane/handlers.h"
#include "controlplane/page_query.h"
#include "controlplane/sentinel_credential.h"

namespace tb::controlplane {
namespace {

constexpr UnixMs kClockSkewMs = 300000;
constexpr std::int64_t kMaxGapsTold = 200;

Json gaps_json(const std::vector<store::UsageGap>& gaps) {
  Json list = Json::array();
  for (const auto& gap : gaps) {
    Json item = Json::object();
    item.set("contract_id", gap.contract_id);
    item.set("origin", gap.origin);
    item.set("missing_records", gap.missing_records);
    list.push(std::move(item));
  }
  return list;
}

/// 200, or 409 if a record was left out: what was counted is told either way.
http::Response outcome_response(const store::UsageOutcome& outcome) {
  const auto fill = [&](Json body) {
    body.set("counted", outcome.counted);
    body.set("repeated", outcome.repeated);
    Json conflicts = Json::array();
    for (const auto& id : outcome.conflicts) conflicts.push(id);
    body.set("conflicts", std::move(conflicts));
    body.set("gaps", gaps_json(outcome.gaps));
    return body;
  };
  if (outcome.conflicts.empty()) return http::json(200, fill(Json::object()));
  const Error error("usage_conflict", "records contradict what was counted: they were left out");
  http::Response response = http::problem(error);
  response.body = fill(value_or_throw(Json::parse(response.body))).dump();
  return response;
}

UnixMs time_of(const http::Request& request, std::string_view name, UnixMs otherwise) {
  const auto text = request.query.one(name);
  if (!text) return otherwise;
  const auto time = from_rfc3339(*text);
  if (!time) throw Error("usage", std::string(name) + " must be an RFC 3339 time");
  return *time;
}

/// "start/tenant/contract/asset/dimension" of the last row of the page before.
store::UsageSum sum_of_cursor(std::string_view cursor) {
  std::array<std::string, 5> parts;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::size_t end = cursor.find('/');
    if ((end == std::string_view::npos) != (i + 1 == parts.size())) {
      throw Error("cursor_invalid", "the cursor is not one of this list");
    }
    parts[i] = cursor.substr(0, end);
    cursor.remove_prefix(end == std::string_view::npos ? cursor.size() : end + 1);
  }
  store::UsageSum out{.tenant = parts[1], .contract_id = parts[2], .asset_id = parts[3], .dimension = parts[4]};
  const char* const stop = parts[0].data() + parts[0].size();
  const auto [at, fault] = std::from_chars(parts[0].data(), stop, out.start);
  if (fault != std::errc() || at != stop) throw Error("cursor_invalid", "the cursor is not one of this list");
  return out;
}

std::string cursor_of(const store::UsageSum& sum) {
  return std::to_string(sum.start) + "/" + sum.tenant + "/" + sum.contract_id + "/" + sum.asset_id + "/" +
         sum.dimension;
}

struct UsageListQuery {
  store::UsageQuery query;
  PageQuery page;
  std::optional<store::UsageSum> after;
  bool csv = false;
};

UsageListQuery list_query(const http::Request& request) {
  UsageListQuery out;
  out.page = page_query(request, {"contract_id", "asset_id", "dimension", "from", "to", "by", "format"});
  if (!out.page.cursor.empty()) out.after = sum_of_cursor(out.page.cursor);
  out.query.contract_id = request.query.one("contract_id");
  out.query.asset_id = request.query.one("asset_id");
  out.query.dimension = request.query.one("dimension");
  if (out.query.dimension && !api::valid_dimension(*out.query.dimension)) {
    throw Error("usage", "dimension is not one that is metered");
  }
  out.query.from = time_of(request, "from", out.query.from);
  out.query.to = time_of(request, "to", out.query.to);
  const std::string by = request.query.one("by").value_or("day");
  if (by != "hour" && by != "day" && by != "total") throw Error("usage", "by must be hour, day or total");
  out.query.bucket_ms = by == "hour" ? api::kHourMs : by == "day" ? api::kDayMs : 0;
  const std::string format = request.query.one("format").value_or("json");
  if (format != "json" && format != "csv") throw Error("usage", "format must be json or csv");
  out.csv = format == "csv";
  return out;
}

Json sum_json(const store::UsageSum& sum, const store::UsageQuery& query) {
  Json item = Json::object();
  item.set("tenant", sum.tenant);
  item.set("contract_id", sum.contract_id);
  item.set("asset_id", sum.asset_id);
  item.set("dimension", sum.dimension);
  if (query.bucket_ms != 0) item.set("start", to_rfc3339(sum.start));
  item.set("quantity", sum.quantity);
  return item;
}

/// RFC 4180. No value of a row needs quoting: all are names, times and numbers.
http::Response csv_response(const UsageListQuery& asked, std::vector<store::UsageSum> rows) {
  std::string body = "tenant,contract_id,asset_id,dimension,start,quantity\r\n";
  const bool more = static_cast<std::int64_t>(rows.size()) > asked.page.limit;
  if (more) rows.pop_back();
  for (const auto& sum : rows) {
    body += sum.tenant + "," + sum.contract_id + "," + sum.asset_id + "," + sum.dimension + ",";
    body += (asked.query.bucket_ms != 0 ? to_rfc3339(sum.start) : "") + "," + std::to_string(sum.quantity) + "\r\n";
  }
  http::Response response = http::text(200, std::move(body), "text/csv; charset=utf-8");
  if (more) response.headers.set("X-Next-Cursor", cursor_of(rows.back()));
  return response;
}

}  // namespace

http::Response handle_report_usage(const http::Request& request, Deps& deps) {
  request.query.only({});
  const auto report = api::UsageReport::parse(request.body);
  const auto sentinel = proven_sentinel(request, report.contract_id, deps);
  if (!sentinel) return denied("authentication_required", deps);
  if (auto refusal = refusal_unless_holder(*sentinel, report.lease_id, deps)) return std::move(*refusal);
  const auto& contract = sentinel->row.contract;
  const UnixMs now = deps.clock();
  for (const auto& record : report.records) {
    if (record.to > now + kClockSkewMs) throw Error("field_invalid", "to of a usage record lies in the future");
  }
  const store::Event event{.type = "", .tenant = contract.tenant, .actor = "sentinel", .subject = contract.contract_id};
  return outcome_response(deps.store.append_usage(contract.tenant, report, now, event));
}

http::Response handle_list_usage(const http::Request& request, Deps& deps) {
  const UsageListQuery asked = list_query(request);
  const store::Scope scope = scope_of(request);
  auto rows = deps.store.list_usage(scope, asked.query, asked.after, asked.page.limit + 1);
  if (asked.csv) return csv_response(asked, std::move(rows));
  http::Response response = page_response(
      asked.page, rows, [&](const store::UsageSum& sum) { return sum_json(sum, asked.query); }, cursor_of);
  if (asked.after) return response;
  Json body = value_or_throw(Json::parse(response.body, {.bytes = 2 * kMaxPageBytes}));
  body.set("gaps", gaps_json(deps.store.list_usage_gaps(scope, asked.query.contract_id, kMaxGapsTold)));
  return http::json(200, body);
}

}  // namespace tb::controlplane
