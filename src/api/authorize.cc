// Reading and writing the authorize exchange. A fault never holds a value of the answer: it may be a key.
#include "api/authorize.h"

#include <algorithm>
#include <array>

#include "base/bytes.h"

namespace tb::api {
namespace {

constexpr std::array<std::string_view, 16> kDenialReasons = {
    "asset_not_covered",  "attestation_failed", "attestation_required", "authentication_required",
    "client_too_old",     "contract_expired",   "contract_not_started", "contract_revoked",
    "contract_suspended", "enrolment_pending",  "hardware_mismatch",    "key_wrap_required",
    "lease_cloned",       "nonce_invalid",      "quota_exhausted",      "seat_limit",
};
static_assert(std::ranges::is_sorted(kDenialReasons));

constexpr std::int64_t kMaxSeconds = std::int64_t{10} * 365 * 86400;
constexpr std::size_t kMaxUrlBytes = 16384;
constexpr std::size_t kMaxTokenBytes = 256;
constexpr std::int64_t kMaxRetrySeconds = 86400;

Json request_object(std::string_view text, std::string_view what) {
  Json json = value_or_throw(Json::parse(text, {.bytes = kMaxAuthorizeRequestBytes, .depth = 16}));
  if (!json.is_object()) throw Error("json_malformed", "the " + std::string(what) + " must be an object");
  return json;
}

[[noreturn]] void incomplete(const std::string& why) {
  throw Error("authorize_answer_malformed", why);
}

/// The value, or the reader's fault under the answer's own reason.
template <typename T>
T field(Result<T>&& result) {
  if (!result) incomplete("the control plane's answer cannot be used: " + result.error().message);
  return std::move(*result);
}

std::string required_text(const JsonReader& reader, std::string_view name, std::size_t max_bytes) {
  std::string text = field(reader.string(name));
  if (text.empty()) incomplete("the control plane's answer has an empty " + std::string(name));
  if (text.size() > max_bytes) incomplete("the control plane's answer has an overlong " + std::string(name));
  return text;
}

UnixMs time_of(const std::string& text, std::string_view name) {
  auto time = from_rfc3339(text);
  if (!time) incomplete("the control plane's answer has a " + std::string(name) + " that is no RFC 3339 time");
  return *time;
}

std::optional<UnixMs> optional_time(const JsonReader& reader, std::string_view name) {
  const auto text = field(reader.optional_string(name));
  if (!text) return std::nullopt;
  return time_of(*text, name);
}

void read_key(const JsonReader& reader, const AnswerRules& rules, AuthorizeAnswer& out) {
  out.wrapped_key = field(reader.optional_string("wrapped_key"));
  auto hex = field(reader.optional_string("decryption_key_hex"));
  if (hex && hex->empty()) hex.reset();
  const SecretString kept(hex ? std::move(*hex) : std::string());
  if (out.wrapped_key && !kept.empty()) {
    incomplete("the control plane's answer carries wrapped_key and decryption_key_hex together");
  }
  if (!kept.empty()) {
    if (!rules.plain_key_allowed) {
      incomplete("the control plane's answer carries decryption_key_hex, which only key release plain allows");
    }
    auto bytes = from_hex(kept.reveal());
    if (!bytes || bytes->size() != 32) {
      incomplete("the control plane's answer has a decryption_key_hex that is not 64 hex digits");
    }
    out.key.emplace(std::span<const std::uint8_t, 32>(bytes->data(), 32));
    wipe(bytes->data(), bytes->size());
  }
  if (rules.key_required && !out.key && !out.wrapped_key) {
    incomplete(rules.plain_key_allowed ? "the control plane's answer lacks decryption_key_hex"
                                       : "the control plane's answer lacks wrapped_key");
  }
}

AuthorizeAnswer answer_from(const Json& json, const AnswerRules& rules) {
  const JsonReader reader(json, "authorize answer");
  AuthorizeAnswer out;
  out.sas_url = SecretUrl(required_text(reader, "sas_url", kMaxUrlBytes));
  out.manifest_url = SecretUrl(required_text(reader, "manifest_url", kMaxUrlBytes));
  out.expires_at = time_of(required_text(reader, "expires_at", 64), "expires_at");
  read_key(reader, rules, out);
  out.lease_id = field(reader.optional_string("lease_id"));
  out.lease_expires_at = optional_time(reader, "lease_expires_at");
  out.renew_after_seconds = field(reader.optional_integer("renew_after_seconds", 1, kMaxSeconds));
  out.offline_grace_seconds = field(reader.optional_integer("offline_grace_seconds", 0, kMaxSeconds)).value_or(0);
  if (out.lease_id && !out.lease_expires_at) incomplete("the control plane's answer lacks lease_expires_at");
  out.manifest_sha256 = field(reader.optional_string("manifest_sha256"));
  if (out.manifest_sha256 && !valid_sha256_hex(*out.manifest_sha256)) {
    incomplete("the control plane's answer has a manifest_sha256 that is not 64 lower-case hex digits");
  }
  if (const Json* metadata = json.find("metadata"); metadata != nullptr && !metadata->is_null()) {
    if (!metadata->is_object()) incomplete("the control plane's answer has a metadata that is no object");
    try {
      out.metadata = AssetMetadata::from_json(*metadata);
    } catch (const Error& error) {
      incomplete("the control plane's answer cannot be used: " + error.message);
    }
  }
  if (const Json* policy = json.find("policy"); policy != nullptr && !policy->is_null()) {
    out.policy = ReleasePolicy::from_json(*policy);
  }
  out.policy_version = field(reader.optional_integer("policy_version", 0, std::int64_t{1} << 52));
  out.issued_at = optional_time(reader, "issued_at");
  if (auto token = field(reader.optional_string("renewal_token")); token && !token->empty()) {
    SecretString kept(std::move(*token));
    if (kept.reveal().size() > kMaxTokenBytes) incomplete("the control plane's answer has an overlong renewal_token");
    out.renewal_token = std::move(kept);
  }
  out.grant = field(reader.optional_string("grant"));
  return out;
}

}  // namespace

std::span<const std::string_view> denial_reasons() {
  return kDenialReasons;
}

Json AuthorizeRequest::to_json() const {
  Json json = Json::object();
  json.set("contract_id", contract_id);
  json.set("asset_id", asset_id);
  json.set("hw_id", hw_id);
  if (attestation) json.set("attestation", *attestation);
  json.set("client_version", client_version);
  if (lease_id) json.set("lease_id", *lease_id);
  if (key_release_jwk) json.set("key_release_jwk", *key_release_jwk);
  if (nonce) json.set("nonce", *nonce);
  if (renewal_token) json.set("renewal_token", renewal_token->reveal());
  return json;
}

AuthorizeRequest AuthorizeRequest::parse(std::string_view text) {
  const Json json = request_object(text, "authorize request");
  const JsonReader reader(json, "authorize request");
  AuthorizeRequest out;
  out.contract_id = value_or_throw(reader.string("contract_id"));
  out.asset_id = value_or_throw(reader.string("asset_id"));
  out.hw_id = value_or_throw(reader.string("hw_id"));
  out.client_version = value_or_throw(reader.optional_string("client_version")).value_or("");
  out.lease_id = value_or_throw(reader.optional_string("lease_id"));
  out.nonce = value_or_throw(reader.optional_string("nonce"));
  if (out.hw_id.empty() || out.hw_id.size() > 256) throw Error("field_invalid", "hw_id must have 1 to 256 characters");
  if (out.client_version.size() > 64) throw Error("field_invalid", "client_version must have at most 64 characters");
  if (out.lease_id && !valid_name(*out.lease_id)) throw Error("field_invalid", "lease_id is not one of this service");
  if (auto token = value_or_throw(reader.optional_string("renewal_token"))) {
    out.renewal_token = SecretString(std::move(*token));
    const std::size_t bytes = out.renewal_token->reveal().size();
    if (bytes == 0 || bytes > kMaxTokenBytes) throw Error("field_invalid", "renewal_token is not one of this service");
  }
  if (const Json* evidence = json.find("attestation"); evidence != nullptr && !evidence->is_null()) {
    out.attestation = *evidence;
  }
  if (const Json* jwk = json.find("key_release_jwk"); jwk != nullptr && !jwk->is_null()) {
    if (!jwk->is_object()) throw Error("field_invalid", "key_release_jwk must be an object");
    out.key_release_jwk = *jwk;
  }
  return out;
}

ReleasePolicy ReleasePolicy::from_json(const Json& json) {
  if (!json.is_object()) incomplete("the control plane's answer has a policy that is no object");
  const JsonReader reader(json, "policy");
  ReleasePolicy out;
  out.allow_finetune = field(reader.optional_boolean("allow_finetune")).value_or(false);
  out.allowed_paths = field(reader.strings("allowed_paths"));
  out.runtime_isolation = field(reader.optional_string("runtime_isolation")).value_or("");
  out.enforcement.grade = grade_from(field(reader.optional_string("enforcement")).value_or(""));
  out.enforcement.notice = field(reader.optional_string("notice")).value_or("");
  if (!valid_notice(out.enforcement.notice))
    incomplete("the control plane's answer has a notice that is no plain line");
  out.enforcement.requests_per_minute =
      field(reader.optional_integer("throttle_requests_per_minute", 1, kMaxThrottle)).value_or(60);
  out.max_seats = field(reader.optional_integer("max_seats", 1, std::int64_t{1} << 53));
  out.marketplace_by_control_plane = field(reader.optional_boolean("marketplace_by_control_plane")).value_or(false);
  if (const Json* quotas = json.find("quotas"); quotas != nullptr && quotas->is_object()) out.quotas = *quotas;
  if (const Json* metering = json.find("metering"); metering != nullptr && metering->is_object()) {
    out.metering = *metering;
  }
  return out;
}

Json ReleasePolicy::to_json() const {
  Json json = Json::object();
  json.set("allow_finetune", allow_finetune);
  json.set("quotas", quotas);
  json.set("metering", metering);
  Json paths = Json::array();
  for (const auto& path : allowed_paths) paths.push(path);
  json.set("allowed_paths", std::move(paths));
  json.set("runtime_isolation", runtime_isolation);
  json.set("enforcement", grade_name(enforcement.grade));
  json.set("notice", enforcement.notice);
  json.set("throttle_requests_per_minute", enforcement.requests_per_minute);
  if (max_seats) json.set("max_seats", *max_seats);
  if (marketplace_by_control_plane) json.set("marketplace_by_control_plane", true);
  return json;
}

Json AuthorizeAnswer::to_json() const {
  Json json = Json::object();
  json.set("status", "authorized");
  json.set("sas_url", sas_url.reveal());
  json.set("manifest_url", manifest_url.reveal());
  if (key) json.set("decryption_key_hex", to_hex(key->reveal()));
  if (wrapped_key) json.set("wrapped_key", *wrapped_key);
  json.set("expires_at", to_rfc3339(expires_at));
  if (lease_id) json.set("lease_id", *lease_id);
  if (lease_expires_at) json.set("lease_expires_at", to_rfc3339(*lease_expires_at, true));
  if (renew_after_seconds) json.set("renew_after_seconds", *renew_after_seconds);
  json.set("offline_grace_seconds", offline_grace_seconds);
  if (manifest_sha256) json.set("manifest_sha256", *manifest_sha256);
  if (metadata) json.set("metadata", metadata->to_json());
  if (policy) json.set("policy", policy->to_json());
  if (policy_version) json.set("policy_version", *policy_version);
  if (issued_at) json.set("issued_at", to_rfc3339(*issued_at, true));
  if (renewal_token) json.set("renewal_token", renewal_token->reveal());
  if (grant) json.set("grant", *grant);
  return json;
}

Json Denial::to_json() const {
  Json json = Json::object();
  json.set("status", "denied");
  json.set("reason", reason);
  json.set("detail", detail);
  if (retry_after_seconds) json.set("retry_after_seconds", *retry_after_seconds);
  return json;
}

AuthorizeOutcome parse_authorize_answer(std::string_view body, const AnswerRules& rules) {
  auto parsed = Json::parse(body, {.bytes = kMaxAuthorizeAnswerBytes, .depth = 16});
  if (!parsed) incomplete("the control plane's answer is not JSON: " + parsed.error().message);
  if (!parsed->is_object()) incomplete("the control plane's answer is not a JSON object");
  const std::string status = field(JsonReader(*parsed, "authorize answer").string("status"));
  if (status == "denied") {
    if (auto denial = parse_denial(body)) return std::move(*denial);
    incomplete("the control plane's denial lacks reason");
  }
  if (status != "authorized")
    incomplete("the control plane's answer has a status that is neither authorized nor denied");
  return answer_from(*parsed, rules);
}

std::optional<Denial> parse_denial(std::string_view body) {
  auto parsed = Json::parse(body, {.bytes = kMaxAuthorizeAnswerBytes, .depth = 16});
  if (!parsed || !parsed->is_object()) return std::nullopt;
  const Json* status = parsed->find("status");
  const Json* reason = parsed->find("reason");
  if (status == nullptr || !status->is_string() || status->as_string() != "denied") return std::nullopt;
  if (reason == nullptr || !reason->is_string() || reason->as_string().size() > 1024) return std::nullopt;
  Denial out;
  out.reason = reason->as_string();
  if (const Json* detail = parsed->find("detail"); detail != nullptr && detail->is_string()) {
    out.detail = detail->as_string().substr(0, 1024);
  }
  out.known = std::ranges::binary_search(kDenialReasons, std::string_view(out.reason));
  // A hint: one that cannot be used is as none.
  if (const Json* seconds = parsed->find("retry_after_seconds"); seconds != nullptr && seconds->is_integer()) {
    if (seconds->as_integer() >= 1 && seconds->as_integer() <= kMaxRetrySeconds) {
      out.retry_after_seconds = seconds->as_integer();
    }
  }
  return out;
}

Json ReleaseRequest::to_json() const {
  Json json = Json::object();
  json.set("contract_id", contract_id);
  json.set("lease_id", lease_id);
  return json;
}

ReleaseRequest ReleaseRequest::parse(std::string_view text) {
  const Json json = request_object(text, "release request");
  const JsonReader reader(json, "release request");
  value_or_throw(reader.only({"contract_id", "lease_id"}));
  return {.contract_id = value_or_throw(reader.string("contract_id")),
          .lease_id = value_or_throw(reader.string("lease_id"))};
}

Json ChallengeRequest::to_json() const {
  Json json = Json::object();
  json.set("contract_id", contract_id);
  return json;
}

ChallengeRequest ChallengeRequest::parse(std::string_view text) {
  const Json json = request_object(text, "challenge request");
  const JsonReader reader(json, "challenge request");
  value_or_throw(reader.only({"contract_id"}));
  return {.contract_id = value_or_throw(reader.string("contract_id"))};
}

Json ChallengeAnswer::to_json() const {
  Json json = Json::object();
  json.set("nonce", nonce);
  json.set("expires_at", to_rfc3339(expires_at));
  if (!pcr_selection.empty()) json.set("pcr_selection", api::to_json(pcr_selection));
  return json;
}

ChallengeAnswer ChallengeAnswer::parse(std::string_view text) {
  const Json json = request_object(text, "challenge answer");
  const JsonReader reader(json, "challenge answer");
  ChallengeAnswer out;
  out.nonce = value_or_throw(reader.string("nonce"));
  out.expires_at = value_or_throw(from_rfc3339(value_or_throw(reader.string("expires_at"))));
  if (const Json* selection = json.find("pcr_selection")) out.pcr_selection = pcr_indices_from_json(*selection);
  return out;
}

}  // namespace tb::api
