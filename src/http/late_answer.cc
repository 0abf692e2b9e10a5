#include "http/late_answer.h"

#include <utility>

namespace tb::http {

void LateAnswer::complete(Response response) {
  std::function<void()> wake;
  {
    const std::lock_guard lock(mutex_);
    if (completed_ || taken_) return;
    completed_ = std::move(response);
    wake = std::exchange(wake_, nullptr);
  }
  if (wake) wake();
}

void LateAnswer::when_completed(std::function<void()> wake) {
  {
    const std::lock_guard lock(mutex_);
    if (!completed_ || !wake) {
      wake_ = std::move(wake);
      return;
    }
  }
  wake();
}

Response LateAnswer::take() {
  const std::lock_guard lock(mutex_);
  taken_ = true;
  wake_ = nullptr;
  return completed_ ? std::move(*completed_) : std::move(otherwise_);
}

}  // namespace tb::http
