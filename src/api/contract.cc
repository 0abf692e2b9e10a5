// The rules of a contract, kept apart: types are checked on reading, values and combinations in validate().
#include "api/contract.h"

#include <algorithm>
#include <set>

#include "api/asset.h"
#include "api/enforcement.h"
#include "api/tpm_policy.h"
#include "api/usage.h"
#include "api/version.h"

namespace tb::api {
namespace {

constexpr std::int64_t kMaxSeats = 1000000;
constexpr std::int64_t kMaxLeaseSeconds = 30 * 86400;
constexpr std::size_t kMaxListed = 10000;
constexpr UnixMs kLastTime = 253402300799000;  // 9999-12-31T23:59:59Z

[[noreturn]] void invalid(std::string why) {
  throw Error("contract_invalid", std::move(why));
}

Json string_list(const std::vector<std::string>& texts) {
  Json list = Json::array();
  for (const auto& text : texts) list.push(text);
  return list;
}

bool one_of(std::string_view text, std::initializer_list<std::string_view> allowed) {
  return std::ranges::find(allowed, text) != allowed.end();
}

Json object_or(const Json& json, std::string_view name, const Json& fallback) {
  const Json* member = json.find(name);
  if (member == nullptr || member->is_null()) return fallback;
  if (!member->is_object()) throw Error("field_invalid", std::string(name) + " of the contract must be an object");
  return *member;
}

/// Replaces in `terms` every field that `json` carries; types are checked, values are not.
void take_fields(ContractTerms& terms, const Json& json) {
  const JsonReader reader(json, "contract");
  const auto text = [&](std::string_view name, std::string& into) {
    if (auto value = value_or_throw(reader.optional_string(name))) into = std::move(*value);
  };
  const auto number = [&](std::string_view name, std::int64_t max, std::int64_t& into) {
    if (auto value = value_or_throw(reader.optional_integer(name, 0, max))) into = *value;
  };
  const auto time = [&](std::string_view name, UnixMs& into) {
    const auto value = value_or_throw(reader.optional_string(name));
    if (!value) return;
    auto parsed = from_rfc3339(*value);
    if (!parsed) throw Error("field_invalid", std::string(name) + " of the contract must be an RFC 3339 time");
    into = *parsed;
  };
  text("consumer", terms.consumer);
  if (json.find("asset_ids") != nullptr) terms.asset_ids = value_or_throw(reader.strings("asset_ids"));
  time("not_before", terms.not_before);
  time("not_after", terms.not_after);
  number("max_seats", kMaxSeats, terms.max_seats);
  if (const Json* hardware = json.find("hardware")) terms.hardware = Hardware::from_json(*hardware);
  text("attestation", terms.attestation);
  terms.attestation_policy = object_or(json, "attestation_policy", terms.attestation_policy);
  text("key_release", terms.key_release);
  number("lease_seconds", kMaxLeaseSeconds, terms.lease_seconds);
  number("offline_grace_seconds", kMaxLeaseSeconds, terms.offline_grace_seconds);
  terms.quotas = object_or(json, "quotas", terms.quotas);
  terms.metering = object_or(json, "metering", terms.metering);
  terms.marketplace = object_or(json, "marketplace", terms.marketplace);
  if (auto value = value_or_throw(reader.optional_boolean("allow_finetune"))) terms.allow_finetune = *value;
  if (json.find("allowed_paths") != nullptr) terms.allowed_paths = value_or_throw(reader.strings("allowed_paths"));
  text("runtime_isolation", terms.runtime_isolation);
  text("authentication", terms.authentication);
  if (json.find("client_certificates") != nullptr) {
    terms.client_certificates = value_or_throw(reader.strings("client_certificates"));
  }
  text("min_client_version", terms.min_client_version);
  text("enforcement", terms.enforcement);
  text("notice", terms.notice);
  number("throttle_requests_per_minute", kMaxThrottle, terms.throttle_requests_per_minute);
}

Json request_object(std::string_view text) {
  Json json = value_or_throw(Json::parse(text, {.bytes = kMaxContractBytes, .depth = 12}));
  if (!json.is_object()) throw Error("json_malformed", "a contract must be an object");
  return json;
}

Result<> only_terms(const Json& json, bool with_id) {
  const JsonReader reader(json, "contract");
  if (!with_id && json.find("contract_id") != nullptr) {
    return fail("unknown_field", "contract_id of a contract cannot be changed");
  }
  return reader.only({"contract_id",
                      "consumer",
                      "asset_ids",
                      "not_before",
                      "not_after",
                      "max_seats",
                      "hardware",
                      "attestation",
                      "attestation_policy",
                      "key_release",
                      "lease_seconds",
                      "offline_grace_seconds",
                      "quotas",
                      "metering",
                      "marketplace",
                      "allow_finetune",
                      "allowed_paths",
                      "runtime_isolation",
                      "authentication",
                      "client_certificates",
                      "min_client_version",
                      "enforcement",
                      "notice",
                      "throttle_requests_per_minute"});
}

bool valid_path(std::string_view path) {
  if (path.empty() || path.size() > 512 || path.front() != '/') return false;
  if (path.find("//") != std::string_view::npos || path.find("/.") != std::string_view::npos) return false;
  return std::ranges::all_of(path, [](char c) { return c > ' ' && c < 0x7f && c != '%' && c != '\\' && c != ';'; });
}

void validate_assets(const std::vector<std::string>& asset_ids) {
  if (asset_ids.empty()) invalid("asset_ids of the contract must name at least one asset");
  if (asset_ids.size() > kMaxListed) invalid("asset_ids of the contract names too many assets");
  std::set<std::string_view> seen;
  for (const auto& id : asset_ids) {
    if (!valid_asset_id(id)) invalid("asset_ids of the contract has an id that is not one");
    if (!seen.insert(id).second) invalid("asset_ids of the contract names " + id + " twice");
  }
}

}  // namespace

std::string_view contract_state_name(ContractState state) {
  switch (state) {
    case ContractState::kActive:
      return "active";
    case ContractState::kSuspended:
      return "suspended";
    case ContractState::kRevoked:
      return "revoked";
  }
  return "revoked";
}

ContractState contract_state_from(std::string_view name) {
  // By the clock an active contract shows as not_started or expired.
  if (one_of(name, {"active", "not_started", "expired"})) return ContractState::kActive;
  if (name == "suspended") return ContractState::kSuspended;
  if (name == "revoked") return ContractState::kRevoked;
  throw Error("field_invalid", "state of the contract is not one that is known");
}

Json Hardware::to_json() const {
  switch (mode) {
    case Mode::kAny:
      return "any";
    case Mode::kPinFirst:
      return "pin_first";
    case Mode::kListed:
      return string_list(hw_ids);
  }
  return "any";
}

Hardware Hardware::from_json(const Json& json) {
  Hardware out;
  if (json.is_string() && json.as_string() == "any") return out;
  if (json.is_string() && json.as_string() == "pin_first") {
    out.mode = Mode::kPinFirst;
    return out;
  }
  if (!json.is_array() || json.as_array().empty() || json.as_array().size() > kMaxListed) {
    throw Error("field_invalid", "hardware of the contract must be any, pin_first or a list of hardware ids");
  }
  out.mode = Mode::kListed;
  for (const Json& id : json.as_array()) {
    if (!id.is_string() || id.as_string().empty() || id.as_string().size() > 256) {
      throw Error("field_invalid", "hardware of the contract lists something that is no hardware id");
    }
    out.hw_ids.push_back(id.as_string());
  }
  return out;
}

void ContractTerms::validate() const {
  if (consumer.empty() || consumer.size() > 200) invalid("consumer of the contract must have 1 to 200 characters");
  validate_assets(asset_ids);
  if (not_before < 0 || not_after > kLastTime) invalid("not_before and not_after of the contract are out of range");
  if (not_after <= not_before) invalid("not_after of the contract must be later than not_before");
  if (max_seats < 1) invalid("max_seats of the contract must be at least 1");
  if (!one_of(attestation, {"none", "tpm", "snp", "token"})) {
    invalid("attestation of the contract must be none, tpm, snp or token");
  }
  if (!one_of(key_release, {"wrapped", "plain"})) invalid("key_release of the contract must be wrapped or plain");
  if (!one_of(authentication, {"token", "mtls", "none"})) {
    invalid("authentication of the contract must be token, mtls or none");
  }
  if (!one_of(runtime_isolation, {"", "none", "required"})) {
    invalid("runtime_isolation of the contract must be none or required");
  }
  parse_quotas(quotas);
  parse_marketplace(marketplace);
  if (lease_seconds < 1) invalid("lease_seconds of the contract must be at least 1");
  if (key_release == "plain" && attestation != "none") {
    invalid("key_release plain cannot stand together with an attestation");
  }
  if (attestation == "tpm") TpmPolicy::from_json(attestation_policy);
  if (attestation == "none" && !attestation_policy.as_object().empty()) {
    invalid("attestation_policy of the contract needs an attestation");
  }
  if (authentication == "mtls" && client_certificates.empty()) {
    invalid("authentication mtls needs client_certificates in the contract");
  }
  if (client_certificates.size() > 1000) invalid("client_certificates of the contract lists too many");
  for (const auto& fingerprint : client_certificates) {
    if (!valid_sha256_hex(fingerprint))
      invalid("client_certificates of the contract must be lower-hex SHA-256 fingerprints");
  }
  if (!min_client_version.empty() && !is_version(min_client_version)) {
    invalid("min_client_version of the contract must be a version, as 0.2.0");
  }
  if (!is_grade(enforcement)) invalid("enforcement of the contract must be none, warn, throttle or drain");
  if (!valid_notice(notice)) invalid("notice of the contract must be one line of at most 300 printable characters");
  if (throttle_requests_per_minute < 1) invalid("throttle_requests_per_minute of the contract must be at least 1");
  if (allowed_paths.size() > 1000) invalid("allowed_paths of the contract lists too many paths");
  for (const auto& path : allowed_paths) {
    if (!valid_path(path)) invalid("allowed_paths of the contract has a path that is not absolute and plain");
  }
}

Json terms_to_json(const ContractTerms& terms) {
  Json json = Json::object();
  json.set("consumer", terms.consumer);
  json.set("asset_ids", string_list(terms.asset_ids));
  json.set("not_before", to_rfc3339(terms.not_before, terms.not_before % 1000 != 0));
  json.set("not_after", to_rfc3339(terms.not_after, terms.not_after % 1000 != 0));
  json.set("max_seats", terms.max_seats);
  json.set("hardware", terms.hardware.to_json());
  json.set("attestation", terms.attestation);
  json.set("attestation_policy", terms.attestation_policy);
  json.set("key_release", terms.key_release);
  json.set("lease_seconds", terms.lease_seconds);
  json.set("offline_grace_seconds", terms.offline_grace_seconds);
  json.set("quotas", terms.quotas);
  json.set("metering", terms.metering);
  json.set("marketplace", terms.marketplace);
  json.set("allow_finetune", terms.allow_finetune);
  json.set("allowed_paths", string_list(terms.allowed_paths));
  json.set("runtime_isolation", terms.runtime_isolation);
  json.set("authentication", terms.authentication);
  json.set("client_certificates", string_list(terms.client_certificates));
  json.set("min_client_version", terms.min_client_version);
  json.set("enforcement", terms.enforcement);
  json.set("notice", terms.notice);
  json.set("throttle_requests_per_minute", terms.throttle_requests_per_minute);
  return json;
}

ContractTerms terms_from_json(const Json& json) {
  ContractTerms terms;
  take_fields(terms, json);
  return terms;
}

Json CreateContractRequest::to_json() const {
  Json json = terms_to_json(terms);
  if (!contract_id.empty()) json.set("contract_id", contract_id);
  return json;
}

CreateContractRequest CreateContractRequest::parse(std::string_view text, UnixMs now) {
  const Json json = request_object(text);
  value_or_throw(only_terms(json, true));
  CreateContractRequest out;
  out.terms.not_before = now;
  out.contract_id = value_or_throw(JsonReader(json, "contract").optional_string("contract_id")).value_or("");
  if (!out.contract_id.empty() && !valid_name(out.contract_id)) {
    invalid("contract_id must be 1 to 64 letters, digits, hyphens or underscores");
  }
  take_fields(out.terms, json);
  if (out.terms.not_after == 0) invalid("the contract lacks not_after");
  out.terms.validate();
  return out;
}

ContractTerms patched(const ContractTerms& terms, std::string_view text) {
  const Json json = request_object(text);
  value_or_throw(only_terms(json, false));
  for (const auto& [name, value] : json.as_object()) {
    if (value.is_null()) invalid(name + " must not be null: leave out what stays as it is");
  }
  ContractTerms out = terms;
  take_fields(out, json);
  out.validate();
  return out;
}

std::string_view Contract::effective_state(UnixMs now) const {
  if (state != ContractState::kActive) return contract_state_name(state);
  if (now < terms.not_before) return "not_started";
  if (now >= terms.not_after) return "expired";
  return "active";
}

Json Contract::to_json(UnixMs now) const {
  Json json = Json::object();
  json.set("contract_id", contract_id);
  json.set("tenant", tenant);
  const Json fields = terms_to_json(terms);
  for (const auto& [name, value] : fields.as_object()) json.set(name, value);
  json.set("state", effective_state(now));
  json.set("policy_version", policy_version);
  json.set("created_at", to_rfc3339(created_at));
  json.set("updated_at", to_rfc3339(updated_at));
  return json;
}

Contract Contract::from_json(const Json& json) {
  const JsonReader reader(json, "contract");
  Contract out;
  out.contract_id = value_or_throw(reader.string("contract_id"));
  out.tenant = value_or_throw(reader.string("tenant"));
  out.terms = terms_from_json(json);
  out.state = contract_state_from(value_or_throw(reader.string("state")));
  out.policy_version = value_or_throw(reader.integer("policy_version", 0, std::int64_t{1} << 52));
  out.created_at = value_or_throw(from_rfc3339(value_or_throw(reader.string("created_at"))));
  out.updated_at = value_or_throw(from_rfc3339(value_or_throw(reader.string("updated_at"))));
  return out;
}

}  // namespace tb::api
