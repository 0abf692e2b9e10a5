// docs/attestation-policies.md names every check: the ids that verifiers give, held against the page.
#include <gtest/gtest.h>

#include <filesystem>
#include <regex>
#include <set>

#include "base/fs.h"

namespace tb::attest {
namespace {

TEST(CheckIds, EachStandsInThePageAndNoOtherDoes) {
  const std::filesystem::path source(TB_SOURCE_DIR);
  const std::string page = value_or_throw(read_small_file((source / "docs/attestation-policies.md").string()));
  const std::regex id_in_code("\"((?:snp|token)_[a-z_]+)\"");
  std::set<std::string> given;
  for (const char* folder : {"src/attest", "src/azure"}) {
    for (const auto& entry : std::filesystem::directory_iterator(source / folder)) {
      const std::string name = entry.path().filename().string();
      if (!entry.is_regular_file() || entry.path().extension() == ".txt" || name.contains("_test.")) continue;
      const std::string text = value_or_throw(read_small_file(entry.path().string()));
      for (std::sregex_iterator at(text.begin(), text.end(), id_in_code), end; at != end; ++at) given.insert((*at)[1]);
    }
  }
  EXPECT_GE(given.size(), 50U);
  for (const std::string& id : given) EXPECT_NE(page.find('`' + id + '`'), std::string::npos) << id;
  const std::regex id_in_page("`((?:snp|token)_[a-z_]+)`");
  for (std::sregex_iterator at(page.begin(), page.end(), id_in_page), end; at != end; ++at) {
    EXPECT_TRUE(given.contains((*at)[1])) << (*at)[1];
  }
}

}  // namespace
}  // namespace tb::attest
