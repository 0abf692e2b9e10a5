// The backend for several nodes through the suite of all backends.
#include <gtest/gtest.h>

#include "sql/postgres_server_test.h"
#include "store/billing_contract_test.h"
#include "store/open.h"

namespace tb::store {
namespace {

StoreUnderTest fresh_postgres_store() {
  if (sql::PostgresServer::programs().empty()) return {.skip = sql::PostgresServer::kMissing};
  auto& server = sql::shared_postgres_server();
  const std::string database = server.make_database();
  const auto open = [&server, database] { return open_postgres_store(server.url(database)); };
  return {.store = open(),
          .open_again = open,
          .open_with_clock =
              [&server, database](Clock clock) { return open_postgres_store(server.url(database), std::move(clock)); },
          .clean_up = [] {}};
}

INSTANTIATE_TEST_SUITE_P(Postgres, StoreContract, testing::Values(StoreMaker(fresh_postgres_store)));
INSTANTIATE_TEST_SUITE_P(Postgres, StoreBilling, testing::Values(StoreMaker(fresh_postgres_store)));

}  // namespace
}  // namespace tb::store
