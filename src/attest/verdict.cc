#include "attest/verdict.h"

#include <fmt/format.h>

namespace tb::attest {

std::string FailedCheck::detail() const {
  if (fact.empty()) return fmt::format("Check {} failed: {}.", id, mend);
  return fmt::format("Check {} failed ({}): {}.", id, fact, mend);
}

void FailedCheck::write_to(Json& event_detail) const {
  event_detail.set("check", id);
  if (!expected.is_null()) event_detail.set("expected", expected);
  if (!seen.is_null()) event_detail.set("seen", seen);
}

}  // namespace tb::attest
