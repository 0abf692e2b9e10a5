// What an SEV-SNP guest's device gives, table of certificates included, is the host's, who may be hostile. Evidence
// that comes out holds the report as it came and certificates that stand in the table.
#include <algorithm>

#include "attest/snp_extended_report.h"
#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  using namespace tb;
  using namespace tb::attest;
  constexpr std::size_t kResponseBytes = 32 + kSnpReportBytes;
  const ByteView all(data, bytes);
  const ByteView response = all.first(std::min(bytes, kResponseBytes));
  const ByteView table = all.subspan(response.size());
  const auto read = read_extended_report(response, table, {});
  if (!read) {
    FUZZ_CHECK(read.error().reason == "evidence_malformed" && !read.error().message.empty());
    return 0;
  }
  FUZZ_CHECK(std::ranges::equal(read->report, response.subspan(32)));
  for (const Bytes* certificate : {&read->leaf, &read->intermediate}) {
    FUZZ_CHECK(!std::ranges::search(table, *certificate).empty());
  }
  return 0;
}
