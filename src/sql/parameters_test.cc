// Every shape of parameter that a statement of the program may have, and what is refused.
#include "sql/parameters.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace tb::sql {
namespace {

TEST(Parameters, BecomeDollars) {
  EXPECT_EQ(with_dollar_parameters("INSERT INTO t VALUES (?,?,1)"), "INSERT INTO t VALUES ($1,$2,1)");
  EXPECT_EQ(with_dollar_parameters("SELECT ?2 || ?1 || ?12"), "SELECT $2 || $1 || $12");
  EXPECT_EQ(with_dollar_parameters("SELECT '?' || \"?\" || '''?' || ?"), "SELECT '?' || \"?\" || '''?' || $1");
  EXPECT_EQ(with_dollar_parameters(""), "");
}

TEST(Parameters, MixturesAndOpenQuotesAreFaults) {
  for (const auto* sql : {"SELECT ?, ?1", "SELECT ?1, ?", "SELECT ?0", "SELECT '?", "SELECT \"?"}) {
    EXPECT_THROW(with_dollar_parameters(sql), Error) << sql;
  }
}

}  // namespace
}  // namespace tb::sql
