#include "attest/enrolment.h"

#include <fmt/format.h>

#include <algorithm>

#include "attest/crypto_keys.h"
#include "attest/ek_chain.h"

namespace tb::attest {
namespace {

constexpr std::uint32_t kAdminWithPolicy = 1U << 7;
constexpr std::uint32_t kAkNeeds =
    kRestricted | kSign | kFixedTpm | kFixedParent | kSensitiveDataOrigin | kUserWithAuth;
constexpr std::uint32_t kEkNeeds =
    kRestricted | kDecrypt | kFixedTpm | kFixedParent | kSensitiveDataOrigin | kAdminWithPolicy;
/// PolicySecret of the endorsement hierarchy, TCG EK Credential Profile B.6.2 (PolicyA, SHA-256).
constexpr std::string_view kEkPolicy = "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa";

std::unexpected<FailedCheck> template_fault(std::string fact) {
  return failed("ek_template", std::move(fact));
}

Verified<> check_template(const Public& ek) {
  if (ek.name_alg != kAlgSha256) return template_fault("its name algorithm is not SHA-256");
  if ((ek.attributes & kEkNeeds) != kEkNeeds || (ek.attributes & kSign) != 0) {
    return template_fault(fmt::format("its attributes are 0x{:08x}", ek.attributes));
  }
  if (to_hex(ek.auth_policy) != kEkPolicy) return template_fault("its policy is not that of the endorsement hierarchy");
  if (ek.symmetric != kAlgAes || ek.symmetric_bits != 128 || ek.symmetric_mode != kAlgCfb || ek.scheme != kAlgNull) {
    return template_fault("it does not protect its children by AES-128-CFB");
  }
  const bool size_fits = ek.type == kAlgRsa ? ek.rsa_bits == 2048 : ek.curve == kCurveP256;
  if (!size_fits || !spki_of(ek)) return template_fault("it is neither RSA 2048 nor on P-256");
  return {};
}

}  // namespace

Verified<> check_attestation_key(const Public& ak) {
  if ((ak.attributes & kAkNeeds) != kAkNeeds || (ak.attributes & kDecrypt) != 0) {
    return failed("ak_attributes", fmt::format("its attributes are 0x{:08x}", ak.attributes),
                  fmt::format("0x{:08x}, and not 0x{:08x}", kAkNeeds, kDecrypt),
                  fmt::format("0x{:08x}", ak.attributes));
  }
  const bool scheme_fits =
      ak.type == kAlgRsa ? ak.scheme == kAlgRsaSsa || ak.scheme == kAlgRsaPss : ak.scheme == kAlgEcdsa;
  if (!scheme_fits || digest_bytes(ak.scheme_hash) == 0 || ak.symmetric != kAlgNull) {
    return failed("ak_scheme", fmt::format("its scheme is 0x{:04x} with hash 0x{:04x}", ak.scheme, ak.scheme_hash));
  }
  if (const auto spki = spki_of(ak); !spki) return failed("ak_scheme", spki.error().message);
  return {};
}

Verified<EnrolledKeys> check_enrolment(const api::EnrolRequest& request, const api::TpmPolicy& policy, UnixMs now) {
  const auto ek = parse_public(request.ek_public);
  if (!ek) return template_fault(ek.error().message);
  if (auto fits = check_template(*ek); !fits) return std::unexpected(std::move(fits.error()));
  const auto ak = parse_public(request.ak_public);
  if (!ak) return failed("ak_scheme", ak.error().message);
  if (auto fits = check_attestation_key(*ak); !fits) return std::unexpected(std::move(fits.error()));
  EnrolledKeys out{.ek = *ek, .ak = *ak, .ek_sha256 = key_sha256(*ek).value_or(""), .ak_name = to_hex(name_of(*ak))};
  const bool listed = std::ranges::find(policy.ek_sha256, out.ek_sha256) != policy.ek_sha256.end();
  if (!listed && !policy.ek_roots.empty()) {
    const auto chain = check_ek_chain({.leaf = request.ek_certificate,
                                       .intermediates = request.ek_intermediates,
                                       .roots_pem = policy.ek_roots,
                                       .now = now},
                                      spki_of(*ek).value_or(Bytes()));
    if (!chain) return failed("ek_certificate", chain.error().message, "a chain to a pinned root", out.ek_sha256);
  }
  return out;
}

}  // namespace tb::attest
