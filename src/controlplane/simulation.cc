#include "controlplane/simulation.h"

namespace tb::controlplane {
namespace {

/// Whether the terms ask for evidence and the verdict on it was made under others.
bool verdict_is_of_other_terms(const LoggedRequest& request, const api::ContractTerms& terms) {
  if (terms.attestation == "none" || !request.facts.evidence_came) return false;
  return request.evidence_under != evidence_terms_id(terms);
}

void count(SimulatedChange& change, const LoggedRequest& request, const std::string& reason) {
  ++change.requests;
  if (!request.lease_id.empty()) change.leases.insert(request.lease_id);
  change.machines.insert(request.facts.hw_id);
  ++change.by_reason[reason];
}

std::string outcome_name(const std::string& reason) {
  return reason.empty() ? "granted" : reason;
}

Json to_json(const SimulatedChange& change) {
  Json json = Json::object();
  json.set("requests", change.requests);
  json.set("leases", static_cast<std::int64_t>(change.leases.size()));
  json.set("machines", static_cast<std::int64_t>(change.machines.size()));
  Json by_reason = Json::object();
  for (const auto& [reason, requests] : change.by_reason) by_reason.set(reason, requests);
  json.set("by_reason", std::move(by_reason));
  return json;
}

Json to_json(const SimulationExample& example) {
  Json json = Json::object();
  json.set("time", to_rfc3339(example.at, true));
  if (!example.lease_id.empty()) json.set("lease_id", example.lease_id);
  json.set("hw_id", example.hw_id);
  json.set("asset_id", example.asset_id);
  json.set("from", example.from);
  json.set("to", example.to);
  return json;
}

}  // namespace

SimulationReport simulate(const api::Contract& contract, const api::ContractTerms& changed,
                          const std::vector<LoggedRequest>& requests, const UsageHistory& history,
                          std::optional<UnixMs> judged_at) {
  SimulationReport report;
  SeatReplay present(contract, contract.terms, requests, history, judged_at);
  SeatReplay other(contract, changed, requests, history, judged_at);
  for (const auto& request : requests) {
    const std::string now = present.step(request);
    const std::string then = other.step(request);
    if (!request.is_request()) continue;
    if (!request.has_facts) {
      ++report.without_facts;
      continue;
    }
    if (verdict_is_of_other_terms(request, contract.terms) || verdict_is_of_other_terms(request, changed)) {
      ++report.evidence_not_kept;
      continue;
    }
    ++report.replayed;
    if (now != request.reason) ++report.unlike_the_record;
    if (now == then) continue;
    if (now.empty()) {
      count(report.newly_refused, request, then);
    } else if (then.empty()) {
      count(report.newly_allowed, request, now);
    } else {
      count(report.refused_otherwise, request, then);
    }
    if (report.examples.size() < kMaxSimulationExamples) {
      report.examples.push_back({.at = request.at,
                                 .lease_id = request.lease_id,
                                 .hw_id = request.facts.hw_id,
                                 .asset_id = request.facts.asset_id,
                                 .from = outcome_name(now),
                                 .to = outcome_name(then)});
    }
  }
  return report;
}

Json to_json(const SimulationReport& report) {
  Json json = Json::object();
  json.set("replayed", report.replayed);
  Json not_replayable = Json::object();
  not_replayable.set("without_facts", report.without_facts);
  not_replayable.set("evidence_not_kept", report.evidence_not_kept);
  json.set("not_replayable", std::move(not_replayable));
  json.set("unlike_the_record", report.unlike_the_record);
  json.set("newly_refused", to_json(report.newly_refused));
  json.set("newly_allowed", to_json(report.newly_allowed));
  json.set("refused_otherwise", to_json(report.refused_otherwise));
  Json examples = Json::array();
  for (const auto& example : report.examples) examples.push(to_json(example));
  json.set("examples", std::move(examples));
  return json;
}

}  // namespace tb::controlplane
