// What the service manager (systemd) is told of the sentinel, while it lives: when its start is over, in words what it
// does, that a long download goes on, and that neither the proxy's loop, nor that of the health port, nor the lifecycle
// hangs.
//
// The start is over when the model is served, or, where somebody else starts the runtime and may wait for this service,
// when the model can be read; or when the contract was denied: then the service is up, keeps everything closed and asks
// again (decision 52).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <thread>

#include "obs/notify_socket.h"
#include "sentinel/status.h"

namespace tb::sentinel {

/// One line of at most 200 bytes. No ids of leases, URLs or paths.
std::string state_in_words(const Status& status);

/// What the manager has been told.
struct Told {
  bool ready = false, stopping = false;
  std::string words;
  std::uint64_t bytes = 0;            ///< of ciphertext that had verified when time was last asked for
  std::int64_t extended_boot_ms = 0;  ///< when that was; 0: never
};

/// What to tell it now, as lines of sd_notify(3); empty: nothing is new. `told` becomes what it then knows.
std::string service_news(const Status& status, bool starts_runtime, std::int64_t now_boot_ms, Told& told);

/// A thread that tells it until this object goes.
class ServiceReport {
 public:
  struct Sources {
    std::function<Status()> status;
    /// True unless something hangs; it may take so many milliseconds to find out.
    std::function<bool(std::int64_t within_ms)> turns;
    bool starts_runtime = false;
  };
  /// Starts nothing where `socket` does not listen. What `sources` refer to outlives this.
  ServiceReport(obs::NotifySocket socket, Sources sources);
  ~ServiceReport();
  ServiceReport(const ServiceReport&) = delete;
  ServiceReport& operator=(const ServiceReport&) = delete;

 private:
  void run(const std::stop_token& stop);
  obs::NotifySocket socket_;
  Sources sources_;
  std::jthread thread_;
};

}  // namespace tb::sentinel
