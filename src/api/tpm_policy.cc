#include "api/tpm_policy.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "api/asset.h"

namespace tb::api {
namespace {

constexpr std::size_t kMaxListed = 1000;
constexpr std::size_t kMaxValues = 64;
constexpr std::size_t kMaxRootBytes = 16384;

[[noreturn]] void invalid(const std::string& why) {
  throw Error("contract_invalid", "attestation_policy of the contract: " + why);
}

/// Decimal, one spelling only.
std::optional<unsigned> index_of(std::string_view text) {
  unsigned index = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), index);
  const bool whole = fault == std::errc() && end == text.data() + text.size();
  if (!whole || index >= kPcrCount || std::to_string(index) != text) return std::nullopt;
  return index;
}

bool lower_hex(std::string_view text, std::size_t bytes) {
  return text.size() == 2 * bytes &&
         std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

/// One text, or a list of 1 to `most`.
std::vector<std::string> texts(const Json& json, const std::string& what, std::size_t most) {
  if (json.is_string()) return {json.as_string()};
  if (!json.is_array() || json.as_array().empty()) invalid(what + " must be a text or a list of them");
  if (json.as_array().size() > most) invalid(what + " lists too many");
  std::vector<std::string> out;
  for (const Json& item : json.as_array()) {
    if (!item.is_string()) invalid(what + " lists something that is no text");
    out.push_back(item.as_string());
  }
  return out;
}

std::vector<std::string> digests(const Json& json, const std::string& what) {
  auto out = texts(json, what, kMaxListed);
  for (const auto& digest : out) {
    if (!valid_sha256_hex(digest)) invalid(what + " must be lower-hex SHA-256 digests");
  }
  return out;
}

std::map<unsigned, TpmPolicy::Values> bank_from(const std::string& bank, const Json& json) {
  const std::size_t bytes = pcr_bytes(bank);
  if (bytes == 0) invalid("pcrs has the bank " + bank + ": use sha256, sha384 or sha512");
  if (!json.is_object() || json.as_object().empty()) invalid("pcrs." + bank + " must be an object of PCRs");
  std::map<unsigned, TpmPolicy::Values> out;
  for (const auto& [name, value] : json.as_object()) {
    const auto index = index_of(name);
    if (!index) invalid("pcrs." + bank + " names " + name + ", which is not a PCR from 0 to 23");
    if (*index == 16 || *index == 23) invalid("pcrs." + bank + " names PCR " + name + ", which anybody may reset");
    const std::string what = "pcrs." + bank + "." + name;
    out[*index] = texts(value, what, kMaxValues);
    for (const auto& digest : out[*index]) {
      if (!lower_hex(digest, bytes))
        invalid(what + " must have " + std::to_string(2 * bytes) + " lower-case hex digits");
    }
  }
  return out;
}

std::uint64_t firmware_version(const std::string& text, const std::string& what) {
  if (!lower_hex(text, 8)) invalid(what + " must be TPM firmware versions of 16 lower-case hex digits");
  std::uint64_t version = 0;
  std::from_chars(text.data(), text.data() + text.size(), version, 16);
  return version;
}

void check_root(const std::string& pem) {
  if (pem.size() > kMaxRootBytes || !pem.starts_with("-----BEGIN CERTIFICATE-----")) {
    invalid("ek_roots must be certificates in PEM, one each");
  }
}

}  // namespace

std::size_t pcr_bytes(std::string_view bank) {
  if (bank == "sha256") return 32;
  if (bank == "sha384") return 48;
  return bank == "sha512" ? 64 : 0;
}

TpmPolicy TpmPolicy::from_json(const Json& json) {
  if (!json.is_object()) invalid("it must be an object");
  TpmPolicy out;
  for (const auto& [name, value] : json.as_object()) {
    if (name == "pcrs") {
      if (!value.is_object()) invalid("pcrs must be an object of banks");
      for (const auto& [bank, members] : value.as_object()) out.pcrs[bank] = bank_from(bank, members);
    } else if (name == "ek_sha256") {
      out.ek_sha256 = digests(value, name);
    } else if (name == "config_sha256") {
      out.config_sha256 = digests(value, name);
    } else if (name == "ek_roots") {
      out.ek_roots = texts(value, name, kMaxValues);
      std::ranges::for_each(out.ek_roots, check_root);
    } else if (name == "firmware_deny") {
      for (const auto& text : texts(value, name, kMaxListed)) out.firmware_deny.push_back(firmware_version(text, name));
    } else if (name == "firmware_min") {
      if (!value.is_string()) invalid("firmware_min must be a text");
      out.firmware_min = firmware_version(value.as_string(), name);
    } else if (name == "fresh_at_renewal" || name == "require_safe_clock") {
      if (!value.is_bool()) invalid(name + " must be true or false");
      (name == "fresh_at_renewal" ? out.fresh_at_renewal : out.require_safe_clock) = value.as_bool();
    } else {
      invalid("there is no member " + name);
    }
  }
  return out;
}

PcrIndices TpmPolicy::selection() const {
  PcrIndices out;
  for (const auto& [bank, members] : pcrs) {
    for (const auto& [index, values] : members) out[bank].insert(index);
  }
  if (out.empty()) out["sha256"] = {0, 1, 2, 3, 4, 5, 6, 7};
  return out;
}

Json to_json(const PcrIndices& indices) {
  Json json = Json::object();
  for (const auto& [bank, members] : indices) {
    Json list = Json::array();
    for (const unsigned index : members) list.push(index);
    json.set(bank, std::move(list));
  }
  return json;
}

PcrIndices pcr_indices_from_json(const Json& json) {
  const auto fault = [] { throw Error("field_invalid", "pcr_selection must name PCRs 0 to 23 by bank"); };
  if (!json.is_object() || json.as_object().empty()) fault();
  PcrIndices out;
  for (const auto& [bank, members] : json.as_object()) {
    if (pcr_bytes(bank) == 0 || !members.is_array() || members.as_array().empty()) fault();
    for (const Json& index : members.as_array()) {
      if (!index.is_integer() || index.as_integer() < 0 || index.as_integer() >= std::int64_t{kPcrCount}) fault();
      out[bank].insert(static_cast<unsigned>(index.as_integer()));
    }
  }
  return out;
}

}  // namespace tb::api
