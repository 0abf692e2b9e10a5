#include "api/evidence.h"

#include <algorithm>
#include <charconv>

#include "api/asset.h"

namespace tb::api {
namespace {

constexpr std::size_t kMaxBodyBytes = 65536;
constexpr std::size_t kMaxStructureBytes = 4096;
constexpr std::size_t kMaxCertificateBytes = 16384;
constexpr std::size_t kMaxIntermediates = 4;

Json object_of(std::string_view text, std::string_view what) {
  Json json = value_or_throw(Json::parse(text, {.bytes = kMaxBodyBytes, .depth = 8}));
  if (!json.is_object()) throw Error("json_malformed", "the " + std::string(what) + " must be an object");
  return json;
}

Bytes bytes_of(const std::string& text, std::string_view name, std::size_t most) {
  auto bytes = from_base64url(text);
  if (!bytes || bytes->size() > most) {
    throw Error("field_invalid",
                std::string(name) + " must be base64url of at most " + std::to_string(most) + " bytes");
  }
  return std::move(*bytes);
}

Bytes required_bytes(const JsonReader& reader, std::string_view name) {
  Bytes bytes = bytes_of(value_or_throw(reader.string(name)), name, kMaxStructureBytes);
  if (bytes.empty()) throw Error("field_invalid", std::string(name) + " must not be empty");
  return bytes;
}

/// u16 algorithm and a digest: 34 to 66 bytes.
std::string name_of(const JsonReader& reader) {
  std::string name = value_or_throw(reader.string("ak_name"));
  const bool hex = std::ranges::all_of(name, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
  if (!hex || name.size() < 68 || name.size() > 132) throw Error("field_invalid", "ak_name must be a TPM name in hex");
  return name;
}

PcrValues pcr_values_from(const Json& json) {
  PcrValues out;
  if (!json.is_object()) throw Error("field_invalid", "pcrs must be an object of banks");
  for (const auto& [bank, members] : json.as_object()) {
    const std::size_t bytes = pcr_bytes(bank);
    if (bytes == 0 || !members.is_object()) throw Error("field_invalid", "pcrs has a bank that is not known");
    for (const auto& [name, value] : members.as_object()) {
      unsigned index = 0;
      std::from_chars(name.data(), name.data() + name.size(), index);
      const bool known = index < kPcrCount && std::to_string(index) == name;
      const auto digest = value.is_string() ? from_hex(value.as_string()) : Result<Bytes>(Bytes());
      if (!known || !digest || digest->size() != bytes) {
        throw Error("field_invalid", "pcrs must be hex digests of PCRs 0 to 23");
      }
      out[bank][index] = tb::to_hex(*digest);
    }
  }
  return out;
}

}  // namespace

Json to_json(const PcrValues& values) {
  Json json = Json::object();
  for (const auto& [bank, members] : values) {
    Json of_bank = Json::object();
    for (const auto& [index, value] : members) of_bank.set(std::to_string(index), value);
    json.set(bank, std::move(of_bank));
  }
  return json;
}

Digest EvidenceQuestion::qualifier() const {
  Sha256 hash;
  hash.update(as_bytes("trustbridge/evidence/v1"));
  for (const std::string* field : {&nonce, &thumbprint, &contract_id, &asset_id, &lease_id, &config_sha256}) {
    std::array<std::uint8_t, 4> length{};
    store_be32(length.data(), static_cast<std::uint32_t>(field->size()));
    hash.update(length);
    hash.update(as_bytes(*field));
  }
  return hash.finish();
}

Json TpmEvidence::to_json() const {
  Json json = Json::object();
  json.set("type", "tpm");
  json.set("ak_name", ak_name);
  json.set("quote", to_base64url(quote));
  json.set("signature", to_base64url(signature));
  json.set("pcrs", api::to_json(pcrs));
  if (!config_sha256.empty()) json.set("config_sha256", config_sha256);
  return json;
}

TpmEvidence TpmEvidence::from_json(const Json& json) {
  if (!json.is_object()) throw Error("field_invalid", "attestation must be an object");
  const JsonReader reader(json, "attestation");
  value_or_throw(reader.only({"type", "ak_name", "quote", "signature", "pcrs", "config_sha256"}));
  if (value_or_throw(reader.string("type")) != "tpm") throw Error("field_invalid", "type of attestation must be tpm");
  TpmEvidence out;
  out.ak_name = name_of(reader);
  out.quote = required_bytes(reader, "quote");
  out.signature = required_bytes(reader, "signature");
  const Json* pcrs = json.find("pcrs");
  if (pcrs == nullptr) throw Error("field_missing", "the attestation lacks pcrs");
  out.pcrs = pcr_values_from(*pcrs);
  out.config_sha256 = value_or_throw(reader.optional_string("config_sha256")).value_or("");
  if (!out.config_sha256.empty() && !valid_sha256_hex(out.config_sha256)) {
    throw Error("field_invalid", "config_sha256 must be a lower-hex SHA-256");
  }
  return out;
}

Json EnrolRequest::to_json() const {
  Json json = Json::object();
  json.set("contract_id", contract_id);
  json.set("ek_public", to_base64url(ek_public));
  if (!ek_certificate.empty()) json.set("ek_certificate", to_base64url(ek_certificate));
  Json chain = Json::array();
  for (const auto& certificate : ek_intermediates) chain.push(to_base64url(certificate));
  if (!ek_intermediates.empty()) json.set("ek_intermediates", std::move(chain));
  json.set("ak_public", to_base64url(ak_public));
  return json;
}

EnrolRequest EnrolRequest::parse(std::string_view text) {
  const Json json = object_of(text, "enroll request");
  const JsonReader reader(json, "enroll request");
  value_or_throw(reader.only({"contract_id", "ek_public", "ek_certificate", "ek_intermediates", "ak_public"}));
  EnrolRequest out;
  out.contract_id = value_or_throw(reader.string("contract_id"));
  out.ek_public = required_bytes(reader, "ek_public");
  out.ak_public = required_bytes(reader, "ak_public");
  if (const auto certificate = value_or_throw(reader.optional_string("ek_certificate"))) {
    out.ek_certificate = bytes_of(*certificate, "ek_certificate", kMaxCertificateBytes);
  }
  const auto chain = value_or_throw(reader.strings("ek_intermediates"));
  if (chain.size() > kMaxIntermediates) throw Error("field_invalid", "ek_intermediates lists too many certificates");
  for (const auto& certificate : chain) {
    out.ek_intermediates.push_back(bytes_of(certificate, "ek_intermediates", kMaxCertificateBytes));
  }
  return out;
}

Json EnrolAnswer::to_json() const {
  Json json = Json::object();
  json.set("status", enrolled ? "enrolled" : "challenge");
  json.set("ek_sha256", ek_sha256);
  if (enrolled) {
    json.set("approved", approved);
    return json;
  }
  json.set("credential", to_base64url(credential));
  json.set("encrypted_secret", to_base64url(encrypted_secret));
  json.set("expires_at", to_rfc3339(expires_at));
  return json;
}

EnrolAnswer EnrolAnswer::parse(std::string_view text) {
  const Json json = object_of(text, "enrolment answer");
  const JsonReader reader(json, "enrolment answer");
  EnrolAnswer out;
  const std::string status = value_or_throw(reader.string("status"));
  if (status != "enrolled" && status != "challenge") {
    throw Error("field_invalid", "status of the enrolment answer is neither enrolled nor challenge");
  }
  out.enrolled = status == "enrolled";
  out.ek_sha256 = value_or_throw(reader.string("ek_sha256"));
  if (out.enrolled) {
    out.approved = value_or_throw(reader.boolean("approved"));
    return out;
  }
  out.credential = required_bytes(reader, "credential");
  out.encrypted_secret = required_bytes(reader, "encrypted_secret");
  out.expires_at = value_or_throw(from_rfc3339(value_or_throw(reader.string("expires_at"))));
  return out;
}

Json ActivateRequest::to_json() const {
  Json json = Json::object();
  json.set("contract_id", contract_id);
  json.set("ak_name", ak_name);
  json.set("secret", secret.reveal());
  return json;
}

ActivateRequest ActivateRequest::parse(std::string_view text) {
  const Json json = object_of(text, "activate request");
  const JsonReader reader(json, "activate request");
  value_or_throw(reader.only({"contract_id", "ak_name", "secret"}));
  ActivateRequest out;
  out.contract_id = value_or_throw(reader.string("contract_id"));
  out.ak_name = name_of(reader);
  out.secret = SecretString(value_or_throw(reader.string("secret")));
  return out;
}

}  // namespace tb::api
