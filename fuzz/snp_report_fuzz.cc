// An SEV-SNP report and the certificates beside it come from a machine that may be hostile. A report that is read is
// written again to the same bytes, wherever it has a field; a certificate is read or refused.
#include <algorithm>
#include <cstring>

#include "attest/snp_certificate.h"
#include "attest/snp_policy.h"
#include "fuzz.h"

namespace {

using namespace tb;
using namespace tb::attest;

void check_report(ByteView bytes) {
  const auto report = parse_snp_report(bytes);
  if (!report) {
    FUZZ_CHECK(!report.error().id.empty() && !report.error().mend.empty());
    return;
  }
  FUZZ_CHECK(bytes.size() == kSnpReportBytes);
  const auto same = [&](std::size_t offset, ByteView field) {
    return std::ranges::equal(bytes.subspan(offset, field.size()), field);
  };
  FUZZ_CHECK(report->version >= 2 && report->version <= 5);
  FUZZ_CHECK(same(0, report->signed_bytes) && report->signed_bytes.size() == kSnpSignedBytes);
  FUZZ_CHECK(same(0x50, report->report_data) && same(0x90, report->measurement) && same(0xC0, report->host_data));
  FUZZ_CHECK(same(0xE0, report->id_key_digest) && same(0x110, report->author_key_digest) &&
             same(0x1A0, report->chip_id));
  FUZZ_CHECK(same(kSnpSignedBytes, report->r) && same(kSnpSignedBytes + kSnpNumberBytes, report->s));
  FUZZ_CHECK(report->product.has_value() == (report->version >= 3));
  // Whatever else a contract allows, a machine that can be debugged is refused.
  SnpPolicy open;
  open.vmpls = {report->vmpl};
  open.keys = {SnpKey::kVcek, SnpKey::kVlek};
  open.allow_smt = open.allow_migration_agent = true;
  FUZZ_CHECK(check_snp_policy(open, *report, SnpProduct::kMilan).has_value() == !report->debug_allowed());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  check_report({data, bytes});
  if (const auto certificate = Certificate::from_der({data, bytes})) {
    FUZZ_CHECK(std::ranges::equal(certificate->der(), ByteView(data, bytes)));
    (void)snp_endorsement(*certificate);
    (void)verify_snp_chain(*certificate, *certificate, SnpTrust{}, 1780000000000);
  }
  return 0;
}
