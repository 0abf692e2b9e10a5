#include "sentinel/authorizer.h"

#include <fmt/format.h>

#include <algorithm>

#include "api/grant.h"
#include "async/stop.h"
#include "base/clock.h"
#include "jose/sealed_key.h"
#include "jose/statement.h"
#include "sentinel/evidence.h"

namespace tb::sentinel {
namespace {

const std::string kAuthorizePath = "/api/v1/license/authorize";
constexpr std::int64_t kDefaultRenewMs = 60'000;
constexpr std::int64_t kMinRenewMs = 200;

Lease lease_of(api::AuthorizeAnswer& answer, std::int64_t sent_boot_ms, UnixMs sent_unix_ms) {
  Lease lease;
  lease.lease_id = answer.lease_id.value_or("");
  if (answer.renewal_token) lease.renewal_token = std::move(*answer.renewal_token);
  lease.sas_url = std::move(answer.sas_url);
  lease.manifest_url = std::move(answer.manifest_url);
  lease.manifest_sha256 = answer.manifest_sha256;
  lease.metadata = answer.metadata;
  lease.policy_version = answer.policy_version;
  if (answer.policy) {
    lease.allowed_paths = answer.policy->allowed_paths;
    lease.enforcement = answer.policy->enforcement;
    lease.quotas = answer.policy->quotas;
    lease.max_seats = answer.policy->max_seats;
    lease.marketplace_by_control_plane = answer.policy->marketplace_by_control_plane;
    lease.isolation_required = !answer.policy->runtime_isolation.empty() && answer.policy->runtime_isolation != "none";
  }
  // The two times are of one clock, the control plane's: only their distance counts here.
  const UnixMs issued = answer.issued_at.value_or(sent_unix_ms);
  const UnixMs expires = answer.lease_expires_at.value_or(answer.expires_at);
  lease.expires_boot_ms = sent_boot_ms + (expires - issued);
  if (answer.issued_at) lease.urls_expire_boot_ms = sent_boot_ms + (answer.expires_at - issued);
  lease.renew_after_ms = answer.renew_after_seconds ? *answer.renew_after_seconds * 1000 : kDefaultRenewMs;
  lease.renew_after_ms = std::max(lease.renew_after_ms, kMinRenewMs);
  lease.offline_grace_ms = std::max<std::int64_t>(answer.offline_grace_seconds, 0) * 1000;
  return lease;
}

/// Codes of a proof that was not taken: with their own hints, as only the operators of both sides can mend them.
bool is_proof_code(std::string_view code) {
  return code == "proof_refused" || code == "proof_replayed" || code == "proof_stale";
}

/// A fault of this machine's evidence, which is not the control plane's.
bool is_machines_own(const Error& error) {
  return error.reason.starts_with("tpm_") || error.reason == "evidence_unavailable";
}

bool is_denial_reason(std::string_view reason) {
  return std::ranges::binary_search(api::denial_reasons(), reason);
}

}  // namespace

Error licence_error(const api::Denial& denial) {
  const std::string said = denial.detail.empty() ? denial.reason : fmt::format("{}: {}", denial.reason, denial.detail);
  return Error(denial.known ? std::string_view(denial.reason) : "licence_denied",
               "the control plane denied the licence: " + said);
}

bool is_final(const Error& error) {
  switch (error.code()) {
    case Code::kDenied:
    case Code::kExpired:
    case Code::kTampered:
    case Code::kTruncated:
    case Code::kMalformed:
      return true;
    default:
      return false;
  }
}

Authorizer::Authorizer(LicenceQuestion question, const jose::PrivateKey& key, Send send, async::BackoffPolicy backoff)
    : question_(std::move(question)),
      link_(question_.endpoint, question_.activation_token_file, question_.control_plane_key, key, std::move(send)),
      backoff_(backoff) {}

Error Authorizer::denial_error(const api::Denial& denial) {
  ask_again_ms_ = denial.retry_after_seconds.value_or(0) * 1000;
  return licence_error(denial);
}

std::optional<std::int64_t> Authorizer::ask_again_ms() const {
  const std::int64_t ms = ask_again_ms_;
  return ms == 0 ? std::nullopt : std::optional(ms);
}

api::AuthorizeRequest Authorizer::request() const {
  api::AuthorizeRequest out;
  out.contract_id = question_.contract_id;
  out.asset_id = question_.asset_id;
  out.hw_id = question_.hw_id;
  out.client_version = question_.client_version;
  return out;
}

/// spec: wire 1.1, grant. What it says replaces what stands beside it in the answer.
void Authorizer::check_grant(api::AuthorizeAnswer& answer, const api::AuthorizeRequest& asked,
                             const std::string& jti) const {
  const auto key = link_.pinned_key();
  if (!key) return;
  if (!answer.grant) throw Error("grant_refused", "the control plane's answer carries no grant");
  api::LeaseGrant grant;
  try {
    grant = api::LeaseGrant::parse(jose::verify(*key, api::kGrantType, *answer.grant));
  } catch (const Error& error) {
    throw Error("grant_refused", "the grant cannot be believed", error);
  }
  const auto require = [](bool holds, const char* what) {
    if (!holds) throw Error("grant_refused", fmt::format("the grant is for another {}", what));
  };
  require(grant.proof_jti == jti, "request");
  require(grant.contract_id == asked.contract_id, "contract");
  require(grant.asset_id == asked.asset_id, "asset");
  require(grant.lease_id == answer.lease_id, "lease");
  require(grant.nonce == asked.nonce.value_or(""), "nonce");
  const std::string thumbprint =
      asked.key_release_jwk ? jose::PublicKey::from_jwk(*asked.key_release_jwk).thumbprint() : std::string();
  require(grant.key_thumbprint == thumbprint, "one-time key");
  require(grant.manifest_sha256 == answer.manifest_sha256.value_or(""), "manifest");
  require(grant.issued_at == answer.issued_at && grant.expires_at == answer.lease_expires_at, "time");
  require(grant.offline_grace_seconds == answer.offline_grace_seconds, "grace");
  for (const auto* url : {&answer.sas_url, &answer.manifest_url}) {
    const std::string origin = api::origin_of(url->printable());
    const bool granted = std::ranges::find(grant.url_origins, origin) != grant.url_origins.end();
    require(granted && !origin.empty(), "store");
  }
  answer.policy = std::move(grant.policy);
  answer.policy_version = grant.policy_version;
}

void Authorizer::add_evidence(api::AuthorizeRequest& asked, bool enrol, const std::stop_token& stop) const {
  if (evidence_ == nullptr) return;
  evidence_->add_to(
      asked, enrol,
      [&](std::string_view path, const Json& body) { return link_.post(std::string(path), body, stop).response; },
      stop);
}

Authorization Authorizer::authorize_once(std::stop_token stop, std::optional<std::int64_t>& retry_after_ms) {
  api::AuthorizeRequest asked = request();
  std::optional<jose::PrivateKey> recipient;
  if (!question_.plain_key_allowed) {
    recipient = jose::PrivateKey::generate();
    asked.key_release_jwk = recipient->public_key().to_jwk();
  }
  add_evidence(asked, true, stop);
  const std::int64_t sent_boot_ms = boot_ms_now();
  const UnixMs sent_unix_ms = unix_ms_now();
  auto [answer, jti] = link_.post(kAuthorizePath, asked.to_json(), std::move(stop));
  const SecretString body(std::move(answer.body));
  if (http::is_retryable_status(answer.status)) {
    retry_after_ms = http::retry_after_ms(answer.headers.get("retry-after"), unix_ms_now());
    throw Error("control_plane_unavailable", fmt::format("the control plane answered {}", answer.status));
  }
  if (answer.status == 401 || answer.status == 403) {
    if (const auto denial = api::parse_denial(body.reveal())) throw denial_error(*denial);
    const std::string code = problem_code(body.reveal());
    if (is_proof_code(code)) throw Error(code, "the control plane did not take the proof of the sentinel's key");
    throw Error("licence_denied", fmt::format("the control plane answered {} without a reason", answer.status));
  }
  if (answer.status != 200)
    throw Error("control_plane_refused", fmt::format("the control plane answered {}", answer.status));

  auto outcome = api::parse_authorize_answer(body.reveal(), {.plain_key_allowed = question_.plain_key_allowed});
  if (const auto* denial = std::get_if<api::Denial>(&outcome)) throw denial_error(*denial);
  auto& authorized = std::get<api::AuthorizeAnswer>(outcome);
  check_grant(authorized, asked, jti);
  if (authorized.key) {
    FileKey key = std::move(*authorized.key);
    return {remembered(lease_of(authorized, sent_boot_ms, sent_unix_ms)), std::move(key)};
  }
  if (!recipient)
    throw Error("authorize_answer_malformed", "the control plane sent a wrapped_key that was not asked for");
  if (!authorized.lease_id)
    throw Error("authorize_answer_malformed", "the control plane's answer has a wrapped_key and no lease_id");
  FileKey key = jose::open_key(*recipient, *authorized.wrapped_key,
                               {{"contract_id", Json(question_.contract_id)},
                                {"asset_id", Json(question_.asset_id)},
                                {"lease_id", Json(*authorized.lease_id)}});
  return {remembered(lease_of(authorized, sent_boot_ms, sent_unix_ms)), std::move(key)};
}

Lease Authorizer::remembered(Lease lease) {
  if (see_lease_) see_lease_(lease);
  const std::scoped_lock lock(lease_mutex_);
  last_lease_id_ = lease.lease_id;
  return lease;
}

std::string Authorizer::last_lease_id() const {
  const std::scoped_lock lock(lease_mutex_);
  return last_lease_id_;
}

http::ClientResponse Authorizer::post_as_holder(const std::string& target, std::string body,
                                                const std::string& content_type, std::stop_token stop) const {
  constexpr std::int64_t kReportMs = 30'000;
  return link_.post_text(target, std::move(body), content_type, kReportMs, std::move(stop)).response;
}

Authorization Authorizer::authorize(std::stop_token stop) {
  for (int attempt = 1;; ++attempt) {
    std::optional<std::int64_t> retry_after_ms;
    try {
      return authorize_once(stop, retry_after_ms);
    } catch (const Error& error) {
      if (error.reason == "cancelled" || !error.retryable()) throw;
      const auto wait_ms = async::next_delay(backoff_, attempt, async::unit_random, retry_after_ms);
      if (!wait_ms) {
        if (is_machines_own(error)) throw;
        throw Error("control_plane_unavailable", fmt::format("the control plane was asked {} times in vain", attempt),
                    error);
      }
      if (!async::sleep_unless_stopped(stop, std::chrono::milliseconds(*wait_ms))) throw Error("cancelled", "stopped");
    }
  }
}

Lease Authorizer::begin_anew(Holding& held, std::stop_token stop) {
  std::optional<std::int64_t> ignored;
  try {
    Lease lease = authorize_once(std::move(stop), ignored).lease;
    held = {.lease_id = lease.lease_id, .renewal_token = std::move(lease.renewal_token), .unanswered = 0};
    return lease;
  } catch (const Error& error) {
    if (error.reason == "cancelled" || is_denial_reason(error.reason)) throw;
    throw Error("control_plane_unavailable", "a new lease could not be begun", error);
  }
}

Lease Authorizer::renew(Holding& held, std::stop_token stop) {
  constexpr int kMostUnanswered = 2;
  if (held.unanswered >= kMostUnanswered && !held.renewal_token.empty()) return begin_anew(held, std::move(stop));
  api::AuthorizeRequest asked = request();
  if (!held.lease_id.empty()) asked.lease_id = held.lease_id;
  if (!held.renewal_token.empty()) asked.renewal_token = held.renewal_token.clone();
  add_evidence(asked, false, stop);
  const std::int64_t sent_boot_ms = boot_ms_now();
  const UnixMs sent_unix_ms = unix_ms_now();
  std::optional<api::Denial> denial;
  ++held.unanswered;
  try {
    auto [answer, jti] = link_.post(kAuthorizePath, asked.to_json(), std::move(stop));
    const SecretString body(std::move(answer.body));
    denial = api::parse_denial(body.reveal());
    // A refusal in the control plane's own words has changed nothing there; a fault of its own may have.
    const bool own_words = (denial && denial->known) || !problem_code(body.reveal()).empty();
    if (own_words && (answer.status < 500 || answer.status == 503)) --held.unanswered;
    if (answer.status == 200 && !denial) {
      auto outcome = api::parse_authorize_answer(
          body.reveal(), {.plain_key_allowed = question_.plain_key_allowed, .key_required = false});
      if (auto* authorized = std::get_if<api::AuthorizeAnswer>(&outcome)) {
        check_grant(*authorized, asked, jti);
        Lease lease = lease_of(*authorized, sent_boot_ms, sent_unix_ms);
        if (lease.lease_id != held.lease_id) {
          throw Error("control_plane_unavailable", "the control plane renewed another lease");
        }
        held.renewal_token = std::move(lease.renewal_token);
        held.unanswered = 0;
        if (see_lease_) see_lease_(lease);
        return lease;
      }
    }
    if (!denial || !denial->known) {
      throw Error("control_plane_unavailable",
                  fmt::format("the control plane answered the renewal with {}", answer.status));
    }
  } catch (const Error& error) {
    if (error.reason == "cancelled" || error.reason == "control_plane_unavailable") throw;
    throw Error("control_plane_unavailable", "the lease could not be renewed", error);
  }
  throw denial_error(*denial);
}

bool Authorizer::wait_for_hint(const std::string& lease_id, std::int64_t policy_version, std::stop_token stop) const {
  const auto answer = link_
                          .get(fmt::format("/api/v1/license/events?contract_id={}&lease_id={}&policy_version={}",
                                           question_.contract_id, lease_id, policy_version),
                               std::move(stop))
                          .response;
  if (answer.status == 404 || answer.status == 405) throw Error("control_plane_refused", "it gives no hints");
  const auto body = Json::parse(answer.body, {.bytes = 4096, .depth = 4});
  const Json* changed = answer.status == 200 && body ? body->find("changed") : nullptr;
  if (changed == nullptr || !changed->is_bool()) {
    throw Error("control_plane_unavailable", fmt::format("the control plane answered {} to a wait", answer.status));
  }
  return changed->as_bool();
}

bool Authorizer::release(const std::string& lease_id) noexcept {
  if (lease_id.empty()) return true;
  try {
    const api::ReleaseRequest asked{question_.contract_id, lease_id};
    const int status = link_.post("/api/v1/license/release", asked.to_json(), {}).response.status;
    return status >= 200 && status < 300;
  } catch (...) {
    return false;
  }
}

}  // namespace tb::sentinel
