#include "attest/snp_extended_report.h"

#include <fmt/format.h>

#include <algorithm>

namespace tb::attest {
namespace {

constexpr std::size_t kResponseHeadBytes = 32;
constexpr std::size_t kEntryBytes = 24;
constexpr std::size_t kMaxEntries = 16;

std::uint32_t u32_at(ByteView bytes, std::size_t at) {
  return std::uint32_t{bytes[at]} | std::uint32_t{bytes[at + 1]} << 8 | std::uint32_t{bytes[at + 2]} << 16 |
         std::uint32_t{bytes[at + 3]} << 24;
}

std::unexpected<Error> malformed(std::string why) {
  return fail("evidence_malformed", std::move(why));
}

/// All of the table that are certificates; a host may put other things there, as revocation lists.
Result<std::vector<Certificate>> certificates_of(ByteView table) {
  std::vector<Certificate> out;
  for (std::size_t entry = 0; entry * kEntryBytes + kEntryBytes <= table.size(); ++entry) {
    const ByteView head = table.subspan(entry * kEntryBytes, kEntryBytes);
    if (std::ranges::all_of(head, [](std::uint8_t b) { return b == 0; })) return out;
    if (entry == kMaxEntries) return malformed("the host's table of certificates is too long");
    const std::size_t offset = u32_at(head, 16);
    const std::size_t length = u32_at(head, 20);
    if (offset > table.size() || length > table.size() - offset) {
      return malformed("a certificate of the host's table lies outside of it");
    }
    if (auto certificate = Certificate::from_der(table.subspan(offset, length))) {
      out.push_back(std::move(*certificate));
    }
  }
  if (table.empty()) return out;
  return malformed("the host's table of certificates has no end");
}

bool is_leaf_of(SnpKey key, const std::string& name) {
  return name == (key == SnpKey::kVcek ? "SEV-VCEK" : "SEV-VLEK");
}

/// SEV-Milan is above VCEKs, SEV-VLEK-Milan above VLEKs.
bool is_intermediate_of(SnpKey key, const std::string& name) {
  if (key == SnpKey::kVlek) return name.starts_with("SEV-VLEK-");
  return name.starts_with("SEV-") && !name.starts_with("SEV-VLEK") && name != "SEV-VCEK";
}

}  // namespace

Result<SnpEvidence> read_extended_report(ByteView response, ByteView table, std::span<const Certificate> at_hand) {
  if (response.size() < kResponseHeadBytes + kSnpReportBytes) return malformed("the firmware's answer is too short");
  if (const std::uint32_t status = u32_at(response, 0); status != 0) {
    return malformed(fmt::format("the firmware refused to make a report (status 0x{:x})", status));
  }
  if (u32_at(response, 4) != kSnpReportBytes) return malformed("the firmware's report is of another length");
  const ByteView report = response.subspan(kResponseHeadBytes, kSnpReportBytes);
  const auto parsed = parse_snp_report(report);
  if (!parsed) return malformed("the firmware's report cannot be read: " + parsed.error().mend);
  const auto given = TRY(certificates_of(table));
  const auto find = [&](auto matches) -> Bytes {
    for (const std::span<const Certificate> list : {std::span<const Certificate>(given), at_hand}) {
      for (const Certificate& certificate : list) {
        if (matches(parsed->key, certificate.common_name())) return certificate.der();
      }
    }
    return {};
  };
  SnpEvidence out{.report = Bytes(report.begin(), report.end()),
                  .leaf = find(is_leaf_of),
                  .intermediate = find(is_intermediate_of)};
  const std::string_view kind = parsed->key == SnpKey::kVcek ? "VCEK" : "VLEK";
  if (out.leaf.empty()) return malformed(fmt::format("the host gave no {} certificate", kind));
  if (out.intermediate.empty()) return malformed(fmt::format("the host gave no certificate above its {}", kind));
  return out;
}

}  // namespace tb::attest
