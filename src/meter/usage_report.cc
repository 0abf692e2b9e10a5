#include "meter/usage_report.h"

#include <fmt/format.h>

#include <set>

#include "base/json.h"

namespace tb::meter {
namespace {

/// Leaves room below api::kMaxUsageReportBytes.
constexpr std::size_t kRecordsAtOnce = 400;

std::optional<std::set<std::string>> conflicts_of(std::string_view body) {
  const auto json = Json::parse(body);
  const Json* list = json ? json->find("conflicts") : nullptr;
  if (list == nullptr || !list->is_array()) return std::nullopt;
  std::set<std::string> out;
  for (const Json& id : list->as_array()) {
    if (!id.is_string()) return std::nullopt;
    out.insert(id.as_string());
  }
  return out;
}

/// Statuses that say that the report itself is wrong, not who sends it or when.
bool is_about_the_report(int status) {
  return status == 400 || status == 413 || status == 422;
}

class Reporting {
 public:
  Reporting(Ledger& ledger, api::UsageReport frame, const PostReport& post)
      : ledger_(ledger), frame_(std::move(frame)), post_(post) {}

  /// False: not now.
  bool send(std::span<const api::UsageRecord> records) {
    frame_.records.assign(records.begin(), records.end());
    const ReportAnswer answer = post_(frame_.to_json().dump());
    const auto conflicts = answer.status == 200   ? std::optional(std::set<std::string>())
                           : answer.status == 409 ? conflicts_of(answer.body)
                                                  : std::nullopt;
    if (conflicts) return take(records, *conflicts);
    if (!is_about_the_report(answer.status)) {
      round.trouble = Error("control_plane_unavailable", fmt::format("a usage report was answered {}", answer.status));
      return false;
    }
    if (records.size() == 1) {
      ledger_.mark(records, Ledger::Report::kRefused);
      ++round.refused;
      return true;
    }
    // One of them is at fault: halves find it, and the others are counted.
    const std::size_t half = records.size() / 2;
    return send(records.subspan(0, half)) && send(records.subspan(half));
  }

  ReportRound round;

 private:
  bool take(std::span<const api::UsageRecord> records, const std::set<std::string>& conflicts) {
    std::vector<api::UsageRecord> counted, contradicted;
    for (const auto& record : records) (conflicts.contains(record.id) ? contradicted : counted).push_back(record);
    ledger_.mark(counted, Ledger::Report::kReported);
    ledger_.mark(contradicted, Ledger::Report::kConflict);
    round.reported += counted.size();
    round.conflicts += contradicted.size();
    return true;
  }

  Ledger& ledger_;
  api::UsageReport frame_;
  const PostReport& post_;
};

}  // namespace

ReportRound report_usage(Ledger& ledger, const std::string& contract_id, const std::string& lease_id,
                         const PostReport& post) {
  Reporting reporting(ledger, {.contract_id = contract_id, .lease_id = lease_id, .records = {}}, post);
  try {
    while (true) {
      const auto records = ledger.unreported(kRecordsAtOnce);
      if (records.empty() || !reporting.send(records)) break;
    }
  } catch (const Error& error) {
    reporting.round.trouble = error;
  }
  return reporting.round;
}

}  // namespace tb::meter
