// Answers as the device gives them, around the reports and certificates of tests/vectors/snp.
#include "attest/snp_extended_report.h"

#include <gtest/gtest.h>

#include "attest/extended_report_test.h"
#include "attest/vector_file_test.h"

namespace tb::attest {
namespace {

class ExtendedReport : public testing::Test {
 protected:
  static SnpEvidence evidence(const std::string& vector) {
    static const auto all = vectors_of("snp", "certificates");
    const auto parsed = SnpEvidence::parse(*all.at(vector).find("evidence"));
    EXPECT_TRUE(parsed.has_value());
    return *parsed;
  }
  static Certificate certificate(const Bytes& der) { return value_or_throw(Certificate::from_der(der)); }
  std::string refusal(const Bytes& response, const Bytes& table, std::span<const Certificate> at_hand = {}) {
    const auto read = read_extended_report(response, table, at_hand);
    if (read) return "";
    EXPECT_EQ(read.error().reason, "evidence_malformed");
    return read.error().message;
  }
  const SnpEvidence milan_ = evidence("good-milan-v2");
  const SnpEvidence vlek_ = evidence("good-vlek");
};

TEST_F(ExtendedReport, GivesTheReportWithTheCertificatesOfItsKey) {
  // Of a table with both kinds, those of the key that signed.
  const Bytes table = table_of({vlek_.leaf, vlek_.intermediate, milan_.leaf, milan_.intermediate});
  for (const SnpEvidence* wanted : {&milan_, &vlek_}) {
    const auto read = read_extended_report(response_of(wanted->report), table, {});
    ASSERT_TRUE(read.has_value()) << read.error().message;
    EXPECT_EQ(read->report, wanted->report);
    EXPECT_EQ(read->leaf, wanted->leaf);
    EXPECT_EQ(read->intermediate, wanted->intermediate);
  }
}

TEST_F(ExtendedReport, TakesWhatTheHostLacksFromWhatIsAtHand) {
  const std::vector<Certificate> at_hand = [&] {
    std::vector<Certificate> out;
    out.push_back(certificate(vlek_.intermediate));
    return out;
  }();
  const auto read = read_extended_report(response_of(vlek_.report), table_of({vlek_.leaf}), at_hand);
  ASSERT_TRUE(read.has_value()) << read.error().message;
  EXPECT_EQ(read->intermediate, vlek_.intermediate);
  EXPECT_NE(refusal(response_of(milan_.report), table_of({milan_.leaf}), at_hand).find("above its VCEK"),
            std::string::npos);
}

TEST_F(ExtendedReport, SaysWhatIsMissing) {
  const Bytes good = response_of(milan_.report);
  EXPECT_NE(refusal(good, {}).find("no VCEK"), std::string::npos);
  EXPECT_NE(refusal(good, table_of({})).find("no VCEK"), std::string::npos);
  EXPECT_NE(refusal(good, table_of({vlek_.leaf, milan_.intermediate})).find("no VCEK"), std::string::npos);
  EXPECT_NE(refusal(good, table_of({milan_.leaf})).find("above its VCEK"), std::string::npos);
  EXPECT_NE(refusal(good, table_of({milan_.leaf, milan_.leaf})).find("above its VCEK"), std::string::npos);
}

TEST_F(ExtendedReport, RefusesLengthsThatDoNotFit) {
  const Bytes table = table_of({milan_.leaf, milan_.intermediate});
  EXPECT_EQ(refusal(response_of(milan_.report), table), "");
  EXPECT_NE(refusal(response_of(milan_.report, 0x16), table).find("0x16"), std::string::npos);
  Bytes shorter = response_of(milan_.report);
  shorter.resize(32 + milan_.report.size() - 1);
  EXPECT_NE(refusal(shorter, table).find("too short"), std::string::npos);
  Bytes other_length = response_of(milan_.report);
  ++other_length[4];
  EXPECT_NE(refusal(other_length, table).find("length"), std::string::npos);
  Bytes no_report = response_of(milan_.report);
  no_report[32] = 99;
  EXPECT_NE(refusal(no_report, table).find("cannot be read"), std::string::npos);
  for (const std::size_t at : {16U, 19U, 20U, 23U}) {
    Bytes outside = table;
    outside[at] = 0xFF;
    if (at == 16 || at == 20) outside[at + 3] = 0x7F;
    EXPECT_NE(refusal(response_of(milan_.report), outside).find("outside"), std::string::npos) << at;
  }
  EXPECT_NE(refusal(response_of(milan_.report), Bytes(16384, 0x01)).find("table"), std::string::npos);
  EXPECT_NE(refusal(response_of(milan_.report), Bytes(table.begin(), table.begin() + 24)).find("table"),
            std::string::npos);
}

}  // namespace
}  // namespace tb::attest
