// For benchmarks only: the real trustbridge-control-plane as a process of its own, what it costs and how long it took
// to start.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace tb::bench {

class Service {
 public:
  /// Starts it and returns once /readyz answers 200. `flags`: by setting name. Its log goes to `directory`/service.log.
  /// Throws if it does not come up.
  Service(const std::string& program, const std::string& directory, const std::map<std::string, std::string>& flags);
  /// Ends it, and waits.
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  std::uint16_t port() const { return port_; }
  std::string base_url() const;
  /// From the start of the process to the first 200 of /readyz.
  double ready_seconds() const { return ready_seconds_; }
  /// Of all its threads, in hundredths of a second.
  double cpu_seconds() const;
  double resident_mib() const;

 private:
  int pid_ = -1;
  std::uint16_t port_ = 0;
  double ready_seconds_ = 0;
};

}  // namespace tb::bench
