// spec: AMD 56860, ATTESTATION_REPORT and TCB_VERSION
#include "attest/snp_report.h"

#include <gtest/gtest.h>

#include "attest/snp_certificate.h"
#include "base/fs.h"

namespace tb::attest {
namespace {

TEST(SnpReport, TcbBytesStandInEachLinesOwnOrder) {
  constexpr std::uint64_t raw = 0x0807060504030201;
  EXPECT_EQ(snp_tcb(raw, SnpProduct::kMilan), (SnpTcb{.bootloader = 1, .tee = 2, .snp = 7, .microcode = 8}));
  EXPECT_EQ(snp_tcb(raw, SnpProduct::kGenoa), snp_tcb(raw, SnpProduct::kMilan));
  EXPECT_EQ(snp_tcb(raw, SnpProduct::kTurin), (SnpTcb{.bootloader = 2, .tee = 3, .snp = 4, .microcode = 8, .fmc = 1}));
}

TEST(SnpReport, AFloorIsReachedPartByPart) {
  const SnpTcb floor{.bootloader = 2, .tee = 0, .snp = 10, .microcode = 100};
  EXPECT_TRUE(floor.reaches(floor));
  EXPECT_TRUE((SnpTcb{.bootloader = 3, .tee = 1, .snp = 10, .microcode = 100, .fmc = 9}.reaches(floor)));
  // A higher part does not make up for a lower one.
  EXPECT_FALSE((SnpTcb{.bootloader = 1, .tee = 9, .snp = 99, .microcode = 200}.reaches(floor)));
}

TEST(SnpReport, ProductsAreReadByTheirLine) {
  EXPECT_EQ(snp_product_from("Milan"), SnpProduct::kMilan);
  EXPECT_EQ(snp_product_from("Genoa-B1"), SnpProduct::kGenoa);
  EXPECT_EQ(snp_product_from("Turin-C1"), SnpProduct::kTurin);
  EXPECT_FALSE(snp_product_from("milan"));
  EXPECT_FALSE(snp_product_from("MilanX"));
  EXPECT_FALSE(snp_product_from(""));
}

TEST(SnpReport, RefusesEveryOtherLength) {
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{4}, kSnpSignedBytes, kSnpReportBytes - 1, kSnpReportBytes + 1}) {
    const auto report = parse_snp_report(Bytes(size));
    ASSERT_FALSE(report.has_value()) << size;
    EXPECT_EQ(report.error().id, "snp_report_form");
  }
}

TEST(Certificate, HasOneFormOnly) {
  // Found by fuzzing: OpenSSL takes it, and writes other bytes.
  const std::string text =
      value_or_throw(read_small_file(std::string(TB_SOURCE_DIR) + "/fuzz/corpus/snp_report/not-strict-der.der"));
  const auto certificate = Certificate::from_der(as_bytes(text));
  ASSERT_FALSE(certificate.has_value());
  EXPECT_EQ(certificate.error().message, "the certificate is not strict DER");
}

TEST(Certificate, RefusesWhatIsNone) {
  EXPECT_FALSE(Certificate::from_der(Bytes{}).has_value());
  EXPECT_FALSE(Certificate::from_der(Bytes(100, 0x30)).has_value());
  EXPECT_FALSE(Certificate::from_der(Bytes(kMaxCertificateBytes + 1, 0x30)).has_value());
  EXPECT_FALSE(Certificate::all_from_pem("").has_value());
  EXPECT_FALSE(Certificate::all_from_pem("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").has_value());
  EXPECT_FALSE(RevocationList::parse("").has_value());
  EXPECT_FALSE(RevocationList::all_from_pem("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n").has_value());
}

}  // namespace
}  // namespace tb::attest
