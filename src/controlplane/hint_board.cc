#include "controlplane/hint_board.h"

#include <chrono>

namespace tb::controlplane {

HintBoard::HintBoard(store::Store& store, obs::Log log, HintLimits limits)
    : store_(store),
      log_(std::move(log)),
      limits_(limits),
      thread_([this](const std::stop_token& stop) { look(stop); }) {}

HintBoard::~HintBoard() = default;

http::Response HintBoard::hint(bool changed) {
  Json body = Json::object();
  body.set("changed", changed);
  return http::json(200, body);
}

void HintBoard::drop_gone() {
  for (auto contract = waiting_.begin(); contract != waiting_.end();) {
    std::erase_if(contract->second, [](const auto& entry) { return entry.second.answer.expired(); });
    contract = contract->second.empty() ? waiting_.erase(contract) : std::next(contract);
  }
}

std::shared_ptr<http::LateAnswer> HintBoard::wait(const store::ContractName& contract, const std::string& waiter,
                                                  std::int64_t known_version) {
  auto answer = std::make_shared<http::LateAnswer>(limits_.wait_ms, hint(false));
  const std::lock_guard lock(mutex_);
  drop_gone();
  std::size_t count = 0;
  for (const auto& [name, waiters] : waiting_) count += waiters.size();
  Waiters& waiters = waiting_[contract];
  if (const auto older = waiters.find(waiter); older != waiters.end()) {
    if (const auto late = older->second.answer.lock()) late->complete(hint(false));
  } else if (count >= limits_.max_waiters) {
    if (waiters.empty()) waiting_.erase(contract);
    throw Error("server_busy", "too many sentinels wait for a hint");
  }
  waiters[waiter] = {.known_version = known_version, .answer = answer};
  somebody_waits_.notify_all();
  return answer;
}

void HintBoard::tell(const store::ContractName& contract) {
  Waiters told;
  {
    const std::lock_guard lock(mutex_);
    const auto found = waiting_.find(contract);
    if (found == waiting_.end()) return;
    told = std::move(found->second);
    waiting_.erase(found);
  }
  for (const auto& [waiter, waiting] : told) {
    if (const auto late = waiting.answer.lock()) late->complete(hint(true));
  }
}

std::vector<store::ContractName> HintBoard::names() {
  const std::lock_guard lock(mutex_);
  drop_gone();
  std::vector<store::ContractName> out;
  for (const auto& [name, waiters] : waiting_) out.push_back(name);
  return out;
}

void HintBoard::look(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    {
      std::unique_lock lock(mutex_);
      // Nobody waits: nothing is asked of the store. Somebody does: at the modest rate.
      if (!somebody_waits_.wait(lock, stop, [&] { return !waiting_.empty(); })) return;
      somebody_waits_.wait_for(lock, stop, std::chrono::milliseconds(limits_.look_ms), [] { return false; });
      if (stop.stop_requested()) return;
    }
    try {
      for (const auto& now : store_.contract_versions(names())) {
        bool changed = false;
        {
          const std::lock_guard lock(mutex_);
          const auto found = waiting_.find(now.name);
          if (found == waiting_.end()) continue;
          for (const auto& [waiter, waiting] : found->second) changed |= waiting.known_version != now.policy_version;
        }
        if (changed) tell(now.name);
      }
    } catch (const Error& error) {
      log_.error("the store could not be asked for changes", error, obs::Level::kWarn);
    }
  }
}

}  // namespace tb::controlplane
