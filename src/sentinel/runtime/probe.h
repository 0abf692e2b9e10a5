// Asks the runtime's own health path, again and again, on a thread of its own: "ready" is what the runtime says of
// itself.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "sentinel/config.h"
#include "sentinel/runtime/channel.h"

namespace tb::sentinel::runtime {

/// The status of one GET, or 0 if there was no proper answer within `timeout_ms`.
int ask_health(const Channel& channel, const std::string& path, std::int64_t timeout_ms);

struct RuntimeAnswer {
  int status = 0;
  std::string body;
};
/// One GET; nothing unless the whole answer came within `timeout_ms` and `most_bytes`.
std::optional<RuntimeAnswer> ask_runtime(const Channel& channel, const std::string& path, std::int64_t timeout_ms,
                                         std::size_t most_bytes);

/// A free loopback port. Another program may take it before it is used: the runtime then fails and is started again.
std::uint16_t free_loopback_port();

struct ProbeOptions {
  std::int64_t waiting_ms = 200;   ///< between questions until the first 200
  std::int64_t steady_ms = 1'000;  ///< between questions afterwards
  std::int64_t timeout_ms = 5'000;
  int failures_to_lose = 3;  ///< in a row, after which a runtime counts as lost
};

class Probe {
 public:
  /// `connector`: to a confined runtime; null: `address` is reached from here.
  Probe(RuntimeAddress address, std::string path, std::shared_ptr<Connector> connector = nullptr,
        ProbeOptions options = {});
  ~Probe();
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;
  /// It has answered 200, and has not failed since as often as counts.
  bool healthy() const { return healthy_; }

 private:
  void run(const std::stop_token& stop);
  RuntimeAddress address_;
  std::string path_;
  std::shared_ptr<Connector> connector_;
  ProbeOptions options_;
  std::atomic<bool> healthy_ = false;
  std::jthread thread_;
};

}  // namespace tb::sentinel::runtime
