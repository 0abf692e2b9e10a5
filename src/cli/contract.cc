#include "cli/contract.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/fs.h"
#include "cli/key_file.h"

namespace tb::cli {
namespace {

constexpr std::size_t kMaxFieldFileBytes = 262144;

std::string time_text(const std::string& text, UnixMs now, std::string_view flag) {
  if (Result<UnixMs> time = from_rfc3339(text)) return to_rfc3339(*time);
  if (Result<std::int64_t> duration = duration_ms(text)) return to_rfc3339(now + *duration);
  throw Error("usage", fmt::format("{} is neither a time nor a duration", flag))
      .with_hint("write 2026-12-31T23:59:59Z, or 30d");
}

Json object_file(const std::string& path) {
  Json json = value_or_throw(Json::parse(value_or_throw(read_small_file(path, kMaxFieldFileBytes))));
  if (!json.is_object()) throw Error("field_invalid", path + " does not hold a JSON object");
  return json;
}

Json strings(const std::vector<std::string>& list) {
  Json out = Json::array();
  for (const std::string& item : list) out.push(item);
  return out;
}

Json hardware(const std::vector<std::string>& modes) {
  if (modes.size() == 1 && (modes.front() == "any" || modes.front() == "pin_first")) return modes.front();
  return strings(modes);
}

// A member of an answer as text, whatever its type; empty if it is not there.
std::string text_of(const Json& object, std::string_view name) {
  const Json* value = object.find(name);
  if (value == nullptr || value->is_null()) return {};
  if (value->is_string()) return printable(value->as_string());
  if (!value->is_array()) return printable(value->dump());
  std::string joined;
  for (const Json& item : value->as_array()) {
    joined += (joined.empty() ? "" : ", ") + printable(item.is_string() ? item.as_string() : item.dump());
  }
  return joined;
}

// Takes the token out of an answer and puts it under its name; the key that a sentinel pins goes with it, into the
// second line (docs/spec/wire.md 2.2), so that whoever gets the token gets the key by the same way.
void keep_token(Json& answer, AtomicFile& file, const std::string& path, const std::string& pinned_key_file) {
  const Json* token = answer.find("activation_token");
  if (token == nullptr || !token->is_string()) {
    throw Error("answer_malformed", "the control plane's answer has no activation_token");
  }
  std::string text = token->as_string() + "\n";
  const Json* key = answer.find("control_plane_key");
  if (key != nullptr && key->is_string()) {
    const auto raw = from_base64url(key->as_string());
    if (!raw || raw->size() != 32) throw Error("answer_malformed", "the control plane's answer has a key that is none");
    if (!pinned_key_file.empty() && !std::ranges::equal(*raw, read_public_key(pinned_key_file))) {
      throw Error("control_plane_key_mismatch",
                  "the control plane's key is not the pinned one; its token was not kept");
    }
    text += "# control-plane-key " + key->as_string() + "\n";
  }
  const SecretString line(std::move(text));
  value_or_throw(write_full(file.fd(), as_bytes(line.reveal()), path));
  value_or_throw(file.commit());
}

}  // namespace

Json fields_json(const ContractFields& f, UnixMs now) {
  Json json = Json::object();
  const auto set = [&](const char* name, const auto& value) {
    if (value) json.set(name, *value);
  };
  set("consumer", f.consumer);
  if (!f.asset_ids.empty()) json.set("asset_ids", strings(f.asset_ids));
  if (f.not_before) json.set("not_before", time_text(*f.not_before, now, "--not-before"));
  if (f.not_after) json.set("not_after", time_text(*f.not_after, now, "--not-after"));
  set("max_seats", f.max_seats);
  if (!f.hardware.empty()) json.set("hardware", hardware(f.hardware));
  set("attestation", f.attestation);
  if (f.attestation_policy) json.set("attestation_policy", object_file(*f.attestation_policy));
  set("key_release", f.key_release);
  set("lease_seconds", f.lease_seconds);
  set("offline_grace_seconds", f.offline_grace_seconds);
  if (f.quotas) json.set("quotas", object_file(*f.quotas));
  if (f.metering) json.set("metering", object_file(*f.metering));
  if (f.marketplace) json.set("marketplace", object_file(*f.marketplace));
  set("allow_finetune", f.allow_finetune);
  if (!f.allowed_paths.empty()) json.set("allowed_paths", strings(f.allowed_paths));
  set("runtime_isolation", f.runtime_isolation);
  set("authentication", f.authentication);
  if (!f.client_certificates.empty()) json.set("client_certificates", strings(f.client_certificates));
  set("min_client_version", f.min_client_version);
  set("enforcement", f.enforcement);
  set("notice", f.notice);
  set("throttle_requests_per_minute", f.throttle_requests_per_minute);
  return json;
}

Json create_contract(ControlPlane& control_plane, const Json& body, const std::string& token_file,
                     const std::string& pinned_key_file) {
  const Json* authentication = body.find("authentication");
  const bool by_token = authentication == nullptr || authentication->as_string() == "token";
  if (by_token && token_file.empty()) {
    throw Error("usage", "--activation-token-file is required: the token is told once");
  }
  std::optional<AtomicFile> file;
  if (!token_file.empty()) file.emplace(value_or_throw(AtomicFile::create(token_file, 0600, false)));
  Json contract = control_plane.send("POST", "/api/v1/contracts", body, Repeat::kNever).body;
  if (file && (by_token || contract.find("activation_token") != nullptr)) {
    keep_token(contract, *file, token_file, pinned_key_file);
  }
  if (contract.is_object()) contract.erase("activation_token");
  return contract;
}

Json renew_activation_token(ControlPlane& control_plane, const std::string& contract_id, const std::string& token_file,
                            const std::string& expires_in, const std::string& pinned_key_file) {
  Json body = Json::object();
  if (!expires_in.empty()) {
    const Result<std::int64_t> lifetime_ms = duration_ms(expires_in);
    if (!lifetime_ms) throw Error("usage", "--expires-in is not a duration").with_hint("write 90d, or 12h");
    body.set("expires_in_seconds", *lifetime_ms / 1000);
  }
  AtomicFile file = value_or_throw(AtomicFile::create(token_file, 0600, false));
  Json answer = control_plane.send("POST", contract_path(contract_id, "/activation-token"), body, Repeat::kNever).body;
  keep_token(answer, file, token_file, pinned_key_file);
  answer.erase("activation_token");
  return answer;
}

std::string contract_path(const std::string& contract_id, std::string_view rest) {
  return fmt::format("/api/v1/contracts/{}{}", path_part(contract_id), rest);
}

std::string contract_text(const Json& contract) {
  std::string text = fmt::format("{}  {}\n", text_of(contract, "contract_id"), text_of(contract, "state"));
  constexpr std::array<const char*, 25> kFields = {"tenant",
                                                   "policy_version",
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
                                                   "throttle_requests_per_minute"};
  for (const char* field : kFields) {
    const std::string value = text_of(contract, field);
    if (!value.empty() && value != "{}") text += fmt::format("  {:<22} {}\n", field, value);
  }
  return text;
}

std::string contract_lines(const Json::Array& contracts) {
  std::string text;
  for (const Json& contract : contracts) {
    text +=
        fmt::format("{:<24} {:<11} {:<20} {:<21} {}\n", text_of(contract, "contract_id"), text_of(contract, "state"),
                    text_of(contract, "consumer"), text_of(contract, "not_after"), text_of(contract, "asset_ids"));
  }
  return text;
}

std::string lease_lines(const Json::Array& leases) {
  std::string text;
  for (const Json& lease : leases) {
    text += fmt::format("{:<24} {:<9} {:<24} {}  until {}  {}\n", text_of(lease, "lease_id"), text_of(lease, "state"),
                        text_of(lease, "asset_id"), text_of(lease, "created_at"), text_of(lease, "expires_at"),
                        text_of(lease, "hw_id"));
  }
  return text;
}

std::string audit_log_lines(const Json::Array& logs) {
  std::string text;
  for (const Json& log : logs) {
    text +=
        fmt::format("{}  {} records  {}\n", text_of(log, "origin"), text_of(log, "size"), text_of(log, "updated_at"));
  }
  return text;
}

std::string machine_lines(const Json::Array& machines) {
  std::string text;
  for (const Json& machine : machines) {
    const Json* approved = machine.find("approved");
    text += fmt::format("{}  {:<8}  enrolled {}  seen {}\n", text_of(machine, "ek_sha256"),
                        approved != nullptr && approved->is_bool() && approved->as_bool() ? "approved" : "pending",
                        text_of(machine, "enrolled_at"), text_of(machine, "seen_at"));
  }
  return text;
}

}  // namespace tb::cli
