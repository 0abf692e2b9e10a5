// The rules, in the order in which a request meets them.
#include "controlplane/policy.h"

#include <algorithm>
#include <array>
#include <utility>

#include "api/usage.h"
#include "api/version.h"

namespace tb::controlplane {
namespace {

constexpr std::array<std::pair<std::string_view, std::string_view>, 16> kDetails = {{
    {"asset_not_covered",
     "The contract does not cover this asset: ask the provider to add it, or correct TB_ASSET_ID."},
    {"attestation_failed",
     "The evidence of this machine does not meet the contract: ask the provider which state it expects."},
    {"attestation_required",
     "The contract wants evidence of this machine's state: set TB_ATTESTATION to the kind that the provider asks for."},
    {"authentication_required",
     "No credential that is valid for this contract came: check TB_CONTRACT_ID and TB_ACTIVATION_TOKEN_FILE, or ask "
     "the "
     "provider for a new activation token."},
    {"client_too_old",
     "This client is older than the contract allows, or proves no key of its own: install a newer sentinel."},
    {"contract_expired", "The contract has ended: ask the provider to extend it."},
    {"contract_not_started", "The contract has not begun yet: wait for its start, and check this machine's clock."},
    {"contract_revoked", "The contract was revoked: ask the provider for a new one."},
    {"contract_suspended", "The contract is suspended: ask the provider to resume it."},
    {"enrolment_pending", "This machine waits for the provider's approval: ask the provider to approve it."},
    {"hardware_mismatch", "The contract is bound to other hardware: ask the provider to reset or extend it."},
    {"key_wrap_required", "The key is released only to a one-time key: use a sentinel that sends key_release_jwk."},
    {"lease_cloned", "The lease was used by two sentinels: start again, and look for a copied state directory."},
    {"nonce_invalid", "The nonce is unknown, used or expired: ask for a new challenge and try again."},
    {"quota_exhausted", "A quota of the contract is used up: wait for its next period, or ask the provider for more."},
    {"seat_limit",
     "No seat is free for this sentinel, or the lease it holds has ended: stop another one, wait for its lease to end, "
     "or ask the provider for more seats."},
}};

Decision denied(std::string_view reason) {
  return {.grant = std::nullopt, .reason = reason};
}

/// The reason of the first rule about the machine that does not hold, or "".
std::string_view hardware_fault(const api::Hardware& hardware, const Facts& facts) {
  switch (hardware.mode) {
    case api::Hardware::Mode::kAny:
      return "";
    case api::Hardware::Mode::kListed:
      return std::ranges::find(hardware.hw_ids, facts.hw_id) != hardware.hw_ids.end() ? "" : "hardware_mismatch";
    case api::Hardware::Mode::kPinFirst:
      if (!facts.pin) return "enrolment_pending";
      if (facts.pin->hw_id != facts.hw_id) return "hardware_mismatch";
      return facts.pin->approved ? "" : "enrolment_pending";
  }
  return "hardware_mismatch";
}

/// What is used up may be a little more than the limit: usage is reported after it happened.
bool quota_is_used_up(const api::ContractTerms& terms, const Facts& facts) {
  return std::ranges::any_of(api::parse_quotas(terms.quotas), [&](const auto& quota) {
    const auto used = facts.used.find(quota.first);
    return used == facts.used.end() || used->second >= quota.second.limit;
  });
}

std::string_view fault(const api::Contract& contract, const Facts& facts) {
  const auto& terms = contract.terms;
  if (!facts.authenticated) return "authentication_required";
  if (contract.state == api::ContractState::kRevoked) return "contract_revoked";
  if (contract.state == api::ContractState::kSuspended) return "contract_suspended";
  if (facts.now < terms.not_before) return "contract_not_started";
  if (facts.now >= terms.not_after) return "contract_expired";
  if (!facts.proven && proof_required(terms)) return "client_too_old";
  const bool has_oldest = !terms.min_client_version.empty();
  if (has_oldest && api::is_older(facts.client_version, terms.min_client_version)) return "client_too_old";
  const bool named = std::ranges::find(terms.asset_ids, facts.asset_id) != terms.asset_ids.end();
  if (!named || !facts.asset_registered) return "asset_not_covered";
  if (const auto reason = hardware_fault(terms.hardware, facts); !reason.empty()) return reason;
  if (facts.nonce_valid == false) return "nonce_invalid";
  if (terms.attestation != "none" && (facts.evidence_needed || facts.evidence_came)) {
    if (!facts.evidence_came) return "attestation_required";
    if (!facts.attested) return "attestation_failed";
    if (terms.attestation == "tpm" && !facts.machine_approved) return "enrolment_pending";
  }
  if (quota_is_used_up(terms, facts)) return "quota_exhausted";
  if (!facts.is_renewal && !facts.has_one_time_key && terms.key_release != "plain") return "key_wrap_required";
  return "";
}

KeyForm key_form(const api::ContractTerms& terms, const Facts& facts) {
  if (facts.has_one_time_key) return KeyForm::kWrapped;
  if (facts.is_renewal || terms.key_release != "plain") return KeyForm::kNone;
  return KeyForm::kPlain;
}

}  // namespace

bool proof_required(const api::ContractTerms& terms) {
  return terms.authentication != "none" && terms.key_release != "plain";
}

Decision decide(const api::Contract& contract, const Facts& facts) {
  if (const auto reason = fault(contract, facts); !reason.empty()) return denied(reason);
  const auto& terms = contract.terms;
  Grant grant;
  grant.key = key_form(terms, facts);
  const std::int64_t grace_ms = terms.offline_grace_seconds * 1000;
  // Nothing outlives the contract, the offline grace included.
  grant.lease_expires_at =
      std::max(facts.now, std::min(facts.now + terms.lease_seconds * 1000, terms.not_after - grace_ms));
  grant.urls_expire_at = std::min(facts.now + facts.url_seconds * 1000, terms.not_after);
  grant.seat_until = std::min(grant.lease_expires_at + grace_ms, terms.not_after);
  // A sentinel of the first implementation never renews: its seat lasts as long as the URLs that it was given.
  if (terms.authentication == "none") grant.seat_until = std::max(grant.seat_until, grant.urls_expire_at);
  grant.renew_after_seconds = std::max<std::int64_t>(1, (grant.lease_expires_at - facts.now) / 3000);
  return {.grant = grant, .reason = ""};
}

std::string_view denial_detail(std::string_view reason) {
  for (const auto& [code, detail] : kDetails) {
    if (code == reason) return detail;
  }
  return "";
}

}  // namespace tb::controlplane
