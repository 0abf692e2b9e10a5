// How many connections to download with, where nobody has said (`TB_DOWNLOAD_CONCURRENCY=auto`): more as long as more
// brings more. Pure: told what was measured, it answers with the next number to try.
//
// Doubling from four finds the order of magnitude in a few rounds; the last doubling that did not pay is taken back.
// Then it stays, until the rate falls by a third of what it was: the network has changed, and the search begins anew.
#pragma once

#include <cstdint>

namespace tb::hydrate {

class ConnectionSearch {
 public:
  static constexpr unsigned kFirst = 4;
  /// Never above `most`, which is 1 at least.
  explicit ConnectionSearch(unsigned most);

  unsigned connections() const { return current_; }
  /// What was downloaded in one round with connections(): bytes per second.
  void measured(double bytes_per_second);

 private:
  unsigned most_, current_;
  unsigned best_ = 0;  ///< connections of the best round; 0: none yet
  double best_rate_ = 0;
  bool settled_ = false;
};

}  // namespace tb::hydrate
