#include "sentinel/authorizer.h"

#include <fmt/format.h>

#include <algorithm>

#include "async/stop.h"
#include "base/clock.h"
#include "base/fs.h"
#include "jose/sealed_key.h"

namespace tb::sentinel {
namespace {

constexpr std::int64_t kDefaultRenewMs = 60'000;
constexpr std::int64_t kMinRenewMs = 200;

Error denial_error(const api::Denial& denial) {
  const std::string said = denial.detail.empty() ? denial.reason : fmt::format("{}: {}", denial.reason, denial.detail);
  return Error(denial.known ? std::string_view(denial.reason) : "licence_denied",
               "the control plane denied the licence: " + said);
}

Lease lease_of(api::AuthorizeAnswer& answer, std::int64_t sent_boot_ms, UnixMs sent_unix_ms) {
  Lease lease;
  lease.lease_id = answer.lease_id.value_or("");
  lease.sas_url = std::move(answer.sas_url);
  lease.manifest_url = std::move(answer.manifest_url);
  lease.manifest_sha256 = answer.manifest_sha256;
  lease.metadata = answer.metadata;
  if (answer.policy) {
    lease.allowed_paths = answer.policy->allowed_paths;
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

}  // namespace

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

Authorizer::Authorizer(LicenceQuestion question, Send send, async::BackoffPolicy backoff)
    : question_(std::move(question)), send_(std::move(send)), backoff_(backoff) {}

api::AuthorizeRequest Authorizer::request() const {
  api::AuthorizeRequest out;
  out.contract_id = question_.contract_id;
  out.asset_id = question_.asset_id;
  out.hw_id = question_.hw_id;
  out.client_version = question_.client_version;
  return out;
}

http::ClientResponse Authorizer::post(std::string_view path, const Json& body, std::stop_token stop) const {
  http::ClientRequest request;
  request.method = "POST";
  request.url = SecretUrl(question_.endpoint + std::string(path));
  request.headers.set("Content-Type", "application/json");
  request.headers.set("Accept", "application/json");
  request.body = body.dump();
  request.max_answer_bytes = api::kMaxAuthorizeAnswerBytes;
  request.stop = std::move(stop);
  if (!question_.activation_token_file.empty()) {
    const SecretString content = value_or_throw(read_secret_file(question_.activation_token_file, 8192));
    const std::string_view text = content.reveal();
    request.bearer = SecretString(std::string(text.substr(0, text.find_first_of("\r\n"))));
  }
  return send_(request);
}

Authorization Authorizer::authorize_once(std::stop_token stop, std::optional<std::int64_t>& retry_after_ms) const {
  api::AuthorizeRequest asked = request();
  std::optional<jose::PrivateKey> recipient;
  if (!question_.plain_key_allowed) {
    recipient = jose::PrivateKey::generate();
    asked.key_release_jwk = recipient->public_key().to_jwk();
  }
  const std::int64_t sent_boot_ms = boot_ms_now();
  const UnixMs sent_unix_ms = unix_ms_now();
  http::ClientResponse answer = post("/api/v1/license/authorize", asked.to_json(), std::move(stop));
  const SecretString body(std::move(answer.body));
  if (http::is_retryable_status(answer.status)) {
    retry_after_ms = http::retry_after_ms(answer.headers.get("retry-after"), unix_ms_now());
    throw Error("control_plane_unavailable", fmt::format("the control plane answered {}", answer.status));
  }
  if (answer.status == 401 || answer.status == 403) {
    if (const auto denial = api::parse_denial(body.reveal())) throw denial_error(*denial);
    throw Error("licence_denied", fmt::format("the control plane answered {} without a reason", answer.status));
  }
  if (answer.status != 200)
    throw Error("control_plane_refused", fmt::format("the control plane answered {}", answer.status));

  auto outcome = api::parse_authorize_answer(body.reveal(), {.plain_key_allowed = question_.plain_key_allowed});
  if (const auto* denial = std::get_if<api::Denial>(&outcome)) throw denial_error(*denial);
  auto& authorized = std::get<api::AuthorizeAnswer>(outcome);
  if (authorized.key) {
    FileKey key = std::move(*authorized.key);
    return {lease_of(authorized, sent_boot_ms, sent_unix_ms), std::move(key)};
  }
  if (!recipient)
    throw Error("authorize_answer_malformed", "the control plane sent a wrapped_key that was not asked for");
  if (!authorized.lease_id)
    throw Error("authorize_answer_malformed", "the control plane's answer has a wrapped_key and no lease_id");
  FileKey key = jose::open_key(*recipient, *authorized.wrapped_key,
                               {{"contract_id", Json(question_.contract_id)},
                                {"asset_id", Json(question_.asset_id)},
                                {"lease_id", Json(*authorized.lease_id)}});
  return {lease_of(authorized, sent_boot_ms, sent_unix_ms), std::move(key)};
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
        throw Error("control_plane_unavailable", fmt::format("the control plane was asked {} times in vain", attempt),
                    error);
      }
      if (!async::sleep_unless_stopped(stop, std::chrono::milliseconds(*wait_ms))) throw Error("cancelled", "stopped");
    }
  }
}

Lease Authorizer::renew(const std::string& lease_id, std::stop_token stop) {
  api::AuthorizeRequest asked = request();
  if (!lease_id.empty()) asked.lease_id = lease_id;
  const std::int64_t sent_boot_ms = boot_ms_now();
  const UnixMs sent_unix_ms = unix_ms_now();
  std::optional<api::Denial> denial;
  try {
    http::ClientResponse answer = post("/api/v1/license/authorize", asked.to_json(), std::move(stop));
    const SecretString body(std::move(answer.body));
    denial = api::parse_denial(body.reveal());
    if (answer.status == 200 && !denial) {
      auto outcome = api::parse_authorize_answer(
          body.reveal(), {.plain_key_allowed = question_.plain_key_allowed, .key_required = false});
      if (auto* authorized = std::get_if<api::AuthorizeAnswer>(&outcome)) {
        Lease lease = lease_of(*authorized, sent_boot_ms, sent_unix_ms);
        if (lease.lease_id == lease_id) return lease;
        throw Error("control_plane_unavailable", "the control plane renewed another lease");
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

bool Authorizer::release(const std::string& lease_id) noexcept {
  if (lease_id.empty()) return true;
  try {
    const api::ReleaseRequest asked{question_.contract_id, lease_id};
    const int status = post("/api/v1/license/release", asked.to_json(), {}).status;
    return status >= 200 && status < 300;
  } catch (...) {
    return false;
  }
}

}  // namespace tb::sentinel
