// The suite that every store passes: a backend adds a file that instantiates StoreContract with its own maker.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>

#include "base/crypto.h"
#include "store/store.h"

namespace tb::store {

/// A fresh, empty store, and a way to open the same data again beside it.
struct StoreUnderTest {
  std::unique_ptr<Store> store;
  std::function<std::unique_ptr<Store>()> open_again;
  std::function<std::unique_ptr<Store>(Clock)> open_with_clock;
  std::function<void()> clean_up;
  std::string skip = {};  ///< why this backend cannot be tested here
};
using StoreMaker = std::function<StoreUnderTest()>;

class StoreContract : public testing::TestWithParam<StoreMaker> {
 public:
  static constexpr UnixMs kNow = 1800000000000;

 protected:
  void SetUp() override;
  void TearDown() override;

  AssetRow asset(const std::string& tenant, const std::string& asset_id, char digest = 'a') const;
  api::Contract contract(const std::string& contract_id, std::int64_t max_seats = 1) const;
  SeatRequest seat(const std::string& lease_id, const std::string& hw_id = "hw") const;
  static Event event(const std::string& type) {
    return {.type = type, .tenant = "t1", .actor = "test", .subject = "s"};
  }
  /// Types of all events, in order; fails the test if the chain does not verify.
  std::vector<std::string> event_types();
  void add_asset_and_contract(std::int64_t max_seats = 1);
  Store& store() { return *under_test_.store; }

  StoreUnderTest under_test_;
};

}  // namespace tb::store
