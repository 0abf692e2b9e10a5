#include "sentinel/healthcheck.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace tb::sentinel {
namespace {

TEST(Healthcheck, ProgressIsAWordAndANumber) {
  EXPECT_EQ(progress_of(R"({"state":"Hydrate","hydrate":{"bytes":42,"total":50}})"), "Hydrate 42");
  EXPECT_EQ(progress_of(R"({"state":"Boot"})"), "Boot 0");
  EXPECT_EQ(progress_of(R"({"state":"a b; rm"})"), "");
  EXPECT_EQ(progress_of(R"({"state":7})"), "");
  EXPECT_EQ(progress_of("<html>"), "");
}

TEST(Healthcheck, AsksThisMachineOnly) {
  for (const char* url :
       {"http://10.0.0.1:8001", "https://127.0.0.1:1", "127.0.0.1:1", "http://example.com:1", "http://127.0.0.1"}) {
    EXPECT_THROW(healthcheck({"--progress", url}, {}), Error) << url;
  }
  EXPECT_THROW(healthcheck({"--else"}, {}), Error);
  EXPECT_THROW(healthcheck({"--progress", "http://127.0.0.1:1", "x"}, {}), Error);
}

}  // namespace
}  // namespace tb::sentinel
