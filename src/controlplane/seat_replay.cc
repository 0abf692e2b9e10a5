#include "controlplane/seat_replay.h"

#include <algorithm>

#include "api/usage.h"
#include "controlplane/evidence.h"

namespace tb::controlplane {
namespace {

/// The lease was gone or another's, which no terms would have changed.
bool refused_by_the_store(const LoggedRequest& request) {
  return request.kind == LoggedRequest::Kind::kDenied && request.facts.is_renewal &&
         (request.reason == "seat_limit" || request.reason == "lease_cloned");
}

}  // namespace

void UsageHistory::add(const std::string& dimension, UnixMs hour, std::int64_t quantity) {
  by_hour_[dimension][hour] += quantity;
}

std::map<std::string, std::int64_t> UsageHistory::used(const api::ContractTerms& terms, UnixMs at) const {
  std::map<std::string, std::int64_t> out;
  for (const auto& [dimension, quota] : api::parse_quotas(terms.quotas)) {
    std::int64_t& sum = out[dimension];
    const auto hours = by_hour_.find(dimension);
    if (hours == by_hour_.end()) continue;
    const auto begin = hours->second.lower_bound(quota.since(at));
    const auto end = hours->second.upper_bound(at);
    for (auto hour = begin; hour != end; ++hour) sum += hour->second;
  }
  return out;
}

SeatReplay::SeatReplay(api::Contract contract, api::ContractTerms terms, const std::vector<LoggedRequest>& requests,
                       const UsageHistory& history, std::optional<UnixMs> judged_at)
    : contract_(std::move(contract)), history_(history), judged_at_(judged_at) {
  contract_.terms = std::move(terms);
  for (const auto& request : requests) {
    // What was denied shows nothing: its lease may have ended long before.
    if (request.lease_id.empty() || request.kind == LoggedRequest::Kind::kDenied) continue;
    auto& times = told_at_[request.lease_id];
    if (times.empty() && request.kind != LoggedRequest::Kind::kReleased) {
      held_[request.lease_id] = {.sentinel_key = request.sentinel_key, .until = request.at + 1};
    }
    times.push_back(request.at);
  }
  // Of several nodes whose clocks differ a little.
  for (auto& [lease, times] : told_at_) std::ranges::sort(times);
}

UnixMs SeatReplay::held_until(const LoggedRequest& request, UnixMs until) const {
  const auto told = told_at_.find(request.lease_id);
  if (told == told_at_.end()) return until;
  const auto next = std::ranges::upper_bound(told->second, request.at);
  return next == told->second.end() ? until : std::max(until, *next + 1);
}

Facts SeatReplay::facts_of(const LoggedRequest& request) {
  Facts facts = request.facts;
  facts.now = judged_at_.value_or(request.facts.now);
  facts.authenticated = credential_is_enough(contract_.terms, request.shown);
  facts.evidence_needed = evidence_needed(facts.is_renewal, facts.has_one_time_key, contract_.terms);
  facts.used = history_.used(contract_.terms, facts.now);
  if (contract_.terms.hardware.mode == api::Hardware::Mode::kPinFirst && !facts.pin) {
    if (!pin_) pin_ = store::HardwarePin{.hw_id = facts.hw_id, .approved = false};
    facts.pin = pin_;
  }
  return facts;
}

std::string SeatReplay::take(const LoggedRequest& request, const std::string& lease, UnixMs seat_until) {
  const std::string& key = request.sentinel_key;
  if (!key.empty()) {
    std::erase_if(held_, [&](const auto& entry) { return entry.first != lease && entry.second.sentinel_key == key; });
  }
  const bool has_one = held_.contains(lease);
  if (!has_one && static_cast<std::int64_t>(held_.size()) >= contract_.terms.max_seats) return "seat_limit";
  held_[lease] = {.sentinel_key = key, .until = held_until(request, seat_until)};
  return "";
}

std::string SeatReplay::step(const LoggedRequest& request) {
  using Kind = LoggedRequest::Kind;
  std::erase_if(held_, [&](const auto& entry) { return entry.second.until <= request.at; });
  if (request.kind == Kind::kAllEnded) held_.clear();
  if (request.kind == Kind::kEnded) held_.erase(request.lease_id);
  if (!request.is_request()) return "";
  if (!request.has_facts) {
    // What it did to seats is known all the same, if not until when: until something else is told of the lease.
    const bool granted = request.kind != Kind::kDenied && !request.lease_id.empty();
    if (granted) take(request, request.lease_id, request.at);
    return "";
  }
  contract_.state = request.state;
  const Facts facts = facts_of(request);
  const Decision decision = decide(contract_, facts);
  if (!decision.grant) {
    // It is not renewed: it ends by itself, as a lease that nobody renews.
    if (const auto seat = held_.find(request.lease_id); seat != held_.end()) {
      seat->second.until = std::min(seat->second.until, request.at + contract_.terms.lease_seconds * 1000);
    }
    return std::string(decision.reason);
  }
  if (refused_by_the_store(request)) return request.reason;
  const std::string lease = request.lease_id.empty() ? "#" + std::to_string(request.seq) : request.lease_id;
  return take(request, lease, request.at + (decision.grant->seat_until - facts.now));
}

}  // namespace tb::controlplane
