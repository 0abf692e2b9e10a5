// Offsets are those of AMD 56860. Reserved bytes must be zero: a later version that gives them a meaning could weaken
// what an older reader believes.
#include "attest/snp_report.h"

#include <fmt/format.h>

#include <algorithm>

namespace tb::attest {
namespace {

constexpr std::string_view kForm = "snp_report_form";

std::unexpected<FailedCheck> malformed(std::string why) {
  return refuse(kForm, "send the SEV-SNP report as the firmware gave it: " + std::move(why));
}

bool all_zero(ByteView bytes) {
  return std::ranges::all_of(bytes, [](std::uint8_t b) { return b == 0; });
}

template <std::size_t N>
void copy(ByteView bytes, std::size_t offset, std::array<std::uint8_t, N>& into) {
  std::ranges::copy(bytes.subspan(offset, N), into.begin());
}

/// The combined family (base and extended) and model of CPUID, as versions 3 and later carry them.
std::optional<SnpProduct> product_of_cpu(std::uint8_t family, std::uint8_t model) {
  const unsigned range = model >> 4U;
  if (family == 0x19 && range == 0x0) return SnpProduct::kMilan;
  if (family == 0x19 && (range == 0x1 || range == 0xA)) return SnpProduct::kGenoa;
  if (family == 0x1A && range <= 0x1) return SnpProduct::kTurin;
  return std::nullopt;
}

bool reserved_is_zero(ByteView b, std::uint32_t version) {
  const std::size_t after_cpuid = version >= 3 ? 0x18B : 0x188;
  const std::size_t after_vectors = version >= 5 ? 0x208 : 0x1F8;
  const std::size_t after_signature = kSnpSignedBytes + 2 * kSnpNumberBytes;
  return all_zero(b.subspan(0x4C, 4)) && all_zero(b.subspan(after_cpuid, 0x1A0 - after_cpuid)) && b[0x1EB] == 0 &&
         b[0x1EF] == 0 && all_zero(b.subspan(after_vectors, kSnpSignedBytes - after_vectors)) &&
         all_zero(b.subspan(after_signature)) && load_le32(&b[0x48]) >> 5U == 0;
}

}  // namespace

std::string_view snp_product_name(SnpProduct product) {
  switch (product) {
    case SnpProduct::kMilan:
      return "Milan";
    case SnpProduct::kGenoa:
      return "Genoa";
    case SnpProduct::kTurin:
      return "Turin";
  }
  return "";
}

std::optional<SnpProduct> snp_product_from(std::string_view name) {
  const std::string_view line = name.substr(0, name.find('-'));
  for (const auto product : {SnpProduct::kMilan, SnpProduct::kGenoa, SnpProduct::kTurin}) {
    if (line == snp_product_name(product)) return product;
  }
  return std::nullopt;
}

bool SnpTcb::reaches(const SnpTcb& floor) const {
  return bootloader >= floor.bootloader && tee >= floor.tee && snp >= floor.snp && microcode >= floor.microcode &&
         fmc >= floor.fmc;
}

Json SnpTcb::to_json() const {
  Json json = Json::object();
  json.set("bootloader", unsigned{bootloader});
  json.set("tee", unsigned{tee});
  json.set("snp", unsigned{snp});
  json.set("microcode", unsigned{microcode});
  json.set("fmc", unsigned{fmc});
  return json;
}

SnpTcb snp_tcb(std::uint64_t raw, SnpProduct product) {
  const auto byte = [raw](unsigned i) { return static_cast<std::uint8_t>(raw >> (8 * i)); };
  if (product == SnpProduct::kTurin) {
    return {.bootloader = byte(1), .tee = byte(2), .snp = byte(3), .microcode = byte(7), .fmc = byte(0)};
  }
  return {.bootloader = byte(0), .tee = byte(1), .snp = byte(6), .microcode = byte(7), .fmc = 0};
}

Verified<SnpReport> parse_snp_report(ByteView b) {
  if (b.size() != kSnpReportBytes) return malformed(fmt::format("it has {} bytes, not {}", b.size(), kSnpReportBytes));
  SnpReport report;
  report.version = load_le32(&b[0x00]);
  if (report.version < 2 || report.version > 5) {
    return malformed(fmt::format("its version is {}; 2 to 5 are understood", report.version));
  }
  if (const auto algorithm = load_le32(&b[0x34]); algorithm != 1) {
    return refuse("snp_signature_algorithm", "the report must be signed by ECDSA P-384 with SHA-384", "1",
                  std::to_string(algorithm));
  }
  if (!reserved_is_zero(b, report.version)) return malformed("reserved bytes are not zero");
  report.guest_svn = load_le32(&b[0x04]);
  report.policy = load_le64(&b[0x08]);
  if ((report.policy >> 17U & 1U) == 0 || report.policy >> 26U != 0) {
    return malformed("reserved bits of its guest policy are wrong");
  }
  report.vmpl = load_le32(&b[0x30]);
  report.platform_info = load_le64(&b[0x40]);
  report.signer_info = load_le32(&b[0x48]);
  report.reported_tcb = load_le64(&b[0x180]);
  report.launch_tcb = load_le64(&b[0x1F0]);
  copy(b, 0x50, report.report_data);
  copy(b, 0x90, report.measurement);
  copy(b, 0xC0, report.host_data);
  copy(b, 0xE0, report.id_key_digest);
  copy(b, 0x110, report.author_key_digest);
  copy(b, 0x1A0, report.chip_id);
  copy(b, kSnpSignedBytes, report.r);
  copy(b, kSnpSignedBytes + kSnpNumberBytes, report.s);
  if (report.version >= 3) {
    report.product = product_of_cpu(b[0x188], b[0x189]);
    if (!report.product) return malformed("its processor is none of Milan, Genoa, Turin");
  }
  switch (report.signer_info >> 2U & 7U) {
    case 0:
      report.key = SnpKey::kVcek;
      break;
    case 1:
      report.key = SnpKey::kVlek;
      break;
    default:
      return malformed("it was signed by no VCEK and no VLEK");
  }
  const auto head = b.first(kSnpSignedBytes);
  report.signed_bytes.assign(head.begin(), head.end());
  return report;
}

}  // namespace tb::attest
