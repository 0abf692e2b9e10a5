// The table of cases: requests of the past, a change of terms, and what would have been otherwise. spec: wire 1.3
#include "controlplane/simulation.h"

#include <gtest/gtest.h>

#include <functional>

namespace tb::controlplane {
namespace {

using Kind = LoggedRequest::Kind;

constexpr UnixMs kStart = 1800000000000;
constexpr UnixMs kMinute = 60000;

api::Contract agreed() {
  api::Contract contract;
  contract.contract_id = "c";
  contract.tenant = "t";
  contract.terms.consumer = "acme";
  contract.terms.asset_ids = {"m"};
  contract.terms.not_before = kStart;
  contract.terms.not_after = kStart + 1000 * kMinute;
  contract.terms.max_seats = 2;
  return contract;
}

/// Requests as they were logged, one after the other.
class Past {
 public:
  LoggedRequest& add(Kind kind, std::int64_t minute, std::string lease, std::string reason = "") {
    LoggedRequest r;
    r.seq = static_cast<std::int64_t>(requests.size());
    r.at = kStart + minute * kMinute;
    r.kind = kind;
    r.lease_id = lease;
    r.sentinel_key = lease.empty() ? "k" + std::to_string(r.seq) : "key-of-" + lease;
    r.reason = std::move(reason);
    r.has_facts = r.is_request();
    r.facts.now = r.at;
    r.facts.asset_id = "m";
    r.facts.asset_registered = true;
    r.facts.hw_id = "hw-" + lease;
    r.facts.client_version = "0.2.0";
    r.facts.proven = r.facts.has_one_time_key = true;
    r.facts.is_renewal = kind == Kind::kRenewed;
    r.shown.token = true;
    requests.push_back(std::move(r));
    return requests.back();
  }
  std::vector<LoggedRequest> requests;
  UsageHistory history;
  std::optional<UnixMs> judged_at;
};

/// Two sentinels that run beside each other for an hour, then one more that found no seat.
Past busy_hour() {
  Past past;
  past.add(Kind::kReleased, 0, "a");
  past.add(Kind::kReleased, 1, "b");
  past.add(Kind::kRenewed, 2, "a");
  past.add(Kind::kRenewed, 3, "b");
  past.add(Kind::kDenied, 4, "", "seat_limit");
  return past;
}

using Reasons = std::map<std::string, std::int64_t>;

struct SimulationCase {
  const char* name;
  std::function<Past()> past;
  std::function<void(api::ContractTerms&)> change;
  Reasons refused, allowed, otherwise;
};

const SimulationCase kCases[] = {
    {"nothing_changed", busy_hour, [](api::ContractTerms&) {}, {}, {}, {}},
    {"fewer_seats", busy_hour, [](api::ContractTerms& t) { t.max_seats = 1; }, {{"seat_limit", 2}}, {}, {}},
    {"more_seats", busy_hour, [](api::ContractTerms& t) { t.max_seats = 3; }, {}, {{"seat_limit", 1}}, {}},
    {"a_seat_that_came_free",
     [] {
       Past past;
       past.add(Kind::kReleased, 0, "a");
       past.add(Kind::kEnded, 1, "a");
       past.add(Kind::kReleased, 2, "b");
       return past;
     },
     [](api::ContractTerms& t) { t.max_seats = 1; },
     {},
     {},
     {}},
    {"who_was_refused_asks_again_when_it_renewed",
     [] {
       Past past;
       past.add(Kind::kReleased, 0, "a");
       past.add(Kind::kReleased, 1, "b");
       past.add(Kind::kEnded, 2, "a");
       past.add(Kind::kRenewed, 3, "b");
       return past;
     },
     [](api::ContractTerms& t) { t.max_seats = 1; },
     {{"seat_limit", 1}},
     {},
     {}},
    {"a_seat_ends_with_its_lease",
     [] {
       Past past;
       past.add(Kind::kReleased, 0, "a");
       past.add(Kind::kReleased, 6, "b");
       return past;
     },
     [](api::ContractTerms& t) { t.max_seats = 1; },
     {},
     {},
     {}},
    {"a_longer_lease_holds_the_seat",
     [] {
       Past past;
       past.add(Kind::kReleased, 0, "a");
       past.add(Kind::kReleased, 6, "b");
       return past;
     },
     [](api::ContractTerms& t) {
       t.max_seats = 1;
       t.lease_seconds = 3600;
     },
     {{"seat_limit", 1}},
     {},
     {}},
    {"a_shorter_lease_is_renewed_in_time",
     busy_hour,
     [](api::ContractTerms& t) { t.lease_seconds = 10; },
     {},
     {{"seat_limit", 1}},
     {}},
    {"the_same_sentinel_supersedes_itself",
     [] {
       Past past;
       past.add(Kind::kReleased, 0, "a");
       past.add(Kind::kSuperseded, 1, "a");
       past.add(Kind::kReleased, 1, "b").sentinel_key = "key-of-a";
       return past;
     },
     [](api::ContractTerms& t) { t.max_seats = 1; },
     {},
     {},
     {}},
    {"a_lease_from_before_goes_on_with_fewer_seats",
     [] {
       Past past;
       past.add(Kind::kRenewed, 0, "a");
       past.add(Kind::kRenewed, 1, "b");
       return past;
     },
     [](api::ContractTerms& t) { t.max_seats = 1; },
     {},
     {},
     {}},
    {"revocation_frees_all",
     [] {
       Past past;
       past.add(Kind::kReleased, 0, "a");
       past.add(Kind::kAllEnded, 1, "");
       past.add(Kind::kReleased, 2, "b");
       return past;
     },
     [](api::ContractTerms& t) { t.max_seats = 1; },
     {},
     {},
     {}},
    {"an_earlier_end",
     busy_hour,
     [](api::ContractTerms& t) { t.not_after = kStart + 2 * kMinute; },
     {{"contract_expired", 2}},
     {},
     {{"contract_expired", 1}}},
    {"hardware_is_listed",
     busy_hour,
     [](api::ContractTerms& t) { t.hardware = {.mode = api::Hardware::Mode::kListed, .hw_ids = {"hw-a"}}; },
     {{"hardware_mismatch", 2}},
     {},
     {{"hardware_mismatch", 1}}},
    {"the_first_machine_would_wait_for_approval",
     busy_hour,
     [](api::ContractTerms& t) { t.hardware.mode = api::Hardware::Mode::kPinFirst; },
     {{"enrolment_pending", 2}, {"hardware_mismatch", 2}},
     {},
     {{"hardware_mismatch", 1}}},
    {"evidence_is_asked_for",
     busy_hour,
     [](api::ContractTerms& t) { t.attestation = "tpm"; },
     {{"attestation_required", 4}},
     {},
     {{"attestation_required", 1}}},
    {"certificates_are_asked_for",
     busy_hour,
     [](api::ContractTerms& t) {
       t.authentication = "mtls";
       t.client_certificates = {std::string(64, 'a')};
     },
     {{"authentication_required", 4}},
     {},
     {{"authentication_required", 1}}},
    {"a_newer_client_is_asked_for",
     busy_hour,
     [](api::ContractTerms& t) { t.min_client_version = "0.3.0"; },
     {{"client_too_old", 4}},
     {},
     {{"client_too_old", 1}}},
    {"another_asset",
     busy_hour,
     [](api::ContractTerms& t) { t.asset_ids = {"n"}; },
     {{"asset_not_covered", 4}},
     {},
     {{"asset_not_covered", 1}}},
    {"an_asset_that_was_missing",
     [] {
       Past past;
       past.add(Kind::kDenied, 0, "", "asset_not_covered").facts.asset_id = "n";
       return past;
     },
     [](api::ContractTerms& t) { t.asset_ids = {"m", "n"}; },
     {},
     {{"asset_not_covered", 1}},
     {}},
    {"suspended_is_suspended_under_any_terms",
     [] {
       Past past;
       past.add(Kind::kDenied, 0, "", "contract_suspended").state = api::ContractState::kSuspended;
       return past;
     },
     [](api::ContractTerms& t) { t.max_seats = 10; },
     {},
     {},
     {}},
    {"a_lease_that_was_gone_stays_gone",
     [] {
       Past past;
       past.add(Kind::kDenied, 0, "a", "seat_limit").facts.is_renewal = true;
       return past;
     },
     [](api::ContractTerms& t) { t.max_seats = 10; },
     {},
     {},
     {}},
    {"a_quota_that_was_used_up_by_then",
     [] {
       Past past = busy_hour();
       past.history.add("tokens", kStart, 100);
       past.history.add("tokens", kStart + api::kHourMs, 1000);
       return past;
     },
     [](api::ContractTerms& t) {
       t.quotas = value_or_throw(Json::parse(R"({"tokens":{"limit":100,"period":"total"}})"));
     },
     {{"quota_exhausted", 4}},
     {},
     {{"quota_exhausted", 1}}},
    {"a_quota_that_later_usage_would_have_reached",
     [] {
       Past past = busy_hour();
       past.history.add("tokens", kStart, 100);
       past.history.add("tokens", kStart + 2 * api::kHourMs, 1000);
       return past;
     },
     [](api::ContractTerms& t) {
       t.quotas = value_or_throw(Json::parse(R"({"tokens":{"limit":101,"period":"total"}})"));
     },
     {},
     {},
     {}},
    {"judged_by_the_clock_of_now",
     [] {
       Past past = busy_hour();
       past.judged_at = kStart + 100 * kMinute;
       return past;
     },
     [](api::ContractTerms& t) { t.not_after = kStart + 50 * kMinute; },
     {{"contract_expired", 4}},
     {},
     {{"contract_expired", 1}}},
};

class Simulation : public testing::TestWithParam<SimulationCase> {};

TEST_P(Simulation, SaysWhatWouldDiffer) {
  const Past past = GetParam().past();
  const api::Contract contract = agreed();
  api::ContractTerms changed = contract.terms;
  GetParam().change(changed);
  const auto report = simulate(contract, changed, past.requests, past.history, past.judged_at);
  EXPECT_EQ(report.newly_refused.by_reason, GetParam().refused);
  EXPECT_EQ(report.newly_allowed.by_reason, GetParam().allowed);
  EXPECT_EQ(report.refused_otherwise.by_reason, GetParam().otherwise);
  EXPECT_EQ(report.unlike_the_record, 0) << "the terms are those that the record was made under";
  EXPECT_EQ(report.without_facts + report.evidence_not_kept, 0);
}

INSTANTIATE_TEST_SUITE_P(Cases, Simulation, testing::ValuesIn(kCases),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(SimulationReport, CountsLeasesAndMachinesOnceAndGivesExamples) {
  const Past past = busy_hour();
  api::ContractTerms changed = agreed().terms;
  changed.max_seats = 1;
  const auto report = simulate(agreed(), changed, past.requests, past.history, {});
  EXPECT_EQ(report.newly_refused.requests, 2);
  EXPECT_EQ(report.newly_refused.leases, std::set<std::string>{"b"});
  EXPECT_EQ(report.newly_refused.machines, std::set<std::string>{"hw-b"});
  ASSERT_EQ(report.examples.size(), 2U);
  EXPECT_EQ(report.examples[0].from, "granted");
  EXPECT_EQ(report.examples[0].to, "seat_limit");
  EXPECT_EQ(report.examples[0].at, kStart + kMinute);
}

TEST(SimulationReport, ExamplesHaveABound) {
  Past past;
  for (int i = 0; i < 200; ++i) past.add(Kind::kReleased, i, "l" + std::to_string(i)).sentinel_key = "one";
  api::ContractTerms changed = agreed().terms;
  changed.asset_ids = {"n"};
  const auto report = simulate(agreed(), changed, past.requests, past.history, {});
  EXPECT_EQ(report.newly_refused.requests, 200);
  EXPECT_EQ(report.examples.size(), kMaxSimulationExamples);
}

TEST(SimulationReport, SaysWhatItCannotReplay) {
  Past past = busy_hour();
  past.requests[0].has_facts = false;
  past.requests[1].facts.evidence_came = past.requests[1].facts.attested = true;
  past.requests[1].evidence_under = evidence_terms_id(agreed().terms);
  api::ContractTerms changed = agreed().terms;
  changed.attestation = "tpm";
  const auto report = simulate(agreed(), changed, past.requests, past.history, {});
  EXPECT_EQ(report.without_facts, 1);
  EXPECT_EQ(report.evidence_not_kept, 1);
  EXPECT_EQ(report.replayed, 3);
}

TEST(SimulationReport, SaysWhereThePresentTermsAnswerOtherwiseThanThen) {
  Past past;
  past.add(Kind::kDenied, 0, "", "hardware_mismatch");
  const auto report = simulate(agreed(), agreed().terms, past.requests, past.history, {});
  EXPECT_EQ(report.unlike_the_record, 1);
  EXPECT_EQ(report.newly_allowed.requests, 0) << "it is not the change that allows it";
}

}  // namespace
}  // namespace tb::controlplane
