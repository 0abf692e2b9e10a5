#include "obs/finding.h"

#include <gtest/gtest.h>

namespace tb::obs {
namespace {

TEST(Findings, AWarningIsHealthyAndAFaultIsNot) {
  std::vector<Finding> findings = {{"disk", Health::kWarning, "1 GiB", "free some"},
                                   {"clock", Health::kOk, "good", ""}};
  EXPECT_EQ(to_json(findings).dump(),
            R"({"healthy":true,"findings":[{"name":"disk","health":"warning","value":"1 GiB","advice":"free some"},)"
            R"({"name":"clock","health":"ok","value":"good","advice":""}]})");
  EXPECT_EQ(to_text(findings),
            "warning  disk         1 GiB\n                      free some\nok       clock        good\n");
  findings[0].health = Health::kFault;
  EXPECT_FALSE(to_json(findings).find("healthy")->as_bool());
}

}  // namespace
}  // namespace tb::obs
