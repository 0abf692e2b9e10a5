#include "controlplane/logged_request.h"

#include <array>
#include <utility>

#include "base/crypto.h"

namespace tb::controlplane {
namespace {

constexpr std::int64_t kMaxQuantity = (std::int64_t{1} << 53) - 1;

constexpr std::array<std::pair<std::string_view, LoggedRequest::Kind>, 8> kKinds = {{
    {"contract_revoked", LoggedRequest::Kind::kAllEnded},
    {"lease_cloned", LoggedRequest::Kind::kEnded},
    {"lease_evicted", LoggedRequest::Kind::kEnded},
    {"lease_released", LoggedRequest::Kind::kEnded},
    {"lease_renewed", LoggedRequest::Kind::kRenewed},
    {"lease_superseded", LoggedRequest::Kind::kSuperseded},
    {"license_denied", LoggedRequest::Kind::kDenied},
    {"license_released", LoggedRequest::Kind::kReleased},
}};

std::optional<LoggedRequest::Kind> kind_of(std::string_view type) {
  for (const auto& [name, kind] : kKinds) {
    if (name == type) return kind;
  }
  return std::nullopt;
}

UnixMs time_of(const JsonReader& reader, std::string_view name) {
  return value_or_throw(from_rfc3339(value_or_throw(reader.string(name))));
}

void take_pin(const Json& json, Facts& facts) {
  const Json* pin = json.find("pin");
  if (pin == nullptr) return;
  const JsonReader reader(*pin, "pin");
  facts.pin = store::HardwarePin{.hw_id = value_or_throw(reader.string("hw_id")),
                                 .approved = value_or_throw(reader.boolean("approved"))};
}

void take_used(const Json& json, Facts& facts) {
  const Json* used = json.find("used");
  if (used == nullptr) return;
  if (!used->is_object()) throw Error("field_invalid", "used of the facts must be an object");
  const JsonReader reader(*used, "used");
  for (const auto& [dimension, quantity] : used->as_object()) {
    facts.used[dimension] = value_or_throw(reader.integer(dimension, 0, kMaxQuantity));
  }
}

void take_facts(const Json& json, LoggedRequest& out) {
  if (!json.is_object()) throw Error("field_invalid", "facts of the event must be an object");
  const JsonReader reader(json, "facts");
  Facts& facts = out.facts;
  facts.now = time_of(reader, "now");
  out.state = api::contract_state_from(value_or_throw(reader.string("state")));
  facts.asset_registered = value_or_throw(reader.boolean("asset_registered"));
  out.shown.token = value_or_throw(reader.boolean("token"));
  out.shown.certificate_sha256 = value_or_throw(reader.optional_string("certificate")).value_or("");
  facts.proven = value_or_throw(reader.boolean("proven"));
  facts.has_one_time_key = value_or_throw(reader.boolean("one_time_key"));
  facts.is_renewal = value_or_throw(reader.boolean("renewal"));
  facts.evidence_came = value_or_throw(reader.boolean("evidence"));
  facts.attested = value_or_throw(reader.boolean("attested"));
  facts.machine_approved = value_or_throw(reader.boolean("machine_approved"));
  facts.nonce_valid = value_or_throw(reader.optional_boolean("nonce_valid"));
  facts.url_seconds = value_or_throw(reader.integer("url_seconds", 0, kMaxQuantity));
  out.evidence_under = value_or_throw(reader.optional_string("evidence_under")).value_or("");
  take_pin(json, facts);
  take_used(json, facts);
}

}  // namespace

std::string evidence_terms_id(const api::ContractTerms& terms) {
  // Not canonical JSON: two spellings of one policy have two ids, which makes a simulation say less, never more.
  return sha256_hex(terms.attestation + "\n" + terms.attestation_policy.dump()).substr(0, 32);
}

Json facts_to_json(const Facts& facts, const ShownCredential& shown, const api::Contract& contract) {
  Json json = Json::object();
  json.set("now", to_rfc3339(facts.now, true));
  json.set("state", api::contract_state_name(contract.state));
  json.set("asset_registered", facts.asset_registered);
  json.set("token", shown.token);
  if (!shown.certificate_sha256.empty()) json.set("certificate", shown.certificate_sha256);
  json.set("proven", facts.proven);
  json.set("one_time_key", facts.has_one_time_key);
  json.set("renewal", facts.is_renewal);
  json.set("evidence", facts.evidence_came);
  json.set("attested", facts.attested);
  json.set("machine_approved", facts.machine_approved);
  if (facts.nonce_valid) json.set("nonce_valid", *facts.nonce_valid);
  json.set("url_seconds", facts.url_seconds);
  if (facts.evidence_came) json.set("evidence_under", evidence_terms_id(contract.terms));
  if (facts.pin) {
    Json pin = Json::object();
    pin.set("hw_id", facts.pin->hw_id);
    pin.set("approved", facts.pin->approved);
    json.set("pin", std::move(pin));
  }
  if (!facts.used.empty()) {
    Json used = Json::object();
    for (const auto& [dimension, quantity] : facts.used) used.set(dimension, quantity);
    json.set("used", std::move(used));
  }
  return json;
}

std::optional<LoggedRequest> parse_logged_request(std::int64_t seq, std::string_view line) {
  const Json json = value_or_throw(Json::parse(line));
  if (!json.is_object()) throw Error("json_malformed", "an event must be an object");
  const JsonReader reader(json, "event");
  const auto kind = kind_of(value_or_throw(reader.string("type")));
  if (!kind) return std::nullopt;
  LoggedRequest out{.seq = seq, .at = time_of(reader, "ts"), .kind = *kind};
  const Json* detail = json.find("detail");
  if (detail == nullptr || !detail->is_object()) throw Error("field_missing", "detail is missing from the event");
  const JsonReader details(*detail, "event");
  out.lease_id = value_or_throw(details.optional_string("lease_id")).value_or("");
  out.sentinel_key = value_or_throw(details.optional_string("sentinel_key")).value_or("");
  if (!out.is_request()) return out;
  out.reason = value_or_throw(details.optional_string("reason")).value_or("");
  out.facts.asset_id = value_or_throw(details.string("asset_id"));
  out.facts.hw_id = value_or_throw(details.string("hw_id"));
  out.facts.client_version = value_or_throw(details.optional_string("client_version")).value_or("");
  const Json* facts = detail->find("facts");
  if (facts == nullptr) return out;
  try {
    take_facts(*facts, out);
    out.at = out.facts.now;
    out.has_facts = true;
  } catch (const Error&) {
    // Written by a newer program, whose facts this one does not understand: the caller counts it as not replayable.
  }
  return out;
}

}  // namespace tb::controlplane
