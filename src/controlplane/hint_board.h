// Which sentinels wait to hear that their contract changed, and the one thread that looks for all of them.
//
// A change made by this node is told at once; one made by another node on the same database is seen by asking the store
// now and then, one question for all waiters. What is told is a hint and no order: whoever hears it renews, and the
// renewal decides. So a hint that is lost costs time, and one too many costs a renewal.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "http/late_answer.h"
#include "obs/log.h"
#include "store/store.h"

namespace tb::controlplane {

struct HintLimits {
  std::int64_t look_ms = 500;     ///< between two looks at the store, while anybody waits
  std::int64_t wait_ms = 25'000;  ///< shorter than clients and proxies give up
  std::size_t max_waiters = 256;
};

class HintBoard {
 public:
  HintBoard(store::Store& store, obs::Log log, HintLimits limits = {});
  ~HintBoard();
  HintBoard(const HintBoard&) = delete;
  HintBoard& operator=(const HintBoard&) = delete;

  /// An answer that is completed when the contract's policy_version is not `known_version` any more. `waiter` names who
  /// waits: an older wait of the same one ends. Throws "server_busy" if too many wait.
  std::shared_ptr<http::LateAnswer> wait(const store::ContractName& contract, const std::string& waiter,
                                         std::int64_t known_version);
  /// Tells all who wait for this contract.
  void tell(const store::ContractName& contract);

  /// What a sentinel hears.
  static http::Response hint(bool changed);

 private:
  struct Waiting {
    std::int64_t known_version;
    std::weak_ptr<http::LateAnswer> answer;  ///< gone once its connection has sent it
  };
  using Waiters = std::map<std::string, Waiting>;

  void look(const std::stop_token& stop);
  std::vector<store::ContractName> names();
  void drop_gone();

  store::Store& store_;
  obs::Log log_;
  const HintLimits limits_;
  std::mutex mutex_;
  std::condition_variable_any somebody_waits_;
  std::map<store::ContractName, Waiters> waiting_;
  std::jthread thread_;
};

}  // namespace tb::controlplane
