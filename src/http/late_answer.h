// An answer that is not there yet: what a handler returns when its client waits for something to happen. The handler
// and its worker are free at once; the connection sleeps on its loop until somebody completes the answer, its time is
// over, or the server stops, and only then writes. Whoever makes these bounds their number.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>

#include "http/message.h"

namespace tb::http {

class LateAnswer {
 public:
  /// `otherwise` is sent if nobody completes it within `wait_ms`.
  LateAnswer(std::int64_t wait_ms, Response otherwise) : wait_ms_(wait_ms), otherwise_(std::move(otherwise)) {}

  /// Any thread; the first call counts, and one after take() does not.
  void complete(Response response);
  std::int64_t wait_ms() const { return wait_ms_; }

  // ---- the connection's side ----
  /// Called once, when it is completed or at once if it is already; nullptr takes it back.
  void when_completed(std::function<void()> wake);
  /// What is to be sent now.
  Response take();

 private:
  const std::int64_t wait_ms_;
  std::mutex mutex_;
  Response otherwise_;
  std::optional<Response> completed_;
  std::function<void()> wake_;
  bool taken_ = false;
};

}  // namespace tb::http
