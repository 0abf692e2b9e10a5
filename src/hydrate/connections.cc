#include "hydrate/connections.h"

#include <algorithm>

namespace tb::hydrate {
namespace {
constexpr double kPays = 1.1;        ///< a doubling must bring a tenth more
constexpr double kFallen = 2.0 / 3;  ///< of the settled rate
}  // namespace

ConnectionSearch::ConnectionSearch(unsigned most) : most_(most), current_(std::min(kFirst, most)) {}

void ConnectionSearch::measured(double bytes_per_second) {
  if (settled_) {
    best_rate_ = std::max(best_rate_, bytes_per_second);
    if (bytes_per_second >= best_rate_ * kFallen) return;
    settled_ = false;
    best_ = 0;
    best_rate_ = 0;
  }
  if (best_ == 0 || bytes_per_second >= best_rate_ * kPays) {
    best_ = current_;
    best_rate_ = bytes_per_second;
    if (current_ < most_) {
      current_ = std::min(most_, current_ * 2);
      return;
    }
  }
  current_ = best_;
  settled_ = true;
}

}  // namespace tb::hydrate
