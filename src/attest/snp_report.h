// The attestation report of AMD SEV-SNP, versions 2 to 5 (SEV-SNP Firmware ABI, AMD 56860, ATTESTATION_REPORT): its
// layout, and nothing of what it should say. A report is only as good as its signature: snp_verify.h.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "attest/verdict.h"
#include "base/bytes.h"

namespace tb::attest {

inline constexpr std::size_t kSnpReportBytes = 0x4A0;
inline constexpr std::size_t kSnpSignedBytes = 0x2A0;  ///< the signature covers the bytes before it
inline constexpr std::size_t kSnpNumberBytes = 72;     ///< R and S, little-endian

/// Lines of processors; each has its own root, and Turin its own order of TCB bytes.
enum class SnpProduct { kMilan, kGenoa, kTurin };
std::string_view snp_product_name(SnpProduct product);
/// "Milan", or "Milan-B0" as a VCEK names it.
std::optional<SnpProduct> snp_product_from(std::string_view name);

/// Security patch levels of the firmware's parts.
struct SnpTcb {
  std::uint8_t bootloader = 0;
  std::uint8_t tee = 0;
  std::uint8_t snp = 0;
  std::uint8_t microcode = 0;
  std::uint8_t fmc = 0;  ///< Turin only

  bool operator==(const SnpTcb&) const = default;
  /// No part is lower than in `floor`.
  bool reaches(const SnpTcb& floor) const;
  Json to_json() const;
};
/// `raw` is the little-endian u64 of the report.
SnpTcb snp_tcb(std::uint64_t raw, SnpProduct product);

enum class SnpKey { kVcek, kVlek };

struct SnpReport {
  std::uint32_t version = 0;
  std::uint32_t guest_svn = 0;
  std::uint64_t policy = 0;
  std::uint32_t vmpl = 0;
  std::uint64_t platform_info = 0;
  std::uint32_t signer_info = 0;
  std::uint64_t reported_tcb = 0;
  std::uint64_t launch_tcb = 0;
  std::array<std::uint8_t, 64> report_data{};
  std::array<std::uint8_t, 48> measurement{};
  std::array<std::uint8_t, 32> host_data{};
  std::array<std::uint8_t, 48> id_key_digest{};
  std::array<std::uint8_t, 48> author_key_digest{};
  std::array<std::uint8_t, 64> chip_id{};
  std::optional<SnpProduct> product;  ///< by family and model: version 3 and later
  SnpKey key = SnpKey::kVcek;         ///< which kind of key signed
  Bytes signed_bytes;
  std::array<std::uint8_t, kSnpNumberBytes> r{}, s{};

  bool smt_allowed() const { return (policy >> 16U & 1U) != 0; }
  bool migration_agent_allowed() const { return (policy >> 18U & 1U) != 0; }
  bool debug_allowed() const { return (policy >> 19U & 1U) != 0; }
  bool single_socket() const { return (policy >> 20U & 1U) != 0; }
  /// The firmware found no aliased memory (the answer to BadRAM).
  bool alias_check_complete() const { return (platform_info >> 5U & 1U) != 0; }
  bool author_key_present() const { return (signer_info & 1U) != 0; }
  bool chip_masked() const { return (signer_info >> 1U & 1U) != 0; }
};

/// Refused by "snp_report_form": another length or version, reserved bytes that are not zero, a processor or a kind of
/// key that is not known; by "snp_signature_algorithm": another one than ECDSA P-384 with SHA-384.
Verified<SnpReport> parse_snp_report(ByteView bytes);

}  // namespace tb::attest
