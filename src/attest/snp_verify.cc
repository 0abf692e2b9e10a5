// Authenticity first, then what the report says: until the signature has verified, no field of it decides anything but
// where to look.
#include "attest/snp_verify.h"

#include <openssl/crypto.h>

#include <algorithm>

namespace tb::attest {
namespace {

constexpr std::size_t kMaxFieldBytes = 4 * kMaxCertificateBytes / 3 + 8;

std::unexpected<FailedCheck> bad_form(std::string why) {
  return refuse("evidence_form", "send evidence of the kind that the contract asks for: " + std::move(why));
}

Verified<Bytes> bytes_member(const Json& json, std::string_view name) {
  const Json* member = json.find(name);
  if (member == nullptr || !member->is_string() || member->as_string().size() > kMaxFieldBytes) {
    return bad_form(std::string(name) + " is missing, too long or no text");
  }
  auto bytes = from_base64url(member->as_string());
  if (!bytes || bytes->empty()) return bad_form(std::string(name) + " is not base64url");
  return std::move(*bytes);
}

Verified<Certificate> certificate(ByteView der, std::string_view name) {
  auto out = Certificate::from_der(der);
  if (!out) return refuse("snp_certificate_form", std::string(name) + ": " + out.error().message);
  return std::move(*out);
}

/// Turin's certificates carry the first 8 bytes, which is all that its reports fill.
bool is_chip(ByteView chip_id, ByteView hw_id) {
  const auto rest = chip_id.subspan(hw_id.size());
  return std::ranges::equal(chip_id.first(hw_id.size()), hw_id) &&
         std::ranges::all_of(rest, [](std::uint8_t b) { return b == 0; });
}

Verified<void> check_endorsement(const SnpReport& report, const SnpEndorsement& key) {
  if (report.key != key.key) {
    return refuse("snp_key_kind",
                  "send the certificate of the key that signed: the report names the other kind (VCEK, VLEK)");
  }
  if (report.product && *report.product != key.product) {
    return refuse("snp_product", "send the certificate of this processor", std::string(snp_product_name(key.product)),
                  std::string(snp_product_name(*report.product)));
  }
  if (const SnpTcb tcb = snp_tcb(report.reported_tcb, key.product); tcb != key.tcb) {
    return refuse("snp_certificate_tcb", "fetch the certificate anew: it is for other firmware than the report's",
                  key.tcb.to_json().dump(), tcb.to_json().dump());
  }
  if (report.chip_masked()) {
    if (std::ranges::any_of(report.chip_id, [](std::uint8_t b) { return b != 0; })) {
      return refuse("snp_report_form", "send the report as the firmware gave it: a masked chip id is zero");
    }
  } else if (key.hw_id && !is_chip(report.chip_id, *key.hw_id)) {
    return refuse("snp_chip", "send the certificate of this very processor", to_hex(*key.hw_id),
                  to_hex(report.chip_id));
  }
  return {};
}

}  // namespace

Verified<SnpEvidence> SnpEvidence::parse(const Json& json) {
  if (!json.is_object()) return bad_form("it must be an object");
  if (const auto known =
          JsonReader(json, "attestation").only({"type", "report", "leaf", "intermediate", "config_sha256"});
      !known) {
    return bad_form(known.error().message);
  }
  const Json* type = json.find("type");
  if (type == nullptr || !type->is_string() || type->as_string() != "snp") return bad_form("its type must be snp");
  SnpEvidence out;
  out.report = TRY(bytes_member(json, "report"));
  out.leaf = TRY(bytes_member(json, "leaf"));
  out.intermediate = TRY(bytes_member(json, "intermediate"));
  return out;
}

Json SnpEvidence::to_json() const {
  Json json = Json::object();
  json.set("type", "snp");
  json.set("report", to_base64url(report));
  json.set("leaf", to_base64url(leaf));
  json.set("intermediate", to_base64url(intermediate));
  return json;
}

SnpReportData snp_report_data(const Digest& digest) {
  SnpReportData out{};
  std::ranges::copy(digest, out.begin());
  return out;
}

Verified<VerifiedReport> verify_snp_report(const SnpEvidence& evidence, const SnpReportData& report_data,
                                           const SnpTrust& trust, UnixMs now) {
  VerifiedReport out{.report = TRY(parse_snp_report(evidence.report))};
  const Certificate leaf = TRY(certificate(evidence.leaf, "leaf"));
  const Certificate intermediate = TRY(certificate(evidence.intermediate, "intermediate"));
  TRY(verify_snp_chain(leaf, intermediate, trust, now));
  const SnpEndorsement endorsement = TRY(snp_endorsement(leaf));
  out.product = endorsement.product;
  // One root issues for one line only, whatever the leaf says of itself.
  const std::string issuer = intermediate.common_name();
  const std::string line(snp_product_name(out.product));
  if (issuer != (endorsement.key == SnpKey::kVcek ? "SEV-" : "SEV-VLEK-") + line) {
    return refuse("snp_product", "send the intermediate certificate of this processor's line");
  }
  TRY(check_endorsement(out.report, endorsement));
  if (!leaf.signed_p384(out.report.signed_bytes, out.report.r, out.report.s)) {
    return refuse("snp_signature", "send the report as the firmware signed it, with the certificate of its key");
  }
  if (CRYPTO_memcmp(out.report.report_data.data(), report_data.data(), report_data.size()) != 0) {
    return refuse("snp_binding", "ask for a new report over the digest of this request", to_hex(report_data),
                  to_hex(out.report.report_data));
  }
  return out;
}

Json snp_facts(const SnpReport& report, SnpProduct product) {
  Json facts = Json::object();
  facts.set("type", "snp");
  facts.set("product", snp_product_name(product));
  facts.set("key", report.key == SnpKey::kVcek ? "vcek" : "vlek");
  facts.set("measurement", to_hex(report.measurement));
  facts.set("host_data", to_hex(report.host_data));
  facts.set("id_key_digest", to_hex(report.id_key_digest));
  facts.set("chip_id", to_hex(report.chip_id));
  facts.set("guest_svn", std::int64_t{report.guest_svn});
  facts.set("vmpl", std::int64_t{report.vmpl});
  facts.set("tcb", snp_tcb(report.reported_tcb, product).to_json());
  return facts;
}

Verdict verify_snp(const Json& evidence, const Json& policy, const Digest& request, const SnpTrust& trust, UnixMs now) {
  const SnpPolicy rules = SnpPolicy::parse(policy);
  const SnpEvidence parsed = TRY(SnpEvidence::parse(evidence));
  const auto [report, product] = TRY(verify_snp_report(parsed, snp_report_data(request), trust, now));
  TRY(check_snp_policy(rules, report, product));
  return Claims{.facts = snp_facts(report, product), .token_id = {}};
}

}  // namespace tb::attest
