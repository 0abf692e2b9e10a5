// The bytes are hashed as they came; they are read only after the report has vouched for them.
#include "attest/snp_vtpm.h"

namespace tb::attest {
namespace {

std::unexpected<FailedCheck> bad_data(std::string why) {
  return refuse("snp_runtime_data", "send the runtime data as the paravisor gave it: " + std::move(why));
}

}  // namespace

Verified<jose::RsaPublicKey> ak_of_runtime_data(std::string_view runtime_data, std::string_view kid) {
  const auto json = Json::parse(runtime_data, {.bytes = kMaxRuntimeDataBytes, .depth = 8});
  if (!json) return bad_data(json.error().message);
  const Json* keys = json->find("keys");
  if (keys == nullptr || !keys->is_array()) return bad_data("it has no list of keys");
  const Json* found = nullptr;
  for (const Json& key : keys->as_array()) {
    const Json* name = key.find("kid");
    if (name == nullptr || !name->is_string() || name->as_string() != kid) continue;
    if (found != nullptr) return bad_data("it names the attestation key twice");
    found = &key;
  }
  if (found == nullptr) return bad_data("it does not hold the attestation key");
  try {
    return jose::RsaPublicKey::from_jwk(*found);
  } catch (const Error& error) {
    return bad_data(error.message);
  }
}

Verified<jose::RsaPublicKey> vouched_ak(const SnpEvidence& evidence, std::string_view runtime_data,
                                        std::string_view kid, const SnpPolicy& policy, const SnpTrust& trust,
                                        UnixMs now) {
  if (runtime_data.size() > kMaxRuntimeDataBytes) return bad_data("it is too long");
  const auto verified = TRY(verify_snp_report(evidence, snp_report_data(sha256(runtime_data)), trust, now));
  TRY(check_snp_policy(policy, verified.report, verified.product));
  return ak_of_runtime_data(runtime_data, kid);
}

}  // namespace tb::attest
